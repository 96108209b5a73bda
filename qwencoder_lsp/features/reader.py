"""Reads a document's further surroundings into the model's memory when the cursor rests, so that no keystroke need wait for it.

That is the rest of the document, once, and the snippets of other files, whenever a better choice of them is known. They are used from the moment at
which the model has read them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from qwencoder_lsp.context.pack import Pack
from qwencoder_lsp.features.anchor import Anchor
from qwencoder_lsp.features.ask import Answer
from qwencoder_lsp.features.flight import Flight
from qwencoder_lsp.gateway.client import Gateway
from qwencoder_lsp.gateway.protocol import CompleteRequest

PAUSE_S = 1.0  # without a keystroke

Choose = Callable[[], Awaitable[Pack]]
"""Finds the snippets that are best at the place."""


class Reader:
    """One document's. done: whether everything was read once; requests that then want all of it find it computed. pack: the snippets that were
    read."""

    def __init__(self) -> None:
        self.done = False
        self.pack = Pack()
        self._timer: asyncio.TimerHandle | None = None
        self._choosing: asyncio.Task[None] | None = None
        self._flight: Flight | None = None

    def rest(self, anchor: Anchor, request: CompleteRequest, gateway: Gateway, choose: Choose | None = None) -> None:
        """An answer is out. Begin to read what `request` wants, with the snippets of `choose`, if nothing happens for a moment."""
        self.stop()
        if not self.done or choose:
            self._timer = asyncio.get_running_loop().call_later(PAUSE_S, self._begin, anchor, request, gateway, choose)

    def stop(self) -> list[asyncio.Task[None]]:
        """Somebody types. What was read stays computed. The tasks that are being stopped."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        stopped = [self._flight.cancel()] if self._flight and not self._flight.over else []
        if self._choosing and not self._choosing.done():
            self._choosing.cancel()
            stopped.append(self._choosing)
        self._flight = self._choosing = None
        return stopped

    def _begin(self, anchor: Anchor, request: CompleteRequest, gateway: Gateway, choose: Choose | None) -> None:
        self._choosing = asyncio.create_task(self._read(anchor, request, gateway, choose))

    async def _read(self, anchor: Anchor, request: CompleteRequest, gateway: Gateway, choose: Choose | None) -> None:
        pack = await choose() if choose else self.pack
        if self.done and pack.snippets == self.pack.snippets:
            return

        def read(_: Flight, answer: Answer) -> None:
            if not answer.replaced:
                self.done, self.pack = True, pack

        wanted = replace(request, parts=replace(request.parts, snippets=pack.snippets))
        self._flight = Flight(anchor, gateway.complete(wanted), read, kept=True)
