"""What the measurements share: the server, real text, the report, and the count of requests that went wrong."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.bench.engine.client import Call, Reply
from tests.bench.engine.corpus import Corpus
from tests.bench.engine.peers import Ours
from tests.bench.report import Report

ASKED = Call("/health")


@dataclass
class Visit:
    """One server under measurement. quick: fewer samples. sent, failed: requests that should be answered, and those that were not."""

    server: Ours
    model: Path
    corpus: Corpus
    report: Report
    quick: bool
    sent: int = 0
    failed: int = 0
    errors: list[str] = field(default_factory=list)

    def few(self, many: int, quick: int) -> int:
        """How many samples to take."""
        return quick if self.quick else many

    async def ask(self, call: Call) -> Reply:
        """The reply to a request that should be answered."""
        self.sent += 1
        try:
            reply = await self.server.call(call)
        except (ConnectionError, OSError, asyncio.TimeoutError) as error:
            reply = Reply(error=f"{type(error).__name__}: {error}")
        if not reply.ok:
            self.failed += 1
            self.errors.append(f"{call.path}: {reply.status} {reply.error}")
        return reply

    async def together(self, calls: Sequence[Call]) -> list[Reply]:
        """The replies to requests that are sent at the same moment."""
        return list(await asyncio.gather(*map(self.ask, calls)))

    async def health(self) -> tuple[float, dict[str, Any]]:
        """The seconds that the answer took, and what it says."""
        start = time.perf_counter()
        reply = await self.server.call(ASKED)
        return time.perf_counter() - start, reply.body
