"""Downloads that go on when whoever asked for them has gone: one per model, to be looked at, followed and cancelled."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

from qwencoder_lsp.errors import QwencoderError
from qwencoder_lsp.http.service import Service
from qwencoder_lsp.models.catalogue import ModelEntry, catalogue_name
from qwencoder_lsp.models.progress import PullProgress
from qwencoder_lsp.models.pull import check_licence, pull_entry


@dataclass(slots=True)
class Download:
    """state: "running", "done", "failed" or "cancelled". done, total: bytes."""

    name: str
    total: int
    state: str = "running"
    done: int = 0
    message: str = ""
    cancelled: threading.Event = field(default_factory=threading.Event)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def shown(self) -> dict[str, Any]:
        """For a client."""
        share = round(100 * self.done / self.total, 1) if self.total else 0.0
        return {"model_name": self.name, "state": self.state, "done": self.done, "total": self.total, "percent": share, "message": self.message}


class Downloads:
    """Of one gateway. A running download keeps the gateway."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._known: dict[str, Download] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def all(self) -> list[Download]:
        """Every download since the gateway started, the last of each model."""
        return list(self._known.values())

    def get(self, name: str) -> Download | None:
        """The model's last download."""
        return self._known.get(name) or self._known.get(catalogue_name(name))

    def start(self, entry: ModelEntry, accepted: str = "") -> Download:
        """The model's running download; begins one if there is none. Raises LicenceNotAccepted unless `accepted` names its licence or it is free."""
        check_licence(entry, accepted)
        known = self._known.get(entry.name)
        if known is None or known.state != "running":
            known = self._known[entry.name] = Download(entry.name, entry.bytes)
            task = asyncio.create_task(self._run(known, entry, accepted))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return known

    async def follow(self, download: Download) -> AsyncGenerator[dict[str, Any], None]:
        """Its state now, at each change, and at its end. Closing it cancels nothing."""
        shown = download.shown()
        while True:
            yield shown
            if shown["state"] != "running":
                return
            while (now := download.shown()) == shown:  # not the event alone: it may have been set, and cleared by another follower, during the yield
                download.changed.clear()
                await download.changed.wait()
            shown = now

    async def _run(self, download: Download, entry: ModelEntry, accepted: str) -> None:
        loop = asyncio.get_running_loop()

        def note(progress: PullProgress) -> None:
            download.done, download.total, download.message = progress.done, progress.total, progress.message
            download.changed.set()

        def report(progress: PullProgress) -> None:
            loop.call_soon_threadsafe(note, progress)

        with self._service.working():
            try:
                await asyncio.to_thread(pull_entry, entry, "auto", report, download.cancelled, accepted)
                download.state, download.done = "done", download.total
            except QwencoderError as error:
                download.state, download.message = "cancelled" if download.cancelled.is_set() else "failed", str(error)
            except asyncio.CancelledError:
                download.cancelled.set()
                raise
            finally:
                download.changed.set()
                self._service.changed()
