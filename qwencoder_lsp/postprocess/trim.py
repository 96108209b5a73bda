"""Cuts a raw answer to whole, shown lines. Pure; all text has "\\n" as its only line ending."""

from __future__ import annotations

import re

# Reasons of engine.protocol.Done that say that a newline came next.
AT_LINE_END = frozenset({"lines", "indent", "time", "unsure_line"})
LIMITS = frozenset({"length", "lines", "time", "unsure_line"})
_OPENS = re.compile(r"(?:[:{(\[,\\=]|=>|->|\b(?:then|do|else|begin))[ \t]*$")


def drop_unfinished_line(text: str) -> str:
    """Without the last line, which the token limit cut off, unless it is the only one with text."""
    head, _, _ = text.rpartition("\n")
    return head if head.strip() else text


def drop_open_end(text: str) -> str:
    """Without the last lines that only open something, as a limit may leave them, unless nothing else is there: what they open is not there."""
    lines = text.rstrip().split("\n")
    while len(lines) > 1 and _OPENS.search(lines[-1]):
        lines.pop()
        while len(lines) > 1 and not lines[-1].strip():
            lines.pop()
    head = "\n".join(lines)
    return head if head.strip() and head != text.rstrip() else text


def trim_end(text: str, rest: str) -> str:
    """Without white space and blank lines at the end, when only white space (`rest`) follows the cursor on its line; otherwise they separate."""
    return text if rest.strip() else text.rstrip()


def open_line(text: str, before: str, rest: str) -> str:
    """With the newline that separates new lines from the code that they are put in front of, and that code's indentation.

    before, rest: the cursor's line on both sides. The text stays as it is when the cursor is not at a line's first text.
    """
    return f"{text}\n{before}" if rest.strip() and not before.strip() else text
