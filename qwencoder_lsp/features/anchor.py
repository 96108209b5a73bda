"""Finds a place again after edits: by the text before it and the lines below it, not by its number. Pure."""

from __future__ import annotations

from dataclasses import dataclass

BEFORE, BELOW = 400, 200  # code points
MOST_TYPED = 2000


@dataclass(frozen=True, slots=True)
class Anchor:
    """A place in a document. before: the text that ends there; below: the text from the next line on, whole as far as it goes."""

    uri: str
    offset: int
    before: str
    below: str

    @classmethod
    def at(cls, uri: str, text: str, offset: int) -> Anchor:
        """The anchor of `offset`."""
        end = text.find("\n", offset)
        return cls(uri, offset, text[max(0, offset - BEFORE) : offset], "" if end < 0 else text[end : end + BELOW])

    def typed(self, text: str, offset: int) -> str | None:
        """What was typed between the anchor and the cursor at `offset`, with "\\n" as its only line ending; None where there are other differences.

        The text may have moved in the document. Below the cursor's line nothing may have changed.
        """
        end = text.find("\n", offset)
        if text[end : end + BELOW] != self.below if end >= 0 else self.below:
            return None
        size = len(self.before)
        if self.offset <= offset and text.startswith(self.before, self.offset - size):
            at = self.offset
        else:
            found = text.rfind(self.before, max(0, offset - MOST_TYPED - size), offset)
            at = found + size
            if found < 0 or (size < BEFORE and found != 0):  # a short one begins at the start of the document
                return None
        return text[at:offset].replace("\r\n", "\n") if offset - at <= MOST_TYPED else None
