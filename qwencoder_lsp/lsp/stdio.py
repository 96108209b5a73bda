"""The process's standard streams, and its end.

Standard output belongs to the protocol. `claim` moves it, and standard input, to other descriptors before anything else is imported, so that
a stray `print`, a native library or a child process can neither write into the protocol nor read from it. The process ends through `end`
alone: `sys.exit` would wait for pool threads, and one of them might be busy for minutes.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import BinaryIO, NoReturn

POLL_S = 5.0

_last: list[Callable[[], None]] = []


def claim() -> tuple[BinaryIO, BinaryIO]:
    """The editor's end of standard input and output; descriptor 0 then reads nothing and descriptor 1 writes to standard error."""
    source, sink = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    try:
        os.dup2(2, 1)
    except OSError:  # started without a standard error
        os.dup2(null, 1)
        os.dup2(null, 2)
    os.close(null)
    if sys.platform == "win32":
        import msvcrt

        for fd in (source, sink):
            msvcrt.setmode(fd, os.O_BINARY)
    return os.fdopen(source, "rb"), os.fdopen(sink, "wb")


def at_end(action: Callable[[], None]) -> None:
    """Have `end` call that; it must be quick."""
    _last.append(action)


def end(code: int) -> NoReturn:
    """End the process at once with that exit code, log lines written. The gateway notices by our closed connection."""
    import logging

    for action in _last:
        with suppress(Exception):  # the process ends whatever happens
            action()
    logging.shutdown()
    os._exit(code)


def end_on_signals() -> None:
    """Make SIGTERM and SIGINT end the process at once, with the shell's exit codes 143 and 130."""

    def stop(number: int, _: FrameType | None) -> None:
        end(128 + number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)


def end_with(pid: int | None) -> None:
    """End this process with code 1 when the process `pid`, the editor, is gone; LSP asks servers to watch it (`InitializeParams.processId`).

    An editor that cannot be seen from the start runs elsewhere (another container); then only the end of standard input counts.
    """
    if pid is None or not is_alive(pid):
        return

    def watch() -> None:
        while is_alive(pid):
            time.sleep(POLL_S)
        end(1)

    threading.Thread(target=watch, name="editor-watch", daemon=True).start()


def is_alive(pid: int) -> bool:
    """Whether a process of that number exists."""
    if sys.platform == "win32":
        from qwencoder_lsp.lsp.windows import is_alive as on_windows

        return on_windows(pid)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it exists and belongs to someone else
        return True
    except OverflowError:  # no process has that number
        return False
    return pid > 0
