"""Model downloads for windows: one at a time per model, progress as events, cancelled when nobody waits for it any more."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator

from qwencoder_lsp.gateway.protocol import End, Event, Progress, PullRequest
from qwencoder_lsp.http.service import Service
from qwencoder_lsp.models.pull import pull


async def download(service: Service, request: PullRequest) -> AsyncGenerator[Event, None]:
    """Progress..., End. Raises DownloadError, ModelError. Closing it cancels the download; a second request for the model waits for the first."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[Progress | None] = asyncio.Queue()
    cancelled = threading.Event()

    def report(progress: Progress | None) -> None:
        loop.call_soon_threadsafe(queue.put_nowait, progress)

    def work() -> None:
        try:
            pull(request.name, request.source, lambda p: report(Progress(p.done, p.total, p.message)), cancelled, request.accepted)
        finally:
            report(None)

    task = asyncio.create_task(asyncio.to_thread(work))
    try:
        while (progress := await queue.get()) is not None:
            service.pulls[request.name] = progress
            yield progress
        await task
        service.changed()  # other windows learn that the model is here
        yield End("pulled")
    finally:
        service.pulls.pop(request.name, None)
        cancelled.set()
