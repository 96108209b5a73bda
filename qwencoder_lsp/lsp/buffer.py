"""The text of an open document, kept in blocks so that an edit in a 10 MB file costs microseconds.

In: edits in code points. Out: the whole text (joined when asked for, then kept until the next edit), and places as line and column in a
position encoding. Lines end with "\\n", "\\r\\n" or "\\r", as LSP has it; Python's `splitlines` knows eight more, so it is not used.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from itertools import accumulate, islice

from qwencoder_lsp.lsp.positions import clean, code_points, units

BLOCK = 8_192  # code points; small enough to scan for a line end at each keystroke, large enough that 10 MB are about a thousand blocks

_LINE_END = re.compile("\r\n|\r|\n")


class Buffer:
    """A mutable text. Offsets count code points; those outside the text are clamped to it."""

    def __init__(self, text: str) -> None:
        self._text: str | None = clean(text)
        self._blocks = _split(self._text) or [""]
        self._counts = [_count(b) for b in self._blocks]
        self._seen = (0, 0)  # the line that was looked up last, and its start: typing asks for one line again and again
        self._measure()

    @property
    def text(self) -> str:
        """The whole text."""
        if self._text is None:
            self._text = "".join(self._blocks)
        return self._text

    def __len__(self) -> int:
        return self._ends[-1]

    def slice(self, start: int, end: int) -> str:
        """The text of a range, without joining the rest."""
        first, last = self._block_at(start), self._block_at(end)
        begin = self._begin(first)
        return "".join(self._blocks[first : last + 1])[max(start - begin, 0) : max(end - begin, 0)]

    def replace(self, start: int, end: int, text: str) -> None:
        """Put `text` in place of the range. `start` must not lie behind `end`."""
        first, last = self._block_at(start), self._block_at(end)
        text = clean(text)
        if first and self._blocks[first - 1].endswith("\r"):
            first -= 1  # a "\n" that comes to stand behind that "\r" must share its block
        if last + 1 < len(self._blocks) and self._ends[last] - self._begin(first) < BLOCK // 2:
            last += 1  # keeps blocks from becoming many and tiny
        begin = self._begin(first)
        old = "".join(self._blocks[first : last + 1])
        new = old[: start - begin] + text + old[max(end - begin, 0) :]
        if new.endswith("\r") and last + 1 < len(self._blocks):
            last += 1  # for the same reason
            new += self._blocks[last]
        fresh = _split(new)
        self._blocks[first : last + 1] = fresh
        self._counts[first : last + 1] = [_count(b) for b in fresh]
        if not self._blocks:
            self._blocks, self._counts = [""], [0]
        self._text = None
        if self._seen[1] >= start:  # also where they are equal: a "\n" that joins a "\r" in front of it moves the start
            self._seen = (0, 0)
        self._measure()

    def offset(self, line: int, column: int, encoding: str) -> int:
        """The code point offset of a place. Lines and columns out of range are clamped to the end of the text and of the line."""
        if line < 0:
            return 0
        if line > self._breaks[-1]:
            return len(self)
        start = self._line_start(line)
        end = min(self._line_end(start), start + max(column, 0))
        return start + code_points(self.slice(start, end), column, encoding)

    def position(self, offset: int, encoding: str) -> tuple[int, int]:
        """Line and column of a code point offset. Between "\\r" and "\\n" it is the end of the line."""
        offset = min(max(offset, 0), len(self))
        index = self._block_at(offset)
        begin = self._begin(index)
        head = self._blocks[index][: offset - begin]
        if head.endswith("\r") and self._blocks[index][offset - begin : offset - begin + 1] == "\n":
            head, offset = head[:-1], offset - 1
        line = (self._breaks[index - 1] if index else 0) + _count(head)
        return line, units(self.slice(self._line_start(line), offset), encoding)

    def line_span(self, offset: int) -> tuple[int, int]:
        """Start and end of the line that holds `offset`, without its line end."""
        start = self._line_start(self.position(offset, "utf-32")[0])
        return start, self._line_end(start)

    def _measure(self) -> None:
        self._ends = list(accumulate(len(b) for b in self._blocks))
        self._breaks = list(accumulate(self._counts))

    def _begin(self, index: int) -> int:
        return self._ends[index - 1] if index else 0

    def _block_at(self, offset: int) -> int:
        return min(bisect_right(self._ends, offset), len(self._blocks) - 1)

    def _line_start(self, line: int) -> int:
        if line == 0:
            return 0
        if line != self._seen[0]:
            index = bisect_right(self._breaks, line - 1)
            within = _line_start(self._blocks[index], line - (self._breaks[index - 1] if index else 0))
            self._seen = (line, self._begin(index) + within)
        return self._seen[1]

    def _line_end(self, start: int) -> int:
        index = self._block_at(start)
        at = start - self._begin(index)
        while index < len(self._blocks):
            if self._counts[index] and (match := _LINE_END.search(self._blocks[index], at)):
                return self._begin(index) + match.start()
            index, at = index + 1, 0
        return len(self)


def _count(text: str) -> int:
    """How many line ends `text` has."""
    return text.count("\n") + text.count("\r") - text.count("\r\n")


def _line_start(text: str, number: int) -> int:
    """Where the line after the `number`th line end begins."""
    if text.count("\r") == text.count("\r\n"):  # every line end has a "\n", and splitting there is faster than matching
        return len(text) - len(text.split("\n", number)[number])
    return next(islice(_LINE_END.finditer(text), number - 1, None)).end()


def _split(text: str) -> list[str]:
    """`text` in even blocks of about BLOCK; none is empty and none ends between "\\r" and "\\n"."""
    if not text:
        return []
    size = -(-len(text) // max(1, round(len(text) / BLOCK)))
    blocks = []
    at = 0
    while at < len(text):
        end = at + size
        if text[end - 1 : end + 1] == "\r\n":
            end += 1
        blocks.append(text[at:end])
        at = end
    return blocks
