"""How a pull talks to the thread that asked for it: progress goes out, the wish to cancel comes in."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from qwencoder_lsp.errors import DownloadError


@dataclass(frozen=True, slots=True)
class PullProgress:
    """`done` of `total` bytes of the model are written; `message` is one phrase for the user. total 0: not known yet."""

    done: int
    total: int
    message: str


class Monitor:
    """Reports one pull. Not thread-safe: only the pulling thread calls it; any thread may set `cancelled`.

    before: bytes of the files of the model that are complete; total: of all of them. The pull keeps both up to date.
    """

    def __init__(self, name: str, total: int, progress: Callable[[PullProgress], None], cancelled: threading.Event) -> None:
        self.before = 0
        self.total = total
        self.cancelled = cancelled
        self._name = name
        self._progress = progress
        self._last: PullProgress | None = None

    def report(self, done: int, message: str) -> None:
        """Tell the caller, unless nothing changed since then; `done` counts the present file. Raises DownloadError after a cancellation."""
        self.check()
        now = PullProgress(self.before + done, max(self.total, self.before + done), message)
        if now != self._last:
            self._last = now
            self._progress(now)

    def check(self) -> None:
        """Raise DownloadError when the pull was cancelled."""
        if self.cancelled.is_set():
            raise DownloadError(f"The download of {self._name} was cancelled.", f"To go on with it: qwencoder-lsp models pull {self._name}")
