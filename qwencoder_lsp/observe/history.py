"""The history of requests: what can be asked of it, and what a database must do to keep it. Numbers and outcomes only, never text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from qwencoder_lsp.core.outcome import EVENTS, EngineRun, Outcome
from qwencoder_lsp.core.report import Reason

Record = Outcome | EngineRun

EDITOR_STAGES = ("gather_ms", "render_ms", "queue_ms", "prefill_ms", "first_token_ms", "generate_ms", "finish_ms", "total_ms")
ENGINE_STAGES = ("queue_ms", "prefill_ms", "decode_ms", "total_ms")
OTHER = "other"
_WORD = re.compile(r"[A-Za-z0-9+#._-]{1,64}")  # a language id, a feature, a code, the name of a model
_REASONS = frozenset(reason.value for reason in Reason)


class History(Protocol):
    """A place for records, used by one thread at a time. Every method raises HistoryError when the place does not work."""

    def write(self, records: Sequence[Record]) -> None:
        """Keep the records, and forget what is too old or too much."""
        ...

    def summary(self, since: float, until: float, buckets: int) -> Summary:
        """What the records between two times (seconds since 1970) come to; `buckets` is the number of bars of the time lines."""
        ...

    def close(self) -> None:
        """Give the place back."""
        ...


@dataclass(frozen=True, slots=True)
class Stage:
    """How long one stage took, in milliseconds, over `n` requests. Nearest-rank percentiles."""

    name: str
    n: int
    p50: float
    p90: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True)
class Language:
    """Completion in one language: requests; answers with a suggestion; suggestions that were new, not the rest of one that was being typed; and what
    the editor told of them."""

    name: str
    asked: int
    shown: int
    offered: int
    displayed: int
    accepted: int
    partly: int
    rejected: int


@dataclass(frozen=True, slots=True)
class Tokens:
    """Of all requests to engines, failed ones aside."""

    prompt: int = 0
    reused: int = 0
    restored: int = 0
    generated: int = 0
    drafted: int = 0
    accepted: int = 0
    prefill_ms: float = 0.0
    decode_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Bucket:
    """One bar of a time line. at: its beginning, seconds since 1970. answers: in editors, with or without a suggestion."""

    at: float
    answers: int
    shown: int
    runs: int
    failed: int
    p95_ms: float


@dataclass(frozen=True, slots=True)
class Summary:
    """editor: stages of suggestions that the model was asked for. engine: stages of all requests, programs' included. silence, failures, ends: how
    often each reason occurred; sources: where answers came from; last_failure: (seconds since 1970, code)."""

    since: float
    until: float
    answers: int = 0
    shown: int = 0
    runs: int = 0
    failed: int = 0
    editor: tuple[Stage, ...] = ()
    engine: tuple[Stage, ...] = ()
    languages: tuple[Language, ...] = ()
    silence: dict[str, int] = field(default_factory=dict)
    sources: dict[str, int] = field(default_factory=dict)
    ends: dict[str, int] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)
    last_failure: tuple[float, str] | None = None
    tokens: Tokens = field(default_factory=Tokens)
    line: tuple[Bucket, ...] = ()


def clean(outcome: Outcome) -> Outcome | None:
    """An outcome that a client sent, with "other" for what is not a word, so that no text can come into the history; None when it makes no sense."""
    if outcome.event not in EVENTS or outcome.reason not in _REASONS | {""}:
        return None
    return replace(
        outcome,
        feature=_word(outcome.feature),
        language=_word(outcome.language),
        code=_word(outcome.code),
        model=_word(outcome.model),
        source=_word(outcome.source),
    )


def _word(text: str) -> str:
    return text if not text or _WORD.fullmatch(text) else OTHER
