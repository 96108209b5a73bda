"""The client's copy of a document, with positions of its own making: nothing of the server's code decides here what is right."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import Any

_LINE_END = re.compile("\r\n|\r|\n")
_WIDTH: dict[str, Callable[[str], int]] = {"utf-8": lambda c: len(c.encode()), "utf-16": lambda c: 1 + (c > "\uffff"), "utf-32": lambda _: 1}


class Mirror:
    """An open document as the client has it. `text` counts code points; positions count units of `encoding`."""

    def __init__(self, uri: str, language: str, text: str, encoding: str) -> None:
        self.uri = uri
        self.language = language
        self.text = text
        self.version = 1
        self.cursor = 0
        self.history: list[str] = []
        self._width = _WIDTH[encoding]

    @property
    def digest(self) -> str:
        """What the server's copy is compared by."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def place(self, offset: int) -> int:
        """`offset` within the text, and not between "\\r" and "\\n"."""
        offset = min(max(offset, 0), len(self.text))
        return offset - 1 if self.text[offset - 1 : offset + 1] == "\r\n" and offset else offset

    def edit(self, start: int, end: int, text: str) -> dict[str, Any]:
        """Replace a range, with the cursor behind it; the change event that tells the server."""
        event = {"range": {"start": position(self.text, start, self._width), "end": position(self.text, end, self._width)}, "text": text}
        self._take(self.text[:start] + text + self.text[end:])
        self.cursor = self.place(start + len(text))
        return event

    def replace(self, text: str) -> dict[str, Any]:
        """Another text, told as the whole of it."""
        self._take(text)
        self.cursor = self.place(self.cursor)
        return {"text": text}

    def position(self, offset: int) -> dict[str, int]:
        """The position of an offset."""
        return position(self.text, offset, self._width)

    def _take(self, text: str) -> None:
        self.history = [*self.history[-20:], self.text]
        self.text = text


def position(text: str, offset: int, width: Callable[[str], int]) -> dict[str, int]:
    """Line and column of an offset."""
    ends = [m.end() for m in _LINE_END.finditer(text) if m.end() <= offset]
    start = ends[-1] if ends else 0
    return {"line": len(ends), "character": sum(map(width, text[start:offset]))}


def offset(text: str, place: dict[str, int], encoding: str) -> int | None:
    """The offset of a position; None when there is no such place: past the end of a line or of the text, or inside a character."""
    starts = [0, *(m.end() for m in _LINE_END.finditer(text))]
    if not 0 <= place["line"] < len(starts):
        return None
    at, column = starts[place["line"]], 0
    while column < place["character"]:
        if at >= len(text) or text[at] in "\r\n":
            return None
        column += _WIDTH[encoding](text[at])
        at += 1
    return at if column == place["character"] else None
