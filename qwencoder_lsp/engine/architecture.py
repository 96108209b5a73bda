"""What a model's own figures say before any memory is taken: the size of its KV, and how long a prompt can be made with YaRN.

Pure: the GGUF file's metadata go in as text, key by key (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Metadata = Callable[[str], str]  # the value of a key, "" where there is none

F16 = 2  # bytes of a number in the KV memory


@dataclass(frozen=True, slots=True)
class Yarn:
    """Positions are scaled by `factor` over the `original` context (https://arxiv.org/abs/2309.00071)."""

    factor: float
    original: int

    @property
    def longest(self) -> int:
        """Tokens of the longest prompt with its answer."""
        return int(self.factor * self.original)


def kv_bytes_per_token(metadata: Metadata) -> int:
    """Memory of one cell of an f16 KV cache: keys and values of the heads that are kept (grouped-query attention keeps few), in every layer that
    has attention (of a hybrid model, one in `full_attention_interval`). 0 where the file does not say."""
    name = metadata("general.architecture")

    def number(key: str) -> int:
        text = metadata(f"{name}.{key}")
        return int(text) if text.isdecimal() else 0

    layers, heads = number("block_count"), number("attention.head_count")
    kept = metadata(f"{name}.attention.head_count_kv")
    width = number("embedding_length") // max(1, heads)
    sizes = (number("attention.key_length") or width) + (number("attention.value_length") or width)
    if kept.startswith("["):  # one number for each layer
        total = sum(int(part) for part in kept.strip("[] ").split(",") if part.strip().isdecimal())
    else:
        total = layers // max(1, number("full_attention_interval")) * (int(kept) if kept.isdecimal() else heads)
    return total * sizes * F16


def yarn_of(metadata: Metadata) -> Yarn | None:
    """How the model's makers extend its context; None where they do not, or where the file does it already.

    Model cards: Qwen2.5-Coder from 7B on (hidden size 3584), 4 times 32,768; Qwen3-Coder, 4 times 262,144. The smaller ones: "32K", no YaRN.
    """
    name = metadata("general.architecture")
    trained, width = metadata(f"{name}.context_length"), metadata(f"{name}.embedding_length")
    if metadata(f"{name}.rope.scaling.type") not in ("", "none"):
        return None
    if name == "qwen2" and trained == "32768" and width.isdecimal() and int(width) >= 3584:
        return Yarn(4.0, 32768)
    if name in ("qwen3moe", "qwen3next") and trained == "262144":
        return Yarn(4.0, 262144)
    return None
