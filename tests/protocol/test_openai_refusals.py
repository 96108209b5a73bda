"""The OpenAI routes when something is wrong: bad requests, models that are not there, a full or dying engine, clients that go."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from tests.protocol.fronts import front
from tests.protocol.gateways import until

HELLO: Any = [{"role": "user", "content": "hello"}]
BAD: list[tuple[str, Any, str]] = [
    ("/v1/completions", {}, "prompt"),
    ("/v1/completions", {"prompt": ""}, "prompt"),
    ("/v1/completions", {"prompt": []}, "prompt"),
    ("/v1/completions", {"prompt": [[]]}, "prompt"),
    ("/v1/completions", {"prompt": [1, "x"]}, "prompt"),
    ("/v1/completions", {"prompt": [-1]}, "prompt"),
    ("/v1/completions", {"prompt": [True]}, "prompt"),
    ("/v1/completions", {"prompt": "x", "temperature": -1}, "temperature"),
    ("/v1/completions", {"prompt": "x", "max_tokens": "many"}, "max_tokens"),
    ("/v1/completions", {"prompt": "x", "n": 0}, "n"),
    ("/v1/completions", {"prompt": ["x"] * 65, "n": 2}, "n"),
    ("/v1/completions", {"prompt": "x", "logit_bias": {"264": 1}}, "logit_bias"),
    ("/v1/completions", {"prompt": "x", "regex": "a", "choice": ["b"]}, "response_format"),
    ("/v1/completions", {"prompt": "x", "stream": True, "regex": "a", "choice": ["b"]}, "response_format"),
    ("/v1/completions", {"prompt": "x", "grammar": "root ::= x"}, "grammar"),
    ("/v1/completions", {"prompt": "x", "json_schema": {}, "regex": "a"}, "json_schema"),
    ("/v1/completions", {"prompt": "x", "json_schema": {"type": 1}}, "json_schema"),
    ("/v1/completions", {"prompt": "x", "json_schema": False}, "json_schema"),
    ("/v1/completions", {"prompt": "x", "response_format": {"type": "json_object", "schema": {"type": 1}}}, "response_format.schema"),
    ("/v1/chat/completions", {"messages": HELLO, "grammar": "root ::= x"}, "grammar"),
    ("/v1/chat/completions", {"messages": HELLO, "guided_json": "{"}, "guided_json"),
    ("/v1/chat/completions", {"messages": []}, "messages"),
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages.0.content"),
    ("/v1/chat/completions", {"messages": HELLO, "tools": [{"type": "function"}]}, "tools.0.function"),
    ("/v1/chat/completions", {"messages": HELLO, "response_format": {"type": "json_schema"}}, "response_format.json_schema"),
    ("/v1/embeddings", {"input": ["a", ""]}, "input"),
    ("/v1/embeddings", {"input": "a", "encoding_format": "hex"}, "encoding_format"),
]


async def test_a_bad_body_is_refused_with_the_name_of_the_field(service: httpx2.AsyncClient) -> None:
    for path, body, param in BAD:
        answer = await service.post(path, json=body)
        error = answer.json()["error"]
        assert (answer.status_code, error["param"]) == (400, param), (body, error)
        assert set(error) == {"message", "type", "code", "param"}
        assert error["type"] == "invalid_request_error"
        assert param in error["message"]


async def test_what_is_no_json_object_is_refused(service: httpx2.AsyncClient) -> None:
    json_type = {"Content-Type": "application/json"}
    for content, headers, said in (
        (b'{"prompt": ', json_type, "not valid JSON"),
        (b'"prompt"', json_type, "must be a JSON object"),
        (b'{"prompt": "x"}', {"Content-Type": "text/plain"}, "application/json"),
        (b"", json_type, "must be a JSON object"),
    ):
        answer = await service.post("/v1/completions", content=content, headers=headers)
        assert answer.status_code == 400
        assert said in answer.json()["error"]["message"]


async def test_unknown_routes_and_methods_have_the_same_shape(service: httpx2.AsyncClient) -> None:
    missing, method = await service.get("/v1/nothing"), await service.get("/v1/completions")
    assert (missing.status_code, method.status_code) == (404, 405)
    assert missing.json()["error"]["message"] == "GET /v1/nothing: Not Found"
    assert method.json()["error"]["code"] == "route"


async def test_unknown_fields_and_nulls_are_ignored(service: httpx2.AsyncClient) -> None:
    body = {"prompt": "x", "user": "me", "best_of": 3, "suffix": None, "max_tokens": None, "stop": None, "logprobs": None, "seed": -1}
    answer = await service.post("/v1/completions", json=body)
    assert answer.status_code == 200
    assert answer.json()["choices"][0]["text"] == "x"


async def test_a_model_that_is_not_here_is_not_found(service: httpx2.AsyncClient) -> None:
    for model in ("gpt-4", "/etc/passwd", "models/other.gguf", "qwencoder-1.5b"):
        for stream in (False, True):
            answer = await service.post("/v1/completions", json={"model": model, "prompt": "x", "stream": stream})
            assert answer.status_code == 404
            assert (answer.json()["error"]["code"], answer.json()["error"]["param"]) == ("model_not_found", "model")


async def test_only_the_services_own_file_may_be_named_by_path(home: Path, tmp_path: Path) -> None:
    """The files are no models: a request that is let through fails to load them."""
    own, other = tmp_path / "own.gguf", tmp_path / "other.gguf"
    for file in (own, other):
        file.write_bytes(b"GGUF" + bytes(64))
    async with front(model={"completion": str(own), "chat": str(own)}) as f:
        assert [row.id async for row in f.client.models.list()] == ["own"]
        for model in ("", "auto", "own", str(own)):
            for extra in ({}, {"suffix": "y"}):
                answer = await f.http.post("/v1/completions", json={"model": model, "prompt": "x", **extra})
                assert answer.status_code == 503
                assert "own" in answer.json()["error"]["message"]
        assert (await f.http.post("/v1/completions", json={"model": str(other), "prompt": "x"})).status_code == 404


async def test_a_full_engine_says_when_to_try_again(script: Any) -> None:
    script(default="x", prefill_ms=60_000, busy_above=1)
    async with front() as f:
        running = asyncio.create_task(f.client.completions.create(model="auto", prompt="x"))
        await f.busy(1)
        await until(f.private, lambda s: s.models[0].state == "ready")
        for create in (f.client.completions.create(model="auto", prompt="y"), f.client.completions.create(model="auto", prompt="y", stream=True)):
            with pytest.raises(openai.RateLimitError) as caught:
                await create
            assert int(caught.value.response.headers["retry-after"]) >= 1
            assert caught.value.code == "engine_busy"
        running.cancel()


async def test_an_engine_that_dies_is_unavailable_and_the_next_request_works(script: Any) -> None:
    script(default="abcdef", token_ms=300)
    async with front() as f:
        stream = await f.client.completions.create(model="auto", prompt="x", stream=True)
        await anext(aiter(stream))
        waiting = asyncio.create_task(f.client.completions.create(model="auto", prompt="x"))
        await f.busy(2)
        pid = (await f.private.status()).models[0].pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(openai.APIError, match="ended unexpectedly"):
            async for _ in stream:
                pass
        with pytest.raises(openai.InternalServerError) as caught:
            await waiting
        assert (caught.value.status_code, caught.value.code) == (503, "engine_crashed")
        assert (await f.client.completions.create(model="auto", prompt="x")).choices[0].text == "abcdef"


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/chat/completions"])
@pytest.mark.parametrize("fields", [{"stream": True}, {"stream": False}, {"stream": False, "n": 3}], ids=["stream", "whole", "candidates"])
async def test_a_client_that_goes_during_the_prefill_stops_the_work(script: Any, path: str, fields: dict[str, Any]) -> None:
    script(default="x", prefill_ms=60_000)
    async with front() as f:
        request = asyncio.create_task(f.http.post(path, json={"prompt": "x", "messages": HELLO, **fields}))
        await f.busy(1)
        await until(f.private, lambda s: bool(s.models) and s.models[0].state == "ready")
        request.cancel()
        await f.busy(0)


async def test_a_client_that_goes_between_two_tokens_stops_the_work(script: Any) -> None:
    script(default="x" * 1000, token_ms=50)
    async with front() as f:
        stream = await f.client.completions.create(model="auto", prompt="x", max_tokens=1000, stream=True)
        await anext(aiter(stream))
        await stream.close()
        await f.busy(0)


async def test_the_other_candidates_stop_when_one_fails(script: Any) -> None:
    script(default="x", prefill_ms=60_000, busy_above=2)
    async with front() as f:
        with pytest.raises(openai.RateLimitError):
            await f.client.completions.create(model="auto", prompt="x", n=3)
        await f.busy(0)


@pytest.fixture
async def service(script: Any) -> AsyncIterator[httpx2.AsyncClient]:
    """A served gateway with nothing special about it."""
    script(default="x")
    async with front() as f:
        yield f.http
