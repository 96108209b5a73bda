"""The last requests and what became of them, so that "why nothing?" has an answer.

In: one record per finished request. Out: the newest records, and counts by feature and reason. Numbers and codes only, never text of the user.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from dataclasses import asdict, dataclass, field
from typing import Any

from qwencoder_lsp.core.report import Reason, Timings, Usage
from qwencoder_lsp.core.results import Signals

log = logging.getLogger(__name__)

KEPT = 500


@dataclass(frozen=True, slots=True)
class Trace:
    """One request. id: the suggestion's or finding's id where there is one. detail: a code or a short phrase, never source text.

    signals: of a completion. total_ms: from the arrival of the request to its answer; at: the end, in seconds since 1970.
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
    at: float = field(default_factory=time.time)


class Traces:
    """A ring of the last KEPT records."""

    def __init__(self) -> None:
        self._ring: deque[Trace] = deque(maxlen=KEPT)
        self._counts: Counter[str] = Counter()

    def add(self, trace: Trace) -> None:
        """Keep a record, and log its numbers."""
        self._ring.append(trace)
        self._counts[f"{trace.feature}: {trace.reason.value}"] += 1
        log.info(
            "%s %s: %s %s model=%s prompt=%d reused=%d generated=%d total=%.0fms",
            trace.feature,
            trace.id,
            trace.reason.value,
            trace.detail,
            trace.model,
            trace.usage.prompt,
            trace.usage.reused,
            trace.usage.generated,
            trace.total_ms,
        )

    def count(self, event: str) -> None:
        """Count an event that is no request, such as the acceptance of a suggestion."""
        self._counts[event] += 1

    def last(self, limit: int) -> list[dict[str, Any]]:
        """The newest `limit` records as JSON objects, newest first."""
        newest = list(self._ring)[::-1][: max(limit, 0)]
        return [{**asdict(trace), "reason": trace.reason.value} for trace in newest]

    def counts(self) -> dict[str, int]:
        """How often each "feature: reason" and each counted event occurred."""
        return dict(self._counts)
