"""The language server over stdio, as an editor drives it: each key is a change and a request; an answer that comes too late is thrown away."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from pathlib import Path
from typing import Any

from qwencoder_lsp.gateway.client import GatewayClient
from tests.bench.typing.sessions import Key, Session


class Editor:
    """One language server. show(turn, text, free): puts a suggestion on screen."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.show: Callable[[int, str, bool], None] = lambda *_: None
        self._ids = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._reading = asyncio.create_task(self._read())
        self._uri = ""
        self._version = 0
        self._pending: dict[asyncio.Task[None], int] = {}

    @classmethod
    async def start(cls, home: Path, model: Path, stderr: Path, root: Path | None = None) -> Editor:
        """With the shipped settings but for the model. root: the workspace folder, whose changes this client reports."""
        env = {k: v for k, v in os.environ.items() if not k.startswith("QWENCODER_")}
        env |= {"QWENCODER_HOME": str(home), "QWENCODER_MODEL": str(model), "QWENCODER_GATEWAY_LINGER_S": "60"}
        with stderr.open("wb") as sink:
            process = await asyncio.create_subprocess_exec(sys.executable, "-m", "qwencoder_lsp.lsp", stdin=PIPE, stdout=PIPE, stderr=sink, env=env)
        editor = cls(process)
        capabilities: dict[str, Any] = {"general": {"positionEncodings": ["utf-32"]}}
        if root:
            capabilities["workspace"] = {"didChangeWatchedFiles": {"dynamicRegistration": True}}
        uri = root.as_uri() if root else None
        await editor.request("initialize", {"processId": os.getpid(), "rootUri": uri, "capabilities": capabilities})
        editor.notify("initialized", {})
        return editor

    def open(self, session: Session, number: int, folder: Path | None = None) -> None:
        """Show the document of a session."""
        name = session.name.partition(":")[0].replace(" ", "_")
        self._uri, self._version = (folder / name).as_uri() if folder else f"file:///srv/{number}/{name}", 1
        document = {"uri": self._uri, "languageId": session.language, "version": 1, "text": session.text}
        self.notify("textDocument/didOpen", {"textDocument": document})

    def close(self) -> None:
        """Close it."""
        self.notify("textDocument/didClose", {"textDocument": {"uri": self._uri}})

    def key(self, turn: int, before: str, key: Key, after: str) -> None:
        """Press a key. Older requests are cancelled, as VS Code does."""
        for task in self._pending:
            task.cancel()
        self.change(before, key)
        task = asyncio.create_task(self._ask(turn, after, key.cursor))
        self._pending[task] = turn
        task.add_done_callback(lambda t: self._pending.pop(t, None))

    def change(self, before: str, key: Key) -> None:
        """Tell of an edit."""
        self._version += 1
        edit = {"range": {"start": _position(before, key.offset), "end": _position(before, key.offset + key.deleted)}, "text": key.inserted}
        self.notify("textDocument/didChange", {"textDocument": {"uri": self._uri, "version": self._version}, "contentChanges": [edit]})

    async def complete(self, text: str, cursor: int) -> str:
        """The suggestion for a cursor in the open document; empty for none."""
        params = {"textDocument": {"uri": self._uri}, "position": _position(text, cursor), "context": {"triggerKind": 2}}
        result = await self.request("textDocument/inlineCompletion", params)
        if not result or not result["items"]:
            return ""
        item = result["items"][0]
        typed = text[cursor - (params["position"]["character"] - item["range"]["start"]["character"]) : cursor]  # type: ignore[index]
        return str(item["insertText"]).removeprefix(typed)

    async def _ask(self, turn: int, text: str, cursor: int) -> None:
        if suggestion := await self.complete(text, cursor):
            self.show(turn, suggestion, False)

    async def request(self, method: str, params: Any) -> Any:
        """A request's result; cancelled where the caller is."""
        id_ = next(self._ids)
        future = self._answers[id_] = asyncio.get_running_loop().create_future()
        self._send({"id": id_, "method": method, "params": params})
        try:
            return await future
        except asyncio.CancelledError:
            self.notify("$/cancelRequest", {"id": id_})
            raise
        finally:
            self._answers.pop(id_, None)

    def notify(self, method: str, params: Any) -> None:
        """A notification."""
        self._send({"method": method, "params": params})

    async def stop(self) -> None:
        """End the server."""
        self.process.kill()
        await self.process.wait()
        self._reading.cancel()

    def _send(self, message: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))

    async def _read(self) -> None:
        assert self.process.stdout is not None
        while header := await self.process.stdout.readuntil(b"\r\n\r\n"):
            size = next(int(line.split(b":")[1]) for line in header.split(b"\r\n") if line.lower().startswith(b"content-length"))
            message = json.loads(await self.process.stdout.readexactly(size))
            if "method" in message:
                if "id" in message:
                    self._send({"id": message["id"], "result": None})
            elif (future := self._answers.get(message["id"])) and not future.done():
                future.set_result(message.get("result"))


async def evaluated(client: GatewayClient) -> int:
    """Tokens that the gateway's models have computed."""
    return sum(model.evaluated for model in (await client.status()).models)


def _position(text: str, offset: int) -> dict[str, int]:
    return {"line": text.count("\n", 0, offset), "character": offset - text.rfind("\n", 0, offset) - 1}
