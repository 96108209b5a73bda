"""What a model's metadata say of its KV and its context."""

from __future__ import annotations

import pytest

from qwencoder_lsp.engine.architecture import Yarn, kv_bytes_per_token, yarn_of


def metadata(architecture: str, **fields: str) -> dict[str, str]:
    return {"general.architecture": architecture, **{f"{architecture}.{k.replace('__', '.')}": v for k, v in fields.items()}}


def qwen2(layers: int, width: int, heads: int, kept: int, **more: str) -> dict[str, str]:
    fields = {"block_count": layers, "embedding_length": width, "attention__head_count": heads, "attention__head_count_kv": kept}
    return metadata("qwen2", context_length="32768", **{k: str(v) for k, v in fields.items()}, **more)


SMALL = qwen2(24, 896, 14, 2)
SEVEN = qwen2(28, 3584, 28, 4)
MIXTURE = metadata(
    "qwen3moe",
    context_length="262144",
    block_count="48",
    embedding_length="2048",
    attention__head_count="32",
    attention__head_count_kv="4",
    attention__key_length="128",
    attention__value_length="128",
)
HYBRID = metadata(
    "qwen3next",
    context_length="262144",
    block_count="48",
    embedding_length="2048",
    attention__head_count="16",
    attention__head_count_kv="2",
    attention__key_length="256",
    attention__value_length="256",
    full_attention_interval="4",
)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (SMALL, 24 * 2 * (64 + 64) * 2),
        (SEVEN, 28 * 4 * (128 + 128) * 2),
        (MIXTURE, 48 * 4 * (128 + 128) * 2),  # wider heads than the embedding has
        (HYBRID, 12 * 2 * (256 + 256) * 2),
        ({**HYBRID, "qwen3next.attention.head_count_kv": "[0, 0, 0, 2]"}, 2 * (256 + 256) * 2),
        ({}, 0),
    ],
)
def test_only_the_heads_and_layers_that_are_kept_take_memory(model: dict[str, str], expected: int) -> None:
    assert kv_bytes_per_token(lambda key: model.get(key, "")) == expected


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (SMALL, None),
        (SEVEN, Yarn(4.0, 32768)),
        (MIXTURE, Yarn(4.0, 262144)),
        (HYBRID, Yarn(4.0, 262144)),
        ({**SEVEN, "qwen2.rope.scaling.type": "yarn"}, None),
        ({**SEVEN, "qwen2.rope.scaling.type": "none"}, Yarn(4.0, 32768)),
        (metadata("llama", context_length="32768", embedding_length="4096"), None),
    ],
)
def test_a_context_is_extended_only_as_the_makers_of_the_model_say(model: dict[str, str], expected: Yarn | None) -> None:
    assert yarn_of(lambda key: model.get(key, "")) == expected


def test_four_times_32768_is_128k() -> None:
    assert Yarn(4.0, 32768).longest == 131072
