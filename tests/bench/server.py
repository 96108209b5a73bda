"""A language server with the scripted engine, as the benchmarks use it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from qwencoder_lsp.gateway import rendezvous
from tests.protocol.gateways import end
from tests.protocol.rawclient import RawClient

URI = "file:///bench/file.py"
ANSWER = "return a + b"


@contextmanager
def scripted_home(home: Path) -> Iterator[dict[str, str]]:
    """The environment of a server whose engine answers at once; the gateway that it started is ended afterwards."""
    script = home / "script.json"
    script.write_text(json.dumps({"default": ANSWER}), "utf-8")
    env = {k: v for k, v in os.environ.items() if not k.startswith("QWENCODER_")}
    env |= {"QWENCODER_HOME": str(home), "QWENCODER_MODEL": "scripted", "QWENCODER_SCRIPT": str(script), "QWENCODER_GATEWAY_LINGER_S": "60"}
    os.environ["QWENCODER_HOME"] = str(home)
    try:
        yield env
    finally:
        if address := rendezvous.read_address():
            end(address.pid)
        del os.environ["QWENCODER_HOME"]


def started(client: RawClient) -> None:
    """Introduce ourselves."""
    client.request("initialize", {"processId": os.getpid(), "rootUri": None, "capabilities": {"general": {"positionEncodings": ["utf-16"]}}})
    client.notify("initialized", {})


def open_document(client: RawClient, text: str) -> None:
    """Open URI."""
    client.notify("textDocument/didOpen", {"textDocument": {"uri": URI, "languageId": "python", "version": 1, "text": text}})


def begin_inline(client: RawClient, line: int, character: int, trigger: int = 1) -> int:
    """Ask for ghost text; trigger 1 is explicit, 2 automatic. The id of the request."""
    params = {"textDocument": {"uri": URI}, "position": {"line": line, "character": character}, "context": {"triggerKind": trigger}}
    return client.begin("textDocument/inlineCompletion", params)


def inline(client: RawClient, line: int, character: int, trigger: int = 1) -> Any:
    """The answer to such a request."""
    return client.answer(begin_inline(client, line, character, trigger))["result"]
