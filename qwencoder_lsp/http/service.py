"""What the gateway's routes share: the models, who is watching, what runs, and when nobody needs the gateway any more."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager

from qwencoder_lsp import __version__
from qwencoder_lsp.core.outcome import EngineRun, Outcome
from qwencoder_lsp.engine.protocol import Done
from qwencoder_lsp.errors import QwencoderError
from qwencoder_lsp.gateway.protocol import Progress, Status
from qwencoder_lsp.http.host import ModelHost
from qwencoder_lsp.observe.history import clean
from qwencoder_lsp.observe.metrics import Metrics
from qwencoder_lsp.observe.recorder import Recorder
from qwencoder_lsp.settings import Settings

FIRST_CLIENT_S = 30.0  # how long a fresh gateway waits for the client that started it
TELL_S = 0.5  # how far the number of running requests may be behind in what watchers know


class Service:
    """State of the running gateway. Lives in one event loop."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.recorder = Recorder.of(settings.history)
        self.started = time.time()
        self.pulls: dict[str, Progress] = {}  # models that windows have fetched now
        self.host = ModelHost(settings, self.changed, self._ended)
        self.listening = ""
        self.stopping = asyncio.Event()
        self._watchers: set[asyncio.Event] = set()
        self._telling: asyncio.TimerHandle | None = None
        self._active = 0
        self._idle_since = time.monotonic() + max(0.0, FIRST_CLIENT_S - settings.gateway.linger_s)

    @property
    def active(self) -> int:
        """Requests that are running."""
        return self._active

    @property
    def status(self) -> Status:
        """The state now."""
        completion, chat = self._auto("completion"), self._auto("chat")
        return Status(os.getpid(), __version__, len(self._watchers), self._active, completion, chat, self.listening, self.host.states())

    def changed(self) -> None:
        """Tell every watcher that the status is another."""
        for watcher in self._watchers:
            watcher.set()

    async def events(self) -> AsyncGenerator[Status, None]:
        """The status now and at each change, until the gateway stops. The open generator is a lease: the gateway stays for it."""
        watcher = asyncio.Event()
        self._watchers.add(watcher)
        self.changed()
        try:
            while not self.stopping.is_set():
                await watcher.wait()
                watcher.clear()
                yield self.status
        finally:
            self._watchers.discard(watcher)
            self._idle_since = time.monotonic()
            self.changed()

    @contextmanager
    def working(self) -> Iterator[None]:
        """Counts one running request, and notes how it failed."""
        self._active += 1
        self._tell_soon()
        try:
            yield
        except QwencoderError as error:
            self.failed(error.code)
            raise
        except Exception:  # counted here, and raised again
            self.failed(QwencoderError.code)
            raise
        finally:
            self._active -= 1
            self._idle_since = time.monotonic()
            self._tell_soon()

    def failed(self, code: str) -> None:
        """A request got an error instead of an answer."""
        self.recorder.note(EngineRun(time.time(), "", code, failed=True))

    def heard(self, outcomes: tuple[Outcome, ...]) -> None:
        """What became of requests in an editor window."""
        for outcome in outcomes:
            if known := clean(outcome):
                self.recorder.note(known)

    def _tell_soon(self) -> None:
        """Watchers need not hear of each request, but of work that goes on, and of its end."""
        if self._telling is None:
            self._telling = asyncio.get_running_loop().call_later(TELL_S, self._tell)

    def _tell(self) -> None:
        self._telling = None
        self.changed()

    async def tend(self) -> None:
        """Unload idle models; return when nobody has needed the gateway for gateway.linger_s, or on `stop`."""
        while not self.stopping.is_set():
            await self.host.unload_idle()
            unused = not self._watchers and not self._active and time.monotonic() - self._idle_since > self.settings.gateway.linger_s
            if unused:
                return
            try:
                await asyncio.wait_for(self.stopping.wait(), 0.5)
            except asyncio.TimeoutError:  # not the built-in class before Python 3.11
                continue

    def stop(self) -> None:
        """End the gateway soon."""
        self.stopping.set()
        self.changed()

    def _ended(self, model: str, done: Done) -> None:
        self.metrics.ended(
            model,
            done.reason,
            computed=done.prompt_tokens - done.reused_tokens,
            reused=done.reused_tokens,
            generated=done.generated_tokens,
            drafted=done.drafted_tokens,
            accepted=done.accepted_tokens,
            preempted=done.preempted,
            queue_ms=done.queue_ms,
            prefill_ms=done.prefill_ms,
            decode_ms=done.decode_ms,
            held=done.held_bytes,
        )
        self.recorder.note(
            EngineRun(
                time.time(),
                model,
                done.reason,
                False,
                done.prompt_tokens,
                done.reused_tokens,
                done.restored_tokens,
                done.generated_tokens,
                done.drafted_tokens,
                done.accepted_tokens,
                done.preempted,
                done.queue_ms,
                done.prefill_ms,
                done.decode_ms,
            )
        )

    def _auto(self, role: str) -> str:
        """What "auto" means for `role` now; empty while no model is installed."""
        wanted = self.settings.model.completion if role == "completion" else self.settings.model.chat
        try:
            return self.host.choose(role, wanted).model.name
        except QwencoderError:  # the status says so by an empty name; a request for the model gets the error itself
            return ""
