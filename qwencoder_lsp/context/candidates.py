"""What could stand beside the text at the cursor, before it is chosen from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Candidate:
    """A piece of a file. source: who found it (imports, types, definitions, terms, neighbours, edits); reason: why, for people; score: 0 to about 2.

    line, end: what it covers, from 0 and exclusive. text: all of it; short: the head of it where that says much already, otherwise empty.
    """

    path: str
    line: int
    end: int
    source: str
    reason: str
    score: float
    text: str
    short: str = ""

    @property
    def place(self) -> tuple[str, int, int]:
        """What tells it from others."""
        return self.path, self.line, self.end


@dataclass(frozen=True, slots=True)
class Here:
    """The cursor: a document's text with "\\n" as its only line ending, its path relative to the workspace folder, and the offset in code points.

    visible: the lines, first and behind the last, that the prompt shows anyway.
    """

    path: str
    language: str
    text: str
    offset: int
    visible: tuple[int, int]
