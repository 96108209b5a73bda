"""The indexing process of a window: `python -m qwencoder_lsp.context.indexing [--watch] FOLDER...`.

Standard input: one JSON object per line: {"changed": [absolute paths]}, {"pause": seconds} while someone types, {"stop": true} to give up the scan.
Standard output: one JSON object per line, a Report. The process ends with its input. It runs when nobody else wants the processor. A folder that
another process keeps is tried again now and then, so that it is kept on when that one ends.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from qwencoder_lsp.context.indexer import Indexer
from qwencoder_lsp.errors import IndexUnavailable
from qwencoder_lsp.observe import log as log_file

log = logging.getLogger(__name__)

RETRY_S = 15.0
SETTLE_S = 0.1  # changes come in heaps: wait for the rest of one
UNWATCHED = frozenset({".git", "node_modules", "__pycache__", ".venv", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis"})


@dataclass(frozen=True, slots=True)
class Report:
    """Where a folder stands. state: "scanning", "ready", "elsewhere" (another process keeps it), "stopped" or "failed".

    done and total count files.
    """

    folder: str
    state: str
    done: int = 0
    total: int = 0
    message: str = ""


class _Stopped(Exception):
    """The user gave up the scan."""


class Pace:
    """When the work may go on: not while someone types."""

    def __init__(self) -> None:
        self._until = 0.0
        self._stopped = False

    def pause(self, seconds: float) -> None:
        """Stand aside so long from now."""
        self._until = time.monotonic() + seconds

    def stop(self) -> None:
        """Give up the work under way."""
        self._stopped = True

    def wait(self) -> None:
        """Return when the work may go on. Raises _Stopped."""
        while not self._stopped and (left := self._until - time.monotonic()) > 0:
            time.sleep(min(left, 0.2))
        if self._stopped:
            self._stopped = False
            raise _Stopped


class Keeper:
    """Keeps the indexes of a window's folders."""

    def __init__(self, folders: Iterable[Path], pace: Pace) -> None:
        self._pace = pace
        self._waiting = dict.fromkeys(folders, 0.0)  # when to try again
        self._kept: dict[Path, Indexer] = {}
        self._last: dict[Path, Report] = {}

    def run(self, changes: queue.Queue[list[str]]) -> None:
        """Work for ever."""
        while True:
            for folder, due in list(self._waiting.items()):
                if due <= time.monotonic():
                    self._take(folder)
            try:
                paths = changes.get(timeout=RETRY_S if self._waiting else None)
                time.sleep(SETTLE_S)
                while not changes.empty():
                    paths += changes.get_nowait()
            except queue.Empty:
                continue
            self._update(paths)

    def _take(self, folder: Path) -> None:
        del self._waiting[folder]
        try:
            indexer = Indexer(folder, self._pace.wait)
        except IndexUnavailable as error:
            self._waiting[folder] = time.monotonic() + RETRY_S
            self._say(Report(str(folder), "elsewhere" if "Another process" in error.message else "failed", message=str(error)))
            return
        self._kept[folder] = indexer
        try:
            done = indexer.scan(lambda done, total: self._say(Report(str(folder), "scanning", done, total)))
            log.info("index: %d files, %d parsed, %d lines, %.1f s", done.files, done.parsed, done.lines, done.seconds)
            self._say(Report(str(folder), "ready", done.files, done.files))
            indexer.verify()
        except _Stopped:
            self._say(Report(str(folder), "stopped", message="Stopped; it goes on with the next start."))
        except IndexUnavailable as error:
            self._failed(folder, error)

    def _update(self, paths: list[str]) -> None:
        for folder, indexer in list(self._kept.items()):
            inside = [Path(p).relative_to(folder).as_posix() for p in paths if Path(p).is_relative_to(folder)]
            try:
                if inside:
                    done = indexer.update([name for name in inside if name != "."])
                    log.debug("index: %d changed, %d parsed, %.3f s", len(inside), done.parsed, done.seconds)
            except _Stopped:
                continue
            except IndexUnavailable as error:
                self._failed(folder, error)

    def _failed(self, folder: Path, error: IndexUnavailable) -> None:
        self._kept.pop(folder).close()
        self._waiting[folder] = time.monotonic() + RETRY_S
        self._say(Report(str(folder), "failed", message=str(error)))

    def _say(self, report: Report) -> None:
        if self._last.get(Path(report.folder)) != report:
            self._last[Path(report.folder)] = report
            print(json.dumps(asdict(report)), flush=True)


def stand_back() -> None:
    """Let every other process go first."""
    if sys.platform == "win32":
        import psutil

        psutil.Process().nice(psutil.IDLE_PRIORITY_CLASS)
        return
    os.nice(19)
    if hasattr(os, "SCHED_IDLE"):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def watch(folders: list[Path], changes: queue.Queue[list[str]]) -> None:
    """Report what changes on the disk, for editors that do not."""
    from watchfiles import watch as events

    try:
        for batch in events(*folders, watch_filter=lambda _, path: not UNWATCHED & set(Path(path).parts), raise_interrupt=False):
            changes.put([path for _, path in batch])
    except (OSError, RuntimeError) as error:  # too many directories for the system's limit
        log.warning("changes on the disk cannot be watched (%s): the index follows what is saved in the editor", type(error).__name__)


def _listen(pace: Pace, changes: queue.Queue[list[str]]) -> None:
    for line in sys.stdin:
        message: dict[str, Any] = json.loads(line)
        if "pause" in message:
            pace.pause(float(message["pause"]))
        if message.get("stop"):
            pace.stop()
        if "changed" in message:
            changes.put(list(message["changed"]))
    os._exit(0)  # the window is gone; the index is safe at any moment


def main(arguments: list[str]) -> None:
    """Keep the indexes until the input ends."""
    log_file.setup("index")
    stand_back()
    folders = [Path(a) for a in arguments if a != "--watch"]
    pace: Pace = Pace()
    changes: queue.Queue[list[str]] = queue.Queue()
    threading.Thread(target=_listen, args=(pace, changes), name="stdin", daemon=True).start()
    if "--watch" in arguments:
        threading.Thread(target=watch, args=(folders, changes), name="watch", daemon=True).start()
    try:
        Keeper(folders, pace).run(changes)
    except BrokenPipeError:
        os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
