"""A real Neovim 0.12, found or installed beside the system, and driven by keystrokes.

`find()` takes `QWENCODER_TEST_NVIM`, else `nvim` from PATH when new enough, else unpacks Debian's packages into the test cache.
`Editor` starts it headless with a given init.lua; it reads what a user would see (buffer, ghost text, diagnostics) and sends keys.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import pynvim

from tests.clients.installing import Unavailable, cached, require, run, user_environment

NEEDED = (0, 12)
SUITE = "forky"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")

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
local namespace = vim.api.nvim_get_namespaces()['nvim.lsp.inline_completion']
local marks = namespace and vim.api.nvim_buf_get_extmarks(0, namespace, 0, -1, { details = true }) or {}
if #marks == 0 then return vim.NIL end
local lines = { marks[1][4].virt_text[1][1] }
for _, line in ipairs(marks[1][4].virt_lines or {}) do table.insert(lines, line[1][1]) end
return table.concat(lines, '\\n')
"""


def find() -> Path:
    """The nvim program to test with. Raises Unavailable when there is none new enough and none can be installed."""
    named = os.environ.get("QWENCODER_TEST_NVIM") or shutil.which("nvim")
    if named and version(Path(named)) >= NEEDED:
        return Path(named)
    if os.environ.get("QWENCODER_TEST_NVIM"):
        raise Unavailable(f"QWENCODER_TEST_NVIM={named} is older than Neovim 0.12.")
    return cached(f"neovim-{SUITE}", install) / "nvim"


def version(nvim: Path) -> tuple[int, ...]:
    """(major, minor) of a Neovim program. Raises Unavailable when it does not run."""
    first = run([nvim, "--version"], timeout=30)
    match = re.match(r"NVIM v(\d+)\.(\d+)", first)
    if match is None:
        raise Unavailable(f"{nvim} does not say which Neovim it is.")
    return int(match[1]), int(match[2])


def install(target: Path) -> None:
    """Unpack Neovim and all its libraries from Debian's `SUITE` into `target`; nothing is installed system-wide. The launcher is `target/nvim`."""
    require("apt-get", "dpkg-deb")
    if not KEYRING.exists():
        raise Unavailable(f"No Neovim 0.12 on PATH, and {KEYRING} is missing, so Debian's package cannot be checked.")
    mirrors = [url for url in run(["apt-get", "indextargets", "--format", "$(REPO_URI)"]).split() if url.rstrip("/").endswith("/debian")]
    if not mirrors:
        raise Unavailable("No Neovim 0.12 on PATH, and this system knows no Debian mirror.")
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        for part in ("lists/partial", "cache/archives/partial", "debs"):
            (work / part).mkdir(parents=True)
        (work / "sources.list").write_text(f"deb [signed-by={KEYRING}] {mirrors[0]} {SUITE} main\n")
        # An empty status file makes apt resolve the full closure, down to the C library.
        options = {
            "Dir::Etc::sourcelist": work / "sources.list",
            "Dir::Etc::sourceparts": "-",
            "Dir::State::lists": work / "lists",
            "Dir::State::status": os.devnull,
            "Dir::Cache": work / "cache",
            "APT::Sandbox::User": "",
        }
        apt = ["apt-get", "-qq", *(word for name, value in options.items() for word in ("-o", f"{name}={value}"))]
        run([*apt, "update"])
        plan = run([*apt, "install", "--simulate", "--no-install-recommends", "neovim"])
        packages = [line.split()[1] for line in plan.splitlines() if line.startswith("Inst ")]
        run([*apt, "download", *packages], cwd=work / "debs")
        for package in sorted((work / "debs").glob("*.deb")):
            run(["dpkg-deb", "-x", package, target])
    launcher = target / "nvim"
    launcher.write_text(LAUNCHER)
    launcher.chmod(0o755)
    if version(launcher) < NEEDED:
        raise Unavailable(f"Debian {SUITE} has an older Neovim.")


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

    def wait_ghost(self, expected: str | None = None, seconds: float = 30) -> str:
        """Wait for ghost text (equal to `expected`, when given) and return it."""
        self.wait(lambda: self.ghost() is not None and expected in (None, self.ghost()), f"ghost text {expected!r}", seconds)
        return self.ghost() or ""

    def wait(self, condition: Callable[[], object], what: str, seconds: float = 30) -> None:
        """Wait until the condition holds. Raises AssertionError with the buffer and the end of Neovim's LSP log when it does not."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                log = self._log.read_text("utf-8", "replace")[-3000:] if self._log.exists() else ""
                raise AssertionError(f"waited {seconds} s for {what}\nghost: {self.ghost()!r}\nbuffer: {self.text()!r}\nLSP log: {log}")
            time.sleep(0.01)


def git_repository(path: Path) -> Path:
    """A new git repository at `path`: the workspace root that Neovim finds by its marker."""
    subprocess.run(["git", "init", "-q", path], check=True)
    return path
