"""Reads a document's further surroundings into the model's memory when the cursor rests, so that the first answer need not wait for it."""

from __future__ import annotations

import asyncio

from qwencoder_lsp.features.anchor import Anchor
from qwencoder_lsp.features.ask import Answer
from qwencoder_lsp.features.flight import Flight
from qwencoder_lsp.gateway.client import Gateway
from qwencoder_lsp.gateway.protocol import CompleteRequest

PAUSE_S = 1.0  # without a keystroke


class Reader:
    """One document's. done: whether everything was read once; requests that then want all of it find it computed."""

    def __init__(self) -> None:
        self.done = False
        self._timer: asyncio.TimerHandle | None = None
        self._flight: Flight | None = None

    def rest(self, anchor: Anchor, request: CompleteRequest, gateway: Gateway) -> None:
        """An answer is out. Begin to read what `request` wants if nothing happens for a moment."""
        self.stop()
        if not self.done:
            self._timer = asyncio.get_running_loop().call_later(PAUSE_S, self._read, anchor, request, gateway)

    def stop(self) -> list[asyncio.Task[None]]:
        """Somebody types. What was read stays computed. The tasks that are being stopped."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        stopped = [self._flight.cancel()] if self._flight and not self._flight.over else []
        self._flight = None
        return stopped

    def _read(self, anchor: Anchor, request: CompleteRequest, gateway: Gateway) -> None:
        def read(_: Flight, answer: Answer) -> None:
            self.done = not answer.replaced

        self._flight = Flight(anchor, gateway.complete(request), read, kept=True)
