"""What became of a request in an editor window, and of a request to an engine: the numbers that are kept as history. Never any text."""

from __future__ import annotations

from dataclasses import dataclass, field

from qwencoder_lsp.core.report import Timings, Usage

ANSWERED, DISPLAYED, ACCEPTED, PARTLY, REJECTED = "answered", "displayed", "accepted", "partly accepted", "rejected"
EVENTS = frozenset({ANSWERED, DISPLAYED, ACCEPTED, PARTLY, REJECTED})


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a language server tells of one window. at: seconds since 1970. feature: as in traces; language: LSP language id.

    event: ANSWERED, or what the user made of a suggestion; the rest is about answers. reason: a value of core.report.Reason; code: of the error that
    was the reason. source: as in core.results.Completion. total_ms: from the arrival of the request to its answer.
    """

    at: float
    event: str
    feature: str
    language: str = ""
    reason: str = ""
    code: str = ""
    model: str = ""
    source: str = ""
    usage: Usage = field(default_factory=Usage)
    timings: Timings = field(default_factory=Timings)
    total_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class EngineRun:
    """What the gateway knows of one request to an engine. reason: as in engine.protocol.Done, or the code of the error that ended it, and then
    `failed` is true and the model may not be known. Times are milliseconds."""

    at: float
    model: str
    reason: str
    failed: bool = False
    prompt: int = 0
    reused: int = 0
    restored: int = 0
    generated: int = 0
    drafted: int = 0
    accepted: int = 0
    preempted: int = 0
    queue_ms: float = 0.0
    prefill_ms: float = 0.0
    decode_ms: float = 0.0
