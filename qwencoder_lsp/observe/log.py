"""Log files: one per kind of process in the log directory, shared by all processes of that kind, rotated by size.

In: standard `logging` records. Out: plain lines "time level pid logger: message". Above DEBUG nothing of the user's text is written:
records of other packages are written without their arguments, and exceptions without their message unless it is one of ours.
"""

from __future__ import annotations

import logging
import os
import time
import traceback
from contextlib import suppress
from logging.handlers import WatchedFileHandler
from pathlib import Path
from types import TracebackType
from typing import TypeAlias

from qwencoder_lsp import paths
from qwencoder_lsp.errors import QwencoderError

MAX_BYTES = 2 << 20
OURS = "qwencoder_lsp"

_ExcInfo: TypeAlias = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


def setup(name: str, level: str = "INFO") -> Path:
    """Send this process's log to `name`.log in the log directory, and return that path.

    Where the directory cannot be written the log goes to standard error: a full or read-only disk must not stop the work.
    """
    path = paths.log_dir() / f"{name}.log"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handler: logging.Handler = _SharedFile(path)
    except OSError as error:
        to_stderr(level)
        logging.getLogger(__name__).warning("%s cannot be written (%s); the log goes to standard error", path, error.strerror)
        return path
    _send_to(handler, level)
    return path


def to_stderr(level: str = "INFO") -> None:
    """The same lines on standard error: of a process whose native code writes there too, and which was given a log file for it."""
    _send_to(logging.StreamHandler(), level)


def rotate(path: Path) -> None:
    """Move a log that has grown too long to "NAME.1", before a process is given it as its standard error."""
    with suppress(OSError):  # it is not there, or on Windows another process has it open
        if path.stat().st_size > MAX_BYTES:
            path.replace(f"{path}.1")


def _send_to(handler: logging.Handler, level: str) -> None:
    handler.setFormatter(_Lines())
    logging.basicConfig(handlers=[handler], force=True)
    logging.getLogger("pygls").setLevel(logging.WARNING)  # at INFO it logs whole messages
    set_level(level)


def set_level(level: str) -> None:
    """Log our own records from this level up ("DEBUG", "INFO", "WARNING" or "ERROR"); those of other packages from WARNING up."""
    logging.getLogger().setLevel(logging.WARNING)
    logging.getLogger(OURS).setLevel(level)


class _SharedFile(WatchedFileHandler):
    """Appends to a file that other processes append to as well, and moves it to "NAME.1" when it has grown too long."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, encoding="utf-8", errors="backslashreplace")
        self._path = path

    def emit(self, record: logging.LogRecord) -> None:
        self.reopenIfNeeded()  # another process may have moved it
        if self.stream and os.fstat(self.stream.fileno()).st_size > MAX_BYTES:
            with suppress(OSError):  # Windows: another process has it open; the next record tries again
                self._path.replace(f"{self._path}.1")
        super().emit(record)


class _Lines(logging.Formatter):
    """One record as a line, and its traceback below it."""

    converter = staticmethod(time.gmtime)

    def __init__(self) -> None:
        super().__init__("%(asctime)s.%(msecs)03dZ %(levelname)s %(process)d %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        if _verbose():
            return super().format(record)
        safe = logging.makeLogRecord(record.__dict__)
        safe.exc_text = None
        if not record.name.startswith(OURS) and record.args:
            safe.msg, safe.args = str(record.msg), None
        return super().format(safe)

    def formatException(self, ei: _ExcInfo) -> str:
        if _verbose():
            return super().formatException(ei)
        error, parts = ei[1], list[str]()
        while error:
            message = f": {error}" if isinstance(error, QwencoderError | OSError) else ""
            parts.append("".join(traceback.format_tb(error.__traceback__)) + type(error).__name__ + message)
            error = error.__cause__
        return "\ncaused by:\n".join(parts)


def _verbose() -> bool:
    return logging.getLogger(OURS).isEnabledFor(logging.DEBUG)
