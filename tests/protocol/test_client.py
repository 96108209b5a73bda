"""The Python client over a real gateway with the scripted engine: local and by URL, with and without an event loop."""

from __future__ import annotations

import asyncio
import json
import math
from typing import Any

import pytest

from qwencoder_lsp.client import AsyncQwenCoder, Message, QwenCoder
from qwencoder_lsp.errors import AnswerError, GatewayError, ModelMissing, QwencoderError, RequestError
from qwencoder_lsp.gateway import rendezvous
from qwencoder_lsp.gateway.protocol import ListenRequest
from tests.protocol.fronts import front
from tests.protocol.gateways import end

KEY = "k" * 24
CODE = "def f(x):\n    return x\n"
DOCUMENTED = 'def f(x):\n    """Give it back."""\n    return x\n'
TESTS = "from sums import f\n\n\ndef test_f():\n    assert f(1) == 1\n"
RULES = [
    {"contains": "<|fim_suffix|>)<|fim_middle|>f(<|cursor|>", "text": "x, y"},
    {"contains": "from the module `sums`", "text": f"```python\n{TESTS}```"},
    {"contains": "docstring", "text": '```python\ndef f(x):\n    """Give it back."""\n    return x\n```'},
    {"contains": "shorter", "text": "no code"},
    {"contains": "rename", "text": "```python\ndef g(x):\n    return x\n```"},
    {"constraint": "findings", "text": json.dumps({"findings": []})},
    {"contains": "hello", "text": "hi there"},
]


def test_without_an_argument_the_local_gateway_is_found_or_started(script: Any) -> None:
    script(rules=RULES, default="```python\n1\n```")
    try:
        with QwenCoder() as coder:
            answer = coder.complete("f(", ")")
            assert (answer.text, answer.model, answer.usage.generated) == ("x, y", "scripted", 4)
            assert coder.chat("hello").text == coder.chat([Message("system", "s"), Message("user", "hello")]).text == "hi there"
            assert "".join(coder.stream("hello")) == "hi there"
            assert coder.generate_tests(CODE, module="sums").code == TESTS
            assert coder.document(CODE).code == DOCUMENTED
            assert coder.refactor(CODE, "rename it").code == "def g(x):\n    return x\n"
            with pytest.raises(AnswerError, match="no code block"):
                coder.refactor(CODE, "shorter")
            assert coder.review("f()\n").model == "scripted"
            assert [math.isclose(math.hypot(*v), 1, rel_tol=1e-6) for v in coder.embed(["a", "b"])] == [True, True]
            assert coder.models() == ["scripted"]
            with pytest.raises(QwencoderError):
                coder.chat("hello", model="gpt-4")
    finally:
        if address := rendezvous.read_address():
            end(address.pid)


async def test_a_service_elsewhere_is_asked_by_url_with_a_key(script: Any) -> None:
    script(rules=RULES, default="```python\n1\n```")
    async with front(ListenRequest("127.0.0.1", 0, (KEY,))) as f:
        url = str(f.client.base_url)
        async with AsyncQwenCoder(url, KEY) as coder:
            several = await asyncio.gather(coder.complete("f(", ")"), coder.chat("hello"), coder.embed(["a"]), coder.document(CODE))
            assert (several[0].text, several[1].text, several[3].code) == ("x, y", "hi there", DOCUMENTED)
            assert [piece async for piece in coder.stream("hello")]
            with pytest.raises(ModelMissing):
                await coder.complete("x", model="gpt-4")
            with pytest.raises(RequestError, match="schema"):
                await coder.chat("hello", json_schema='{"not": {}}')
        async with AsyncQwenCoder(url, "wrong") as stranger:
            with pytest.raises(GatewayError, match="API key"):
                await stranger.chat("hello")


async def test_closing_a_stream_stops_the_work(script: Any) -> None:
    script(default="x" * 1000, token_ms=50)
    async with front() as f, AsyncQwenCoder(str(f.client.base_url)) as coder:
        stream: Any = coder.stream("go on")
        await anext(stream)
        await stream.aclose()
        await f.busy(0)


async def test_nobody_there_is_an_error_of_the_gateway() -> None:
    with pytest.raises(RequestError, match="not the URL"):
        AsyncQwenCoder("localhost:1")
    async with AsyncQwenCoder("http://127.0.0.1:1") as coder:
        with pytest.raises(GatewayError):
            await coder.chat("hello")
