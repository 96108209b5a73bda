"""Text to token ids, as the prompt renderer needs it.

The real one wraps a vocabulary-only llama.cpp model (engine/binding.py); the byte tokenizer serves tests and the scripted engine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class SpecialTokens:
    """Ids of the vocabulary's own special tokens; None where it has none. `end` holds every id that ends a generation."""

    fim_prefix: int | None
    fim_suffix: int | None
    fim_middle: int | None
    repo_name: int | None
    file_sep: int | None
    end: frozenset[int]

    @property
    def can_fill(self) -> bool:
        """Whether the vocabulary has what filling in the middle needs."""
        return None not in (self.fim_prefix, self.fim_suffix, self.fim_middle)


class Tokenizer(Protocol):
    """What a vocabulary can do. Safe to call from several threads at once, as llama.cpp's own is (its tests/test-tokenizer-0.cpp does so)."""

    special: SpecialTokens
    n_ctx_train: int
    chat_template: str

    def tokenize(self, text: str) -> list[int]:
        """Ids of plain text; special tokens in the text stay text."""
        ...

    def tokenize_markup(self, text: str) -> list[int]:
        """Ids of trusted template text, in which special tokens count."""
        ...

    def piece(self, token: int) -> bytes:
        """The token's bytes; empty for control tokens."""
        ...


class ByteTokenizer:
    """One token per UTF-8 byte; special tokens from 256 up. For tests and the scripted engine."""

    MARKUP = ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|repo_name|>", "<|file_sep|>", "<|im_start|>", "<|im_end|>", "<|endoftext|>")

    special = SpecialTokens(256, 257, 258, 259, 260, frozenset(range(256, 264)))
    n_ctx_train = 32768
    chat_template = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n"

    def tokenize(self, text: str) -> list[int]:
        """The text's bytes."""
        return list(text.encode("utf-8", "surrogatepass"))

    def tokenize_markup(self, text: str) -> list[int]:
        """The text's bytes, with each special token's spelling as its one id."""
        ids: list[int] = []
        while text:
            at, mark = min((at, m) for m in self.MARKUP if (at := text.find(m)) >= 0) if any(m in text for m in self.MARKUP) else (len(text), "")
            ids += self.tokenize(text[:at])
            if mark:
                ids.append(256 + self.MARKUP.index(mark))
            text = text[at + len(mark) :]
        return ids

    def piece(self, token: int) -> bytes:
        """The byte; nothing for special tokens."""
        return bytes([token]) if token < 256 else b""

    def text(self, tokens: list[int] | tuple[int, ...]) -> str:
        """The text of the ids, special tokens spelled out."""
        out = b"".join(_PIECES[t] for t in tokens)
        return out.decode("utf-8", "replace")


_PIECES = [bytes([i]) for i in range(256)] + [mark.encode() for mark in ByteTokenizer.MARKUP]
