"""What features hand to an editor."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

from qwencoder_lsp.core.report import Reason, Step, Timings, Usage
from qwencoder_lsp.core.text import Edit, Span


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Ghost text: replace `span` (it ends at or after the cursor) by `text`."""

    id: str
    text: str
    span: Span


class Recorded(Protocol):
    """All that a completion was made from, with its text; enough to make it again."""

    @property
    def size(self) -> int:
        """Code points of text that it keeps alive."""
        ...

    def as_json(self) -> dict[str, Any]:
        """The record as a JSON object."""
        ...


@dataclass(frozen=True, slots=True)
class Signals:
    """What is known of an answer without its text. Natural logs, None where the model gave none: confidence is the mean of its tokens, least the
    smallest, first that of the first token, and end that of no answer at all instead.

    scope: "code", "string" or "prose". between: there is text behind the cursor that no editor inserts by itself. below: it begins with the next
    line although this one looks finished. at_end: an empty line behind all text.
    """

    tokens: int = 0
    confidence: float | None = None
    first: float | None = None
    least: float | None = None
    end: float | None = None
    characters: int = 0
    lines: int = 0
    scope: str = "code"
    between: bool = False
    below: bool = False
    at_end: bool = False


@dataclass(frozen=True, slots=True)
class Completion:
    """The outcome of one completion request; `suggestion` is None when `reason` is not SHOWN. source: "asked", "joined", "memory" or, of an answer
    that was prepared for this place, "ahead"; empty where no answer was needed. shares: the prompt's tokens by part. steps: the filters that changed
    the answer.
    """

    suggestion: Suggestion | None
    reason: Reason
    detail: str = ""
    model: str = ""
    usage: Usage = field(default_factory=Usage)
    timings: Timings = field(default_factory=Timings)
    signals: Signals = field(default_factory=Signals)
    source: str = ""
    shares: dict[str, int] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()
    record: Recorded | None = None


class Severity(str, Enum):
    """How bad a finding is, in the words that the model uses."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Finding:
    """A review finding. `span` covers `quote` in the text that was reviewed; `replacement` is the suggested new text of that span."""

    id: str
    category: str
    severity: Severity
    message: str
    quote: str
    span: Span
    replacement: str | None = None


CUT_OFF, TOO_LONG = "answer cut off", "line too long to review"
"""Reasons in Review.dropped of which a part of the text was not judged."""


@dataclass(frozen=True, slots=True)
class Review:
    """All findings that survived verification, and what was dropped by reason. refuted: where the model took a finding back. parts: how many
    windows were read one after the other because the text is longer than one."""

    findings: tuple[Finding, ...]
    dropped: dict[str, int]
    model: str = ""
    usage: Usage = field(default_factory=Usage)
    timings: Timings = field(default_factory=Timings)
    refuted: tuple[Span, ...] = ()
    parts: int = 0


@dataclass(frozen=True, slots=True)
class Fix:
    """Minimal edits against the snapshot that the fix was made from. calls: how often the model was asked."""

    edits: tuple[Edit, ...]
    title: str
    model: str = ""
    timings: Timings = field(default_factory=Timings)
    calls: int = 1
