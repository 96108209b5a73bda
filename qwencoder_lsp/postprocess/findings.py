"""Findings in a model's JSON answer: read, also when the answer was cut off, and located by what they quote.

In: the answer, and the text that was reviewed. Out: raw findings, and spans in code points. Line numbers are never asked for or believed.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from qwencoder_lsp.core.results import Severity
from qwencoder_lsp.core.text import Span


@dataclass(frozen=True, slots=True)
class RawFinding:
    """One finding as the model wrote it; nothing in it is verified but its types."""

    quote: str
    message: str
    category: str
    severity: Severity
    replacement: str | None = None


def read_findings(answer: str) -> list[RawFinding]:
    """The findings of an answer `{"findings": [{"quote", "message", "category", "severity", "replacement"}, ...]}`.

    An answer that was cut off, or that has text around the JSON, yields every finding that is complete. A finding without a quote or a message
    is left in, so that the caller can count it. Unknown severities count as warnings, since the model saw something.
    """
    return [_raw(fields) for fields in _objects(answer, "findings")]


def locate(text: str, quote: str, near: int, within: Span | None = None) -> Span | None:
    """Where `quote` stands in `text`: exactly, else with any white space between its tokens; None when it does not.

    Of several places the one that begins nearest to the offset `near` is taken, the earlier of two equally near. White space around the quote
    does not count. within: only places inside this span.
    """
    wanted = quote.strip()
    if not wanted:
        return None
    area = within or Span(0, len(text))
    for pattern in (re.escape(wanted), _loose(wanted)):
        starts = [match.span() for match in re.compile(pattern).finditer(text, area.start, area.end)]
        if starts:
            return Span(*min(starts, key=lambda place: abs(place[0] - near)))
    return None


def same_words(a: str, b: str) -> bool:
    """Whether the texts are equal but for white space."""
    return "".join(a.split()) == "".join(b.split())


def _loose(quote: str) -> str:
    """A pattern of the quote's tokens with any white space between them, and at least some between two words."""
    pattern = ""
    for token in re.findall(r"\w+|[^\w\s]", quote):
        gap = r"\s+" if pattern and pattern[-1].isalnum() and (token[0].isalnum() or token[0] == "_") else r"\s*"
        pattern += (gap if pattern else "") + re.escape(token)
    return pattern


def _objects(answer: str, name: str) -> list[dict[str, Any]]:
    """The complete objects of the array `name` of an answer."""
    at = re.search(rf'"{name}"\s*:\s*\[', answer)
    if at is None:
        return []
    decoder = json.JSONDecoder()
    found: list[dict[str, Any]] = []
    position = at.end()
    while (start := re.compile(r"[\s,]*(?=\{)").match(answer, position)) is not None:
        try:
            fields, position = decoder.raw_decode(answer, start.end())
        except ValueError:  # the answer ends within this object
            break
        found.append(fields)
    return found


def _raw(fields: dict[str, Any]) -> RawFinding:
    def text(name: str) -> str:
        value = fields.get(name)
        return value.strip() if isinstance(value, str) else ""

    known = [level for level in Severity if level.value == text("severity").lower()]
    replacement = fields.get("replacement")
    return RawFinding(
        quote=text("quote"),
        message=" ".join(text("message").split()),
        category=text("category"),
        severity=known[0] if known else Severity.WARNING,
        replacement=replacement if isinstance(replacement, str) else None,
    )
