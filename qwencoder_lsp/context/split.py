"""Where a prompt is cut: what stands before the text that is being written, and what follows.

The cut stays while somebody types, so that prefix and suffix of the prompt, and with them their KV, stay too; what is typed since goes behind them
(see prompt.fim). It is made anew at the start of the cursor's line when the cursor is elsewhere, when the text around it has changed, or when so
much was typed that the model sees too little of it as its surroundings. Pure but for what it remembers; offsets are code points.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from cachetools import LRUCache

MOST_TYPED = 1500  # characters behind the cut
DOCUMENTS = 32
# What editors insert by themselves behind the cursor: closing brackets, quotes and tags. The model is not told of them, and writes them itself.
_CLOSERS = re.compile(r"(?:[\s)\]}>\"'`;,]|</[\w:.-]*>)*")


@dataclass(frozen=True, slots=True)
class Split:
    """The text from `start` of the document to the cut, and the text that followed the cursor when the cut was made.

    whole: whether that was all up to the end of the document.
    """

    start: int
    prefix: str
    suffix: str
    whole: bool

    @property
    def cut(self) -> int:
        """The offset at which the typed text begins."""
        return self.start + len(self.prefix)

    def fits(self, text: str, offset: int) -> bool:
        """Whether everything that was typed since lies between the cut and the cursor."""
        if not self.cut <= offset <= self.cut + MOST_TYPED or not text.startswith(self.prefix, self.start):
            return False
        if self._follows(text, self.suffix, offset):
            return True
        rest, newline, below = self.suffix.partition("\n")
        end = text.find("\n", offset)
        now = text[offset:] if end < 0 else text[offset:end]
        added = bool(_CLOSERS.fullmatch(now)) and bool(_CLOSERS.fullmatch(rest))
        return added and (end >= 0) == bool(newline) and self._follows(text, below, end + 1 if end >= 0 else len(text))

    def _follows(self, text: str, part: str, offset: int) -> bool:
        return text.startswith(part, offset) and (not self.whole or offset + len(part) == len(text))


class Splits:
    """The latest split of each document."""

    def __init__(self) -> None:
        self._latest: LRUCache[str, Split] = LRUCache(DOCUMENTS)

    def get(self, uri: str, text: str, offset: int) -> Split | None:
        """The split that still holds for a cursor at `offset`."""
        split = self._latest.get(uri)
        return split if split is not None and split.fits(text, offset) else None

    def put(self, uri: str, split: Split) -> None:
        """Remember."""
        self._latest[uri] = split

    def forget(self, uri: str) -> None:
        """The document was closed."""
        self._latest.pop(uri, None)


def line_start(text: str, offset: int) -> int:
    """Where to cut for a cursor at `offset`: the start of its line, or `offset` itself where the line is too long to be typed text."""
    start = text.rfind("\n", 0, offset) + 1
    return start if offset - start <= MOST_TYPED else offset
