"""A raw client that hands each response to the judge, in the order in which they came."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from tests.bench.monkey.judge import Judge
from tests.protocol.rawclient import PATIENCE_S, RawClient


class Listening(RawClient):
    """One server and its judge. judged: whether responses count yet."""

    def __init__(self, env: dict[str, str], judge: Judge, stderr: Path) -> None:
        self.judged = False
        self._judge = judge
        super().__init__(env, stderr=stderr)

    def took(self, message: dict[str, Any]) -> None:
        if self.judged and "method" not in message:
            self._judge.response(message)

    def settle(self, at_most: int) -> None:
        """Wait until no more than so many requests are under way; one that stays is a fault."""
        deadline = time.monotonic() + PATIENCE_S
        while len(self._judge.waiting) > at_most:
            if time.monotonic() > deadline:
                for asked in list(self._judge.waiting.values()):
                    self._judge.fault("no answer", f"{asked.method} after {time.monotonic() - asked.at:.0f} s")
                self._judge.waiting.clear()
            time.sleep(0.001)
