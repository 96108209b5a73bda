"""Editors in a terminal: started in a tmux of their own, driven by keystrokes, looked at as a user would."""

from __future__ import annotations

import contextlib
import shlex
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

import psutil

from tests.clients.installing import Unavailable, require, user_environment

LAUNCHER = """\
#!/bin/sh
here=$(cd "$(dirname "$0")" && pwd)
{exports}
for lib in "$here"/usr/lib/*-linux-gnu*; do
    for loader in "$lib"/ld-linux*.so.*; do
        exec "$loader" --library-path "$lib" {program} "$@"
    done
done
"""


def launcher(target: Path, name: str, program: str, exports: str = "") -> None:
    """Write `target/name`, which runs a program of an unpacked Debian with that Debian's own libraries."""
    file = target / name
    file.write_text(LAUNCHER.format(program=program, exports=exports))
    file.chmod(0o755)


class Terminal:
    """One program in a terminal of 120 by 40. Use it as a context manager."""

    def __init__(self, command: Sequence[str | Path], home: Path, env: dict[str, str]) -> None:
        require("tmux")
        folders = {f"XDG_{kind}_HOME": str(home / kind.lower()) for kind in ("CONFIG", "DATA", "STATE", "CACHE")}
        variables = {**user_environment(), **folders, **env, "HOME": str(home), "TERM": "screen-256color", "LANG": "C.UTF-8"}
        words = ["env", "-i", *(f"{name}={value}" for name, value in variables.items()), *map(str, command)]
        self._socket = f"qwencoder-{uuid.uuid4().hex[:8]}"
        self._tmux("-f", "/dev/null", "new-session", "-d", "-s", "t", "-x", "120", "-y", "40", "-c", str(home), shlex.join(words))
        self._server = int(self._tmux("display-message", "-p", "#{pid}"))

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        children = psutil.Process(self._server).children(recursive=True)
        self._tmux("kill-server")
        _, alive = psutil.wait_procs(children, timeout=5)
        for process in alive:  # an Emacs in a loop of errors does not end when its terminal goes
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    def keys(self, *names: str) -> None:
        """Press keys by tmux's names ("C-x", "M-Right", "Enter", "u")."""
        for name in names:
            self._tmux("send-keys", "-t", "t", name)
            if name == "Escape":
                time.sleep(0.15)  # at once followed by a key it would be Alt with that key

    def type(self, text: str) -> None:
        """Type text as it is."""
        self._tmux("send-keys", "-t", "t", "-l", text)

    def screen(self) -> str:
        """What is on the screen."""
        return self._tmux("capture-pane", "-p", "-t", "t")

    def servers(self) -> list[psutil.Process]:
        """The language servers of the editor."""
        return [child for child in psutil.Process(self._server).children(recursive=True) if "--stdio" in _words(child)]

    def wait(self, condition: Callable[[], object] | str, seconds: float = 30) -> None:
        """Wait until the condition holds, or the text is on the screen. Raises AssertionError with the screen when it does not."""
        deadline = time.monotonic() + seconds
        while not (condition in self.screen() if isinstance(condition, str) else condition()):
            if time.monotonic() > deadline:
                raise AssertionError(f"waited {seconds} s for {condition!r}; on the screen:\n{self.screen()}")
            time.sleep(0.05)

    def _tmux(self, *arguments: str) -> str:
        done = subprocess.run(["tmux", "-L", self._socket, *arguments], capture_output=True, text=True, check=False, timeout=20)
        if done.returncode:
            raise Unavailable(f"tmux {arguments[0]}: {done.stderr.strip()}")
        return done.stdout


def written(file: Path) -> str:
    """What the file holds; nothing while an editor that saves by renaming has moved it away."""
    with contextlib.suppress(FileNotFoundError):
        return file.read_text()
    return ""


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:  # it has ended, or nobody has asked how it did
        return []


def have(name: str, variable: str | None) -> Path | None:
    """A program that the tester names, or that is on PATH."""
    found = variable or shutil.which(name)
    return Path(found) if found else None
