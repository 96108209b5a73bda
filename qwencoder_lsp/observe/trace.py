"""The last requests and what became of them, so that "why nothing?" has an answer.

In: one trace per finished request. Out: the newest ones, and counts by feature and reason. A trace holds numbers and codes only; the records that
go with the newest ones hold text, and leave this process only for the user's own command line, or for the disk where the setting says so.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from qwencoder_lsp.core.outcome import ANSWERED, Outcome
from qwencoder_lsp.core.report import Reason, Step, Timings, Usage
from qwencoder_lsp.core.results import Recorded, Signals

log = logging.getLogger(__name__)

KEPT = 500
RECORDS, RECORDED = 100, 8 << 20  # records, and code points in them

Entry = dict[str, Any]  # a trace as a JSON object, under "record" its record or None


@dataclass(frozen=True, slots=True)
class Trace:
    """One request. id: the suggestion's or finding's id where there is one. detail: a code or a short phrase, never source text.

    signals, source, shares, steps: of a completion, as in core.results. language: LSP language id, where the request was about one document. request:
    how the user names it.
    total_ms: from the arrival of the request to its answer; at: the end, in seconds since 1970.
    """

    id: str
    feature: str
    reason: Reason
    detail: str = ""
    model: str = ""
    usage: Usage = field(default_factory=Usage)
    timings: Timings = field(default_factory=Timings)
    total_ms: float = 0.0
    signals: Signals = field(default_factory=Signals)
    source: str = ""
    shares: dict[str, int] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()
    language: str = ""
    request: str = field(default_factory=lambda: secrets.token_hex(4))
    at: float = field(default_factory=time.time)


class Traces:
    """A ring of the last KEPT traces. save: set to have what has a record kept elsewhere too; tell: to have the numbers of all."""

    def __init__(self) -> None:
        self.save: Callable[[Entry], None] | None = None
        self.tell: Callable[[Outcome], None] | None = None
        self._records: OrderedDict[str, Recorded] = OrderedDict()
        self._recorded = 0  # code points in all records
        self._ring: deque[Trace] = deque(maxlen=KEPT)
        self._counts: Counter[str] = Counter()

    def add(self, trace: Trace, record: Recorded | None = None) -> None:
        """Keep a trace, and log its numbers."""
        self._ring.append(trace)
        if record:
            self._records[trace.request] = record
            self._recorded += record.size
            while len(self._records) > RECORDS or (len(self._records) > 1 and self._recorded > RECORDED):
                self._recorded -= self._records.popitem(last=False)[1].size
            if self.save:
                self.save(self._entry(trace))
        self._counts[f"{trace.feature}: {trace.reason.value}"] += 1
        if self.tell:
            self.tell(_outcome(trace))
        log.info(
            "%s %s %s: %s %s from=%s confidence=%s model=%s prompt=%d reused=%d generated=%d total=%.0fms",
            trace.feature,
            trace.request,
            trace.id,
            trace.reason.value,
            trace.detail,
            trace.source or "-",
            "-" if trace.signals.confidence is None else f"{trace.signals.confidence:.2f}",
            trace.model,
            trace.usage.prompt,
            trace.usage.reused,
            trace.usage.generated,
            trace.total_ms,
        )

    def count(self, event: str, feature: str, language: str) -> None:
        """Count what is no request: what the user made of a suggestion, as in core.outcome."""
        self._counts[event] += 1
        if self.tell:
            self.tell(Outcome(time.time(), event, feature, language))

    def last(self, limit: int) -> list[dict[str, Any]]:
        """The newest `limit` traces as JSON objects, newest first."""
        newest = list(self._ring)[::-1][: max(limit, 0)]
        return [_as_json(trace) for trace in newest]

    def entry(self, request: str) -> Entry | None:
        """The trace of that request with its record."""
        found = next((trace for trace in self._ring if trace.request == request), None)
        return self._entry(found) if found else None

    def last_silence(self) -> dict[str, Any] | None:
        """Why the latest empty answer was empty: feature, reason, detail, when, and the name of the request."""
        found = next((trace for trace in reversed(self._ring) if trace.reason is not Reason.SHOWN), None)
        names = ("feature", "reason", "detail", "request", "at")
        return {name: _as_json(found)[name] for name in names} if found else None

    def last_answer(self, feature: str) -> dict[str, Any] | None:
        """How the latest request of a feature ended that nothing newer took the place of: reason, detail, model, milliseconds, and when."""
        overtaken = (Reason.SUPERSEDED, Reason.CANCELLED, Reason.STALE)
        found = next((trace for trace in reversed(self._ring) if trace.feature == feature and trace.reason not in overtaken), None)
        names = ("reason", "detail", "model", "total_ms", "at")
        return {name: _as_json(found)[name] for name in names} if found else None

    def counts(self) -> dict[str, int]:
        """How often each "feature: reason" and each counted event occurred."""
        return dict(self._counts)

    def _entry(self, trace: Trace) -> Entry:
        record = self._records.get(trace.request)
        return {**_as_json(trace), "record": record.as_json() if record else None}


def _outcome(trace: Trace) -> Outcome:
    return Outcome(
        trace.at,
        ANSWERED,
        trace.feature,
        trace.language,
        trace.reason.value,
        trace.detail if trace.reason is Reason.ERROR else "",  # the code of an error
        trace.model,
        trace.source,
        trace.usage,
        trace.timings,
        trace.total_ms,
    )


def _as_json(trace: Trace) -> dict[str, Any]:
    return {**asdict(trace), "reason": trace.reason.value}
