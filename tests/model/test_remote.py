"""A real llama-server in the place of an engine: the language server's ghost text, a schema and a cancelled stream go through our gateway."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

from qwencoder_lsp.core.prompt import Stops
from qwencoder_lsp.gateway.protocol import End, Piece
from tests.protocol.dictated import llama_server
from tests.protocol.gateways import ask, collect, fill, gateway, until
from tests.protocol.windows import INVOKED, window

pytestmark = [pytest.mark.model, pytest.mark.skipif(shutil.which("llama-server") is None, reason="llama-server is not on the PATH")]


@pytest.fixture(scope="module")
def url(model_05b: Path) -> Iterator[str]:
    """A llama-server with the small model."""
    with llama_server(model_05b) as port:
        yield f"http://127.0.0.1:{port}"


async def test_holes_chats_and_schemas(url: str, home: Path) -> None:
    async with gateway(remote={"url": url}) as client:
        text, end = await collect(client.complete(fill("def add(a, b):\n    return a ", "\n", model="auto", max_tokens=16, stops=Stops(max_lines=1))))
        assert isinstance(end, End)
        assert "+ b" in text
        assert "\n" not in text
        assert end.usage.prompt > 5
        said, _ = await collect(client.chat(ask("Say yes.", model="auto", max_tokens=8)))
        assert said
        schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}
        found, _ = await collect(client.chat(ask("Give a number.", model="auto", max_tokens=40, json_schema=json.dumps(schema))))
        assert isinstance(json.loads(found)["n"], int)
        async with aclosing(client.chat(ask("Count to a thousand.", model="auto", max_tokens=900))) as events:
            async for event in events:
                if isinstance(event, Piece):
                    break
        await until(client, lambda s: s.active == 0)


def test_ghost_text_with_confidence_comes_to_the_editor(url: str, tmp_path: Path) -> None:
    with window(tmp_path, env={"QWENCODER_REMOTE_URL": url, "QWENCODER_COMPLETION_DEBOUNCE_MS": "0"}) as w:
        w.initialize()
        w.open("def add(a, b):\n    return a \n\n\nprint(add(1, 2))\n")
        items = w.inline(1, 13, kind=INVOKED)["items"]
        assert "+ b" in " ".join(items[0]["insertText"].split()), "whatever spaces a model without healing writes"
        record = w.request("qwencoder/trace", {"limit": 1})[0]
        assert record["model"] == "remote"
        for line in range(5, 25):  # a line typed, key by key
            w.change((line, 0), (line, 0), f"value_{line} = add({line}, 1)\n", version=line)
            assert w.inline(line + 1, 0) is None or w.last_reason()
