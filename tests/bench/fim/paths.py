"""The three ways from a hole to a middle: llama-server's /infill, the bare PSM prompt to the model's own stop, and our language server."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from qwencoder_lsp.engine.binding import load_tokenizer
from qwencoder_lsp.gateway import rendezvous
from qwencoder_lsp.settings import load
from tests.bench.engine.client import Call
from tests.bench.engine.peers import Peer
from tests.bench.fim.items import Item
from tests.protocol.gateways import end
from tests.protocol.rawclient import RawClient

TOKENS = 256


@dataclass(frozen=True, slots=True)
class Middle:
    """What a path put into the hole; overwrite: characters behind the hole that it replaces; note: why it is empty, where that is known.

    signals: the numbers of the answer, as in core.results, also of one that is not shown; empty where nobody says."""

    text: str
    overwrite: int = 0
    note: str = ""
    signals: dict[str, Any] = field(default_factory=dict)


class Server:
    """llama-server, for two of the paths."""

    def __init__(self, peer: Peer, model: Path) -> None:
        self._peer, self._vocabulary = peer, load_tokenizer(model)

    @classmethod
    @asynccontextmanager
    async def running(cls, binary: Path, model: Path, log: Path) -> AsyncIterator[Server]:
        """Started for as long as the context is open."""
        peer = await Peer.start(binary, model, ("-c", "8192"), log)
        try:
            yield cls(peer, model)
        finally:
            await peer.stop()

    async def infill(self, item: Item) -> Middle:
        """With llama.vim's sampling, greedy at the end, and without its time limit."""
        body = {"input_prefix": item.prefix, "input_suffix": item.suffix, "prompt": "", "n_predict": TOKENS}
        body |= {"samplers": ["top_k", "top_p", "infill"], "top_k": 40, "top_p": 0.9, "temperature": 0.0, "seed": 1, "cache_prompt": True}
        return await self._text(Call("/infill", body))

    async def raw(self, prefix: str, suffix: str, limit: int = TOKENS, stop: Sequence[str] = ()) -> Middle:
        """Qwen's own layout, greedy, until the model ends, after `limit` tokens, or in front of a text of `stop`."""
        v = self._vocabulary
        s = v.special
        tokens = [s.fim_prefix, *v.tokenize(prefix), s.fim_suffix, *v.tokenize(suffix), s.fim_middle]
        body = {"prompt": tokens, "n_predict": limit, "stop": list(stop), "temperature": 0.0, "seed": 1, "cache_prompt": True}
        return await self._text(Call("/completion", body))

    async def _text(self, call: Call) -> Middle:
        reply = await self._peer.call(call)
        if not reply.ok:
            raise ConnectionError(f"{call.path}: {reply.status} {reply.error}")
        return Middle(reply.body["content"])


class Editor:
    """Our language server over stdio, automatic trigger, shipped settings but for the model."""

    def __init__(self, client: RawClient) -> None:
        self._client = client
        self._number = 0

    @classmethod
    @asynccontextmanager
    async def running(cls, model: Path, env: dict[str, str], gateway: str | None = None) -> AsyncIterator[Editor]:
        """With a gateway of its own for as long as the context is open. env: settings that an experiment changes; gateway: a module that runs in
        the place of the shipped gateway."""
        with tempfile.TemporaryDirectory(prefix="qc-", ignore_cleanup_errors=True) as home:
            settings = {"QWENCODER_HOME": home, "QWENCODER_MODEL": str(model), "QWENCODER_GATEWAY_LINGER_S": "60", **env}
            clean = {k: v for k, v in os.environ.items() if not k.startswith("QWENCODER_")}
            client = RawClient(clean | settings, stderr=Path(home) / "stderr")
            before = os.environ.get("QWENCODER_HOME")
            os.environ["QWENCODER_HOME"] = home
            try:
                if gateway:
                    await _start_gateway(gateway, clean | settings)
                client.request(
                    "initialize", {"processId": os.getpid(), "rootUri": None, "capabilities": {"general": {"positionEncodings": ["utf-32"]}}}
                )
                client.notify("initialized", {})
                yield cls(client)
            finally:
                if address := rendezvous.read_address():
                    end(address.pid)
                client.close()
                os.environ.pop("QWENCODER_HOME") if before is None else os.environ.update(QWENCODER_HOME=before)

    def fill(self, prefix: str, suffix: str, language: str = "python", trigger: int = 2, path: str = "solution.py") -> Middle:
        """What is shown at the hole of a document that nobody has seen before."""
        self._number += 1
        uri = f"file:///srv/item{self._number}/{quote(path)}"
        text = prefix + suffix
        self._client.notify("textDocument/didOpen", {"textDocument": {"uri": uri, "languageId": language, "version": 1, "text": text}})
        line, character = prefix.count("\n"), len(prefix) - prefix.rfind("\n") - 1
        params = {"textDocument": {"uri": uri}, "position": {"line": line, "character": character}, "context": {"triggerKind": trigger}}
        result = self._client.request("textDocument/inlineCompletion", params)
        self._client.notify("textDocument/didClose", {"textDocument": {"uri": uri}})
        last = self._last_trace()
        if not result or not result["items"]:
            return Middle("", 0, f"{last['reason']} {last['detail']}".strip(), last["signals"])
        return replace(_middle(result, prefix, line, character), signals=last["signals"])

    def _last_trace(self) -> dict[str, Any]:
        records: list[dict[str, Any]] = self._client.request("qwencoder/trace", {"limit": 1})
        return records[0] if records else {"reason": "", "detail": "", "signals": {}}


async def _start_gateway(module: str, env: dict[str, str]) -> None:
    """Started as the language server does it; it finds this one then."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, stdin=PIPE, stdout=DEVNULL, stderr=DEVNULL, env=env, start_new_session=True
    )
    assert process.stdin is not None
    process.stdin.write(load(env=env)[0].model_dump_json().encode())
    process.stdin.close()
    while rendezvous.read_address() is None:
        if process.returncode is not None:
            raise ChildProcessError(f"{module} ended with status {process.returncode}")
        await asyncio.sleep(0.05)


def _middle(result: dict[str, Any], prefix: str, line: int, character: int) -> Middle:
    item = result["items"][0]
    start, stop = item["range"]["start"], item["range"]["end"]
    if start["line"] != line or stop["line"] != line:
        raise ValueError("the item replaces other lines")
    typed = prefix[len(prefix) - (character - start["character"]) :] if character > start["character"] else ""
    text = item["insertText"]
    if not text.startswith(typed):
        raise ValueError("the item changes what is typed")
    return Middle(text[len(typed) :], stop["character"] - character)
