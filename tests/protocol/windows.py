"""An editor window in tests: the real language server over stdio, the real gateway behind it, and the scripted engine for a model."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.protocol.dictated import dictated
from tests.protocol.elsewhere import member, served
from tests.protocol.gateways import alive, wait
from tests.protocol.rawclient import COMMAND, RawClient

URI = "file:///srv/project/example.py"
INVOKED, AUTOMATIC = 1, 2
VIA = os.environ.get("QWENCODER_TEST_VIA", "")  # the same tests with the model elsewhere: behind a "team" gateway or a "remote" one, "llama-server"


class Window(RawClient):
    """A client that speaks for an editor with `capabilities`."""

    home: Path

    def initialize(self, capabilities: dict[str, Any] | None = None, **params: Any) -> dict[str, Any]:
        """Initialise the session; returns the server's answer."""
        answer: dict[str, Any] = self.request("initialize", {"processId": None, "rootUri": None, "capabilities": capabilities or {}, **params})
        self.notify("initialized", {})
        return answer

    def open(self, text: str, uri: str = URI, language: str = "python") -> None:
        """Open a document at version 1."""
        self.notify("textDocument/didOpen", {"textDocument": {"uri": uri, "languageId": language, "version": 1, "text": text}})

    def change(self, start: tuple[int, int], end: tuple[int, int], text: str, uri: str = URI, version: int = 2) -> None:
        """Edit a document."""
        edit = {"range": between(start, end), "text": text}
        self.notify("textDocument/didChange", {"textDocument": {"uri": uri, "version": version}, "contentChanges": [edit]})

    def begin_inline(self, line: int, character: int, uri: str = URI, kind: int = AUTOMATIC, **context: Any) -> int:
        """Ask for ghost text; returns the request's id."""
        params = {"textDocument": {"uri": uri}, "position": {"line": line, "character": character}, "context": {"triggerKind": kind, **context}}
        return self.begin("textDocument/inlineCompletion", params)

    def inline(self, line: int, character: int, uri: str = URI, kind: int = AUTOMATIC, **context: Any) -> Any:
        """The answer to a request for ghost text."""
        response = self.answer(self.begin_inline(line, character, uri, kind, **context))
        assert "error" not in response, response
        return response["result"]

    def last_reason(self) -> str:
        """The reason in the newest trace record."""
        return str(self.request("qwencoder/trace", {"limit": 1})[0]["reason"])

    def ready(self) -> dict[str, Any]:
        """Wait until the gateway is connected; returns its status."""
        wait(lambda: self.request("qwencoder/status")["gateway"], 60)
        gateway: dict[str, Any] = self.request("qwencoder/status")["gateway"]
        if VIA == "team":
            gateway["active"] -= 1  # that it is served is a request of its own
        return gateway


@contextmanager
def window(
    home: Path,
    script: dict[str, Any] | None = None,
    *,
    command: tuple[str, ...] = COMMAND,
    env: dict[str, str] | None = None,
    stderr: Path | None = None,
) -> Iterator[Window]:
    """A window with an empty home directory. The gateway that it starts ends with it."""
    with contextlib.ExitStack() as stack:
        own = environment(home, script, env)
        if VIA and script is not None:
            team = home / "team"
            team.mkdir()
            model = environment(team, script, env)
            url = stack.enter_context(dictated(model) if VIA == "llama-server" else served(model))
            stack.callback(end_gateway, team)
            own = {**member(home, url, VIA), **(env or {})}
        client = Window(own, command, stderr)
        client.home = home
        stack.callback(end_gateway, home)
        stack.callback(client.close)
        yield client


def environment(home: Path, script: dict[str, Any] | None = None, more: dict[str, str] | None = None) -> dict[str, str]:
    """The environment of a server that lives in `home`; with a script the scripted engine answers."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("QWENCODER_")}
    env["QWENCODER_HOME"] = str(home)
    if script is not None:
        path = home / "script.json"
        path.write_text(json.dumps(script), "utf-8")
        env |= {"QWENCODER_MODEL": "scripted", "QWENCODER_SCRIPT": str(path), "QWENCODER_COMPLETION_DEBOUNCE_MS": "0"}
    return env | (more or {})


def gateway_pid(home: Path) -> int | None:
    """The process id of the gateway that lives in `home`."""
    for file in (home / "run").glob("gateway-*.json"):
        return int(json.loads(file.read_text("utf-8"))["pid"])
    return None


def end_gateway(home: Path) -> None:
    """End the gateway of `home`, if there is one."""
    if pid := gateway_pid(home):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        assert wait(lambda: not alive(pid), 20), f"gateway {pid} does not end"


def between(start: tuple[int, int], end: tuple[int, int]) -> dict[str, Any]:
    """An LSP range."""
    return {"start": {"line": start[0], "character": start[1]}, "end": {"line": end[0], "character": end[1]}}


def log_text(home: Path) -> str:
    """What the language server wrote to its log."""
    return (home / "log" / "language-server.log").read_text("utf-8")
