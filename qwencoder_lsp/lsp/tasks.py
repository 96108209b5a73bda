"""Background tasks that are neither lost nor silent, and requests of which only the newest counts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Hashable
from typing import Any, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")

_background: set[asyncio.Task[Any]] = set()


def spawn(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """Run `work` in the background. The event loop alone would hold it weakly; an exception that nobody awaits goes to the log."""
    task = asyncio.get_running_loop().create_task(work)
    _background.add(task)
    task.add_done_callback(_finished)
    return task


def _finished(task: asyncio.Task[Any]) -> None:
    _background.discard(task)
    if not task.cancelled() and (error := task.exception()):
        log.error("background task %s failed", task.get_name(), exc_info=error)


class NewestWins:
    """Runs one piece of work per key; a newer one cancels the older, whether or not the editor did (Neovim does not)."""

    def __init__(self) -> None:
        self._running: dict[Hashable, asyncio.Task[Any]] = {}

    async def run(self, key: Hashable, work: Coroutine[Any, Any, T]) -> T | None:
        """The result of `work`, or None when a newer call with the same key cancelled it. Cancelling this call cancels `work`."""
        self.cancel(key)
        task = asyncio.get_running_loop().create_task(work)
        self._running[key] = task
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            task.cancel()
            raise
        finally:
            if self._running.get(key) is task:
                del self._running[key]
        return None if task.cancelled() else task.result()

    def cancel(self, key: Hashable) -> None:
        """Cancel the work that runs under `key`, if any."""
        if older := self._running.pop(key, None):
            older.cancel()
