"""A vocabulary for models that run elsewhere, whose own is not here: pieces of at most three bytes, so that prompts are cut, counted and put together
as those of a local model, and become text again before they are sent.

An id below 256 is a special token, others hold their bytes in themselves, which keeps nothing in memory and fits into 32 bits. A piece is about as
long as a token of code, a little shorter, so that what is counted is rather too many than too few.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from qwencoder_lsp.engine.vocabulary import SpecialTokens

MARKUP = ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|repo_name|>", "<|file_sep|>", "<|im_start|>", "<|im_end|>", "<|endoftext|>")
SIZE = 3  # bytes
FIRST = 1 << 8  # a marker before the bytes, so that leading zeros count: at least 0x0100
_WORDS = re.compile(r"\n\s*|[^\S\n]+|\w+|[^\w\s]+")
_MARKUP = re.compile("|".join(map(re.escape, MARKUP)))
_LOOKS_SPECIAL = re.compile(r"<\|([a-z_]{2,32}\|>)")
_BREAK = "<\u200b|"  # the other side reads special tokens out of text: what a user wrote must not be one


class PieceTokenizer:
    """The vocabulary. Qwen's special tokens, with which prompts for all Qwen-Coder models are made."""

    special = SpecialTokens(0, 1, 2, 3, 4, frozenset(range(len(MARKUP))))
    n_ctx_train = 32768
    chat_template = ""

    def tokenize(self, text: str) -> list[int]:
        """Pieces of plain text."""
        ids: list[int] = []
        for word in _WORDS.findall(text):
            data = word.encode("utf-8", "surrogatepass")
            ids += [int.from_bytes(b"\x01" + data[at : at + SIZE], "big") for at in range(0, len(data), SIZE)]
        return ids

    def tokenize_markup(self, text: str) -> list[int]:
        """Pieces of trusted text, with each special token's spelling as its one id."""
        ids: list[int] = []
        at = 0
        for match in _MARKUP.finditer(text):
            ids += [*self.tokenize(text[at : match.start()]), MARKUP.index(match[0])]
            at = match.end()
        return ids + self.tokenize(text[at:])

    def piece(self, token: int) -> bytes:
        """Its bytes; nothing for special tokens."""
        return b"" if token < FIRST else token.to_bytes(4, "big").lstrip(b"\0")[1:]


def prompt_text(tokens: Iterable[int]) -> str:
    """The text to send: special tokens spelled out, and no other text that the other side could take for one."""
    tokenizer, parts, plain = PieceTokenizer(), list[str](), bytearray()
    for token in [*tokens, -1]:
        if token >= FIRST:
            plain += tokenizer.piece(token)
            continue
        parts.append(_LOOKS_SPECIAL.sub(rf"{_BREAK}\1", plain.decode("utf-8", "replace")))
        plain.clear()
        if token >= 0:
            parts.append(MARKUP[token])
    return "".join(parts)
