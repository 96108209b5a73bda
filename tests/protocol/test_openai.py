"""The OpenAI routes over a real socket, with the scripted engine; the `openai` client is the judge."""

from __future__ import annotations

import asyncio
import base64
import json
import math
import struct
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from openai import AsyncOpenAI

from qwencoder_lsp.gateway.client import GatewayClient
from qwencoder_lsp.gateway.protocol import Listening, ListenRequest
from tests.protocol.gateways import gateway, until

HELLO: Any = [{"role": "user", "content": "hello"}]


@dataclass
class Front:
    """A served gateway: OpenAI's client, a plain one, and the private one that sees its state."""

    client: AsyncOpenAI
    http: httpx2.AsyncClient
    private: GatewayClient

    async def busy(self, count: int) -> None:
        """Wait until so many requests run; `serve` itself is one."""
        await until(self.private, lambda s: s.active == count + 1)


@asynccontextmanager
async def front(**sections: dict[str, object]) -> AsyncIterator[Front]:
    async with gateway(**sections) as private, aclosing(private.listen(ListenRequest("127.0.0.1", 0))) as events:
        event = await anext(events)
        assert isinstance(event, Listening)
        base = f"http://{event.address}"
        async with AsyncOpenAI(base_url=f"{base}/v1", api_key="none", max_retries=0) as client, httpx2.AsyncClient(base_url=base) as http:
            yield Front(client, http, private)


async def test_a_completion_comes_with_usage_and_timings(script: Any) -> None:
    script(rules=[{"contains": "def add", "text": "return a + b"}])
    async with front() as f:
        answer = await f.client.completions.create(model="auto", prompt="def add(a, b):\n    ")
    assert answer.object == "text_completion"
    assert answer.model == "scripted"
    assert (answer.choices[0].text, answer.choices[0].finish_reason) == ("return a + b", "stop")
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (len("def add(a, b):\n    "), len("return a + b"))
    assert answer.usage.prompt_tokens_details is not None
    assert answer.usage.prompt_tokens_details.cached_tokens == 0
    timings = answer.model_dump()["timings"]
    assert {"cache_n", "prompt_n", "prompt_ms", "prompt_per_second", "predicted_n", "predicted_ms", "predicted_per_second"} <= set(timings)
    assert {"draft_n", "draft_n_accepted", "queue_ms", "native_ms", "restored_n", "preempted"} <= set(timings)
    assert (timings["prompt_n"], timings["predicted_n"]) == (answer.usage.prompt_tokens, answer.usage.completion_tokens)


async def test_a_completion_streams_its_text_and_ends_with_reason_timings_and_usage(script: Any) -> None:
    script(default="abcdef")
    async with front() as f:
        stream = await f.client.completions.create(model="", prompt="x", max_tokens=4, stream=True, stream_options={"include_usage": True})
        chunks = [chunk async for chunk in stream]
    assert "".join(c.choices[0].text for c in chunks if c.choices) == "abcd"
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-2:] == [None, "length"]
    assert chunks[-2].model_dump()["timings"]["predicted_n"] == 4
    assert not chunks[-1].choices
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 4
    assert all(c.usage is None for c in chunks[:-1])
    assert len({c.id for c in chunks}) == 1


async def test_a_chat_renders_the_template_and_streams_the_role_first(script: Any) -> None:
    script(rules=[{"contains": "<|im_start|>system\nbe kind<|im_end|>\n<|im_start|>user\nhello<|im_end|>", "text": "hi"}])
    messages: Any = [{"role": "developer", "content": "be kind"}, {"role": "user", "content": [{"type": "text", "text": "hello"}]}]
    async with front() as f:
        answer = await f.client.chat.completions.create(model="scripted", messages=messages)
        stream = await f.client.chat.completions.create(model="scripted", messages=messages, stream=True)
        chunks = [chunk async for chunk in stream]
    assert (answer.choices[0].message.role, answer.choices[0].message.content) == ("assistant", "hi")
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == "hi"
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert chunks[-1].model_dump()["timings"]["predicted_n"] == 2


async def test_a_stream_ends_with_done(script: Any) -> None:
    script(default="a")
    async with front() as f:
        answer = await f.http.post("/v1/completions", json={"prompt": "x", "stream": True})
    assert answer.headers["content-type"].startswith("text/event-stream")
    lines = [line for line in answer.text.split("\n\n") if line]
    assert lines[-1] == "data: [DONE]"
    assert all(json.loads(line.removeprefix("data: "))["object"] == "text_completion" for line in lines[:-1])
