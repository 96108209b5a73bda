"""A generation under way, which later keystrokes join as long as they type what it writes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable

from qwencoder_lsp.errors import QwencoderError
from qwencoder_lsp.features.anchor import Anchor
from qwencoder_lsp.features.ask import Answer, collect
from qwencoder_lsp.features.record import Asked
from qwencoder_lsp.gateway.protocol import Event

log = logging.getLogger(__name__)

GRACE_S = 0.3  # how long a generation goes on that nobody waits for: the next keystroke may want it


class Flight:
    """Reads the events of one request to their end, or until nobody wants them. landed: called with the whole answer.

    kept: it goes on without anybody waiting (work ahead of the user). asked: what the request was made from.
    """

    def __init__(
        self,
        anchor: Anchor,
        events: AsyncGenerator[Event, None],
        landed: Callable[[Flight, Answer], None],
        *,
        kept: bool = False,
        asked: Asked | None = None,
    ) -> None:
        self.anchor = anchor
        self.asked = asked
        self.text = ""
        self.answer: Answer | None = None
        self.kept = kept
        self._error: QwencoderError | None = None
        self._landed = landed
        self._waiting = 0
        self._changed = asyncio.Event()
        self._task = asyncio.create_task(self._read(events))
        self._task.add_done_callback(lambda _: self._changed.set())  # also when it was cancelled before its first step

    @property
    def over(self) -> bool:
        """Whether nothing more will come."""
        return self._task.done()

    @property
    def stopped(self) -> bool:
        """Whether it was cancelled."""
        return self.over and self.answer is None and self._error is None

    def agrees(self, text: str, offset: int) -> bool:
        """Whether what was typed since is what it has written, as far as it has come."""
        typed = self.anchor.typed(text, offset)
        return typed is not None and not self._error and self._fits(typed)

    async def outcome(self, text: str, offset: int) -> tuple[Answer, str] | None:
        """The whole answer and what is left of it behind what was typed; None as soon as it writes something else.

        Raises the QwencoderError that ended it.
        """
        typed = self.anchor.typed(text, offset)
        self._waiting += 1
        try:
            while typed is not None and self._fits(typed):
                if self._error:
                    raise self._error
                if self.answer:
                    return self.answer, self.answer.text[len(typed) :]
                if self.over:
                    return None
                self._changed.clear()
                await self._changed.wait()
            return None
        finally:
            self._waiting -= 1
            if not self._waiting and not self.over and not self.kept:
                asyncio.get_running_loop().call_later(GRACE_S, self._abandon)

    def cancel(self) -> asyncio.Task[None]:
        """Stop the generation. The task that ends when it has stopped."""
        self._task.cancel()
        return self._task

    def _fits(self, typed: str) -> bool:
        if self.answer:
            return self.text.startswith(typed)
        size = min(len(typed), len(self.text))
        return self.text[:size] == typed[:size]

    def _abandon(self) -> None:
        if not self._waiting and not self.kept:
            self._task.cancel()

    def _grown(self, text: str) -> None:
        self.text = text
        self._changed.set()

    async def _read(self, events: AsyncGenerator[Event, None]) -> None:
        try:
            self.answer = await collect(events, self._grown)
        except QwencoderError as error:
            self._error = error
            log.info("a completion ended: %s", error.message)
        if self.answer:
            self._landed(self, self.answer)
