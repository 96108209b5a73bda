"""The windows of a text that is too long for one review, and how changes and their explanations are written. Pure.

The model rewrites a window, is given its own version to correct, and explains as JSON under a schema what it did not take back.
(Seen with the 1.5B Instruct model, greedy, 24 buggy and 21 correct texts, most of one to three functions: the rewritten code differs at the bug in
16, and differs other than in white space in 3 of the correct ones. Asked for a JSON list outright, the model pointed at 1 bug of 12 and raised
alarms in 7 of 9 correct texts. One function at a time was worse than a window of several, because the model then adds imports.)
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from qwencoder_lsp.core.text import Span

CATEGORIES = ("logic", "crash", "error-handling", "resource-leak", "concurrency", "security", "performance")
MESSAGE_LENGTH = 240


def windows(text: str, region: Span, limit: int, overlap: int = 8) -> list[Span]:
    """`region` of `text` (whole lines) as windows of whole lines, each at most `limit` code points long unless a single line is longer.

    A window ends where a blank line is followed by the least indented line, as late as possible in its second half. Where there is no such
    border (a very long function), it ends at the limit, and the next one begins `overlap` lines earlier. Blank lines around a window are left out.
    """
    lines = region.of(text).splitlines(keepends=True)
    found: list[Span] = []
    first, start = 0, region.start
    while first < len(lines):
        last, size = first, 0
        while last < len(lines) and (last == first or size + len(lines[last]) <= limit):
            size += len(lines[last])
            last += 1
        following = last
        if last < len(lines):
            border = _border(lines, first, last, size // 2)
            following = border or (last - overlap if last - first > 2 * overlap else last)
            last = border or last
        filled = [i for i in range(first, last) if lines[i].strip()]
        if filled:
            begin = start + sum(map(len, lines[first : filled[0]]))
            found.append(Span(begin, begin + sum(map(len, lines[filled[0] : filled[-1] + 1]))))
        start += sum(map(len, lines[first:following]))
        first = following
    return found


def changes_text(changes: Sequence[tuple[str, str]]) -> str:
    """`changes` (old lines, new lines) numbered, with the marks of a diff."""
    return "\n".join(_diff(number, old, new) for number, (old, new) in enumerate(changes, 1))


def findings_schema(quotes: list[str]) -> str:
    """JSON text of the schema of the second answer: one finding for each of `quotes`, in their order, on one line."""
    findings = [
        {
            "type": "object",
            "properties": {
                "quote": {"const": quote},
                "message": {"type": "string", "maxLength": MESSAGE_LENGTH},
                "category": {"enum": list(CATEGORIES)},
                "severity": {"enum": ["error", "warning", "info"]},
            },
            "required": ["quote", "message", "category", "severity"],
            "additionalProperties": False,
        }
        for quote in quotes
    ]
    array = {"type": "array", "prefixItems": findings, "items": False, "minItems": len(quotes), "maxItems": len(quotes)}
    return _object("findings", array)


def _object(name: str, value: dict[str, Any]) -> str:
    return json.dumps(
        {
            "type": "object",
            "properties": {name: value},
            "required": [name],
            "additionalProperties": False,
            "x-guidance": {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "},  # llguidance: no endless white space
        }
    )


def _border(lines: list[str], first: int, last: int, size: int) -> int | None:
    """The best line to begin a new window with, after at least `size` code points."""
    length, borders = 0, []
    for i in range(first, last + 1):
        if length >= size and i > first and i < len(lines) and lines[i].strip() and not lines[i - 1].strip():
            borders.append((len(lines[i]) - len(lines[i].lstrip()), -i))
        length += len(lines[i]) if i < len(lines) else 0
    return -min(borders)[1] if borders else None


def _diff(number: int, old: str, new: str) -> str:
    lines = [f"{number}.", *(f"- {line}" for line in old.splitlines()), *(f"+ {line}" for line in new.splitlines())]
    return "\n".join(lines) + "\n"
