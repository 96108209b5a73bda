"""Writes the history beside the event loop: records are noted at once, and written in one thread in batches. One that fails costs no request."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

from qwencoder_lsp import paths
from qwencoder_lsp.errors import HistoryError
from qwencoder_lsp.observe.history import History, Record, Summary
from qwencoder_lsp.observe.history_sqlite import SqliteHistory
from qwencoder_lsp.settings import History as Limits

log = logging.getLogger(__name__)

BATCH_S = 1.0
WAITING = 10_000  # records that wait for a slow disk; the oldest are dropped then
MEMORY_MB = 16


class Recorder:
    """Of one gateway; lives in its event loop. problem: why records are not kept on disk now; empty when all is well."""

    def __init__(self, open_history: Callable[[], History]) -> None:
        """open_history may raise HistoryError; records are then kept in memory."""
        self.problem = ""
        self._open = open_history
        self._thread = ThreadPoolExecutor(1, "history")
        self._history: History | None = None
        self._waiting: deque[Record] = deque(maxlen=WAITING)
        self._timer: asyncio.TimerHandle | None = None
        self._writing: Future[None] | None = None

    @classmethod
    def of(cls, limits: Limits) -> Recorder:
        """As the settings say."""
        return cls(partial(SqliteHistory, paths.history_file() if limits.enabled else None, limits.days, limits.max_mb))

    def note(self, record: Record) -> None:
        """Keep a record. Takes no time."""
        self._waiting.append(record)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(BATCH_S, self._flush)

    async def summary(self, since: float, until: float, buckets: int) -> Summary:
        """What was noted between two times, up to now. Raises HistoryError."""
        self._writing = None  # written or not, the latest records go before the question
        self._flush()
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: self._kept().summary(since, until, buckets))

    async def close(self) -> None:
        """Write what waits, and close the history."""
        self._writing = None
        self._flush()
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown(wait=False)

    def _flush(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if self._writing and not self._writing.done():  # a slow disk: what waits is bounded, what has been handed over would not be
            self._timer = asyncio.get_running_loop().call_later(BATCH_S, self._flush)
        elif self._waiting:
            records = tuple(self._waiting)
            self._waiting.clear()
            self._writing = self._thread.submit(self._write, records)

    def _write(self, records: tuple[Record, ...]) -> None:
        """In the thread."""
        try:
            self._kept().write(records)
        except HistoryError as error:
            if self.problem != str(error):
                log.warning("%d records are lost: %s", len(records), error)
            self.problem = str(error)
        except Exception:  # nobody waits for this: whatever it is must be said here
            log.exception("records are lost")
            self.problem = "The history failed. See: qwencoder-lsp logs"

    def _kept(self) -> History:
        if self._history is None:
            try:
                self._history = self._open()
            except HistoryError as error:
                log.warning("requests are counted in memory: %s", error)
                self.problem = str(error)
                self._history = SqliteHistory(None, 1, MEMORY_MB)
        return self._history

    def _close(self) -> None:
        if self._history:
            self._history.close()
