"""Answers that were given, and answers that were made ahead: a keystroke that fits one needs no model.

An answer fits where its anchor is found again and what was typed since is how it begins: type-through, acceptance of a word or a line, an undo, a
deleted character, an edit elsewhere. It is kept raw, since what is shown of it depends on the text that now follows the cursor. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

from cachetools import LRUCache

from qwencoder_lsp.features.anchor import Anchor
from qwencoder_lsp.features.ask import Answer
from qwencoder_lsp.features.record import Made

KEPT = 256  # answers, of all documents


@dataclass(frozen=True, slots=True)
class Remembered:
    """A raw answer, without what it cost. ahead: made for the time when what is shown was accepted; made: how."""

    anchor: Anchor
    answer: Answer
    ahead: bool = False
    made: Made | None = None


class Memory:
    """The latest answers."""

    def __init__(self) -> None:
        self._answers: LRUCache[tuple[str, str, str], Remembered] = LRUCache(KEPT)

    def put(self, answer: Remembered) -> None:
        """Keep an answer; a newer one for the same place takes its place."""
        anchor = answer.anchor
        key = (anchor.uri, anchor.before, anchor.below)
        self._answers.pop(key, None)
        self._answers[key] = answer

    def find(self, uri: str, text: str, offset: int) -> tuple[Remembered, str] | None:
        """The newest answer that fits the cursor at `offset`, and what is left of its text."""
        for known in reversed(list(self._answers.values())):
            if known.anchor.uri != uri:
                continue
            typed = known.anchor.typed(text, offset)
            if typed is None or not known.answer.text.startswith(typed):
                continue
            rest = known.answer.text[len(typed) :]
            if rest.strip() or not typed:
                return known, rest
        return None

    def forget(self, uri: str) -> None:
        """The document was closed."""
        for key in [key for key in self._answers if key[0] == uri]:
            del self._answers[key]
