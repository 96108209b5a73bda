"""Tells the gateway what became of this window's requests, for its history: numbers only, some at a time, when no keystroke waits."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from contextlib import suppress

from qwencoder_lsp.core.outcome import Outcome
from qwencoder_lsp.errors import GatewayError
from qwencoder_lsp.lsp.connection import Connection
from qwencoder_lsp.lsp.tasks import spawn

log = logging.getLogger(__name__)

PAUSE_S = 0.5
LAST_S = 1.0
KEPT = 1000  # while there is no gateway; it is not started for this


class Outcomes:
    """In: one outcome at a time. They go out together, PAUSE_S after the first."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._waiting: deque[Outcome] = deque(maxlen=KEPT)
        self._sending: asyncio.Task[None] | None = None

    def note(self, outcome: Outcome) -> None:
        """Send it soon."""
        self._waiting.append(outcome)
        if self._sending is None or self._sending.done():
            self._sending = spawn(self._soon())

    async def flush(self) -> None:
        """Send what waits, now: the window closes."""
        with suppress(asyncio.TimeoutError):  # a gateway that hangs must not hold the editor
            await asyncio.wait_for(self._send(), LAST_S)

    async def _soon(self) -> None:
        await asyncio.sleep(PAUSE_S)
        await self._send()

    async def _send(self) -> None:
        client = self._connection.connected
        if client is None:
            return
        while self._waiting:
            batch = tuple(self._waiting)
            self._waiting.clear()
            try:
                await client.tell(batch)
            except GatewayError as error:
                log.info("%d outcomes wait for the next gateway: %s", len(batch), error.message)
                self._waiting.extendleft(reversed(batch))
                return
