"""The OpenAI routes over a real socket, with the scripted engine; the `openai` client is the judge."""

from __future__ import annotations

import asyncio
import base64
import json
import math
import os
import signal
import struct
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
    ("/v1/chat/completions", {"messages": []}, "messages"),
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages.0.content"),
    ("/v1/chat/completions", {"messages": HELLO, "tools": [{"type": "function"}]}, "tools"),
    ("/v1/chat/completions", {"messages": HELLO, "response_format": {"type": "json_schema"}}, "response_format.json_schema"),
    ("/v1/embeddings", {"input": ["a", ""]}, "input"),
    ("/v1/embeddings", {"input": "a", "encoding_format": "hex"}, "encoding_format"),
]
CONSTRAINED: list[tuple[dict[str, Any], str]] = [
    ({"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"title": "SCHEMA"}}}}, '"SCHEMA"'),
    ({"response_format": {"type": "json_object"}}, '{"type":"object"}'),
    ({"regex": "[a-z]R"}, "[a-z]R"),
    ({"guided_regex": "[a-z]G"}, "[a-z]G"),
    ({"choice": ["yes", "C"]}, '["yes", "C"]'),
    ({"guided_choice": ["yes", "D"]}, '["yes", "D"]'),
]


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


async def test_several_candidates_each_have_their_own_text_and_the_prompt_counts_once(script: Any) -> None:
    script(default=["one", "two", "three"])
    async with front() as f:
        answer = await f.client.completions.create(model="auto", prompt="x", n=3, seed=1)
        stream = await f.client.chat.completions.create(model="auto", messages=HELLO, n=2, stream=True, stream_options={"include_usage": True})
        streamed = ["", ""]
        roles = 0
        async for chunk in stream:
            for choice in chunk.choices:
                streamed[choice.index] += choice.delta.content or ""
                roles += choice.delta.role == "assistant"
    assert [(c.index, c.text) for c in answer.choices] == [(0, "one"), (1, "two"), (2, "three")]
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (1, len("onetwothree"))
    assert streamed == ["one", "two"]
    assert roles == 2


async def test_several_prompts_answer_in_their_order(script: Any) -> None:
    script(rules=[{"contains": "a", "text": ["A0", "A1"]}, {"contains": "b", "text": "B"}])
    async with front() as f:
        texts = await f.client.completions.create(model="auto", prompt=["a", "b"], n=2, echo=True)
        tokens = await f.client.completions.create(model="auto", prompt=[[97], [98]])
    assert [(c.index, c.text) for c in texts.choices] == [(0, "aA0"), (1, "aA1"), (2, "bB"), (3, "bB")]
    assert [c.text for c in tokens.choices] == ["A0", "B"]


async def test_a_suffix_asks_to_fill_in_the_middle(script: Any) -> None:
    script(rules=[{"contains": "<|fim_prefix|>def add(<|fim_suffix|>): pass<|fim_middle|>", "text": "a, b"}], default="no")
    async with front() as f:
        filled = await f.client.completions.create(model="auto", prompt="def add(", suffix="): pass")
        tokens = await f.http.post("/v1/completions", json={"prompt": [1, 2], "suffix": "x"})
    assert filled.choices[0].text == "a, b"
    assert tokens.status_code == 400
    assert tokens.json()["error"]["param"] == "prompt"


async def test_an_empty_suffix_still_asks_to_fill_in_the_middle(script: Any) -> None:
    script(rules=[{"contains": "<|fim_prefix|>x = <|fim_suffix|><|fim_middle|>", "text": "1"}])
    async with front() as f:
        assert (await f.client.completions.create(model="auto", prompt="x = ", suffix="")).choices[0].text == "1"


async def test_special_tokens_count_in_a_prompt_and_stay_text_in_a_chat(script: Any) -> None:
    script(default="x")
    marked = "<|fim_prefix|>a<|fim_suffix|>b<|fim_middle|>"
    async with front() as f:
        prompt = await f.client.completions.create(model="auto", prompt=marked)
        plain = await f.client.chat.completions.create(model="auto", messages=[{"role": "user", "content": ""}])
        chat = await f.client.chat.completions.create(model="auto", messages=[{"role": "user", "content": marked}])
    assert prompt.usage is not None
    assert prompt.usage.prompt_tokens == 5
    assert chat.usage is not None
    assert plain.usage is not None
    assert chat.usage.prompt_tokens - plain.usage.prompt_tokens == len(marked)


async def test_token_ids_are_taken_as_they_are(script: Any) -> None:
    script(rules=[{"contains": "<|fim_middle|>b", "text": "yes"}])
    async with front() as f:
        answer = await f.client.completions.create(model="auto", prompt=[97, 258, 98], echo=True)
        wrong = await f.http.post("/v1/completions", json={"prompt": [97, 264]})
    assert answer.choices[0].text == "abyes"
    assert wrong.status_code == 400
    assert "0 to 263" in wrong.json()["error"]["message"]


async def test_log_probabilities_of_a_completion(script: Any) -> None:
    script(default="hé")
    async with front() as f:
        answer = await f.client.completions.create(model="auto", prompt="x", logprobs=2, echo=False)
        stream = await f.client.completions.create(model="auto", prompt="x", logprobs=0, stream=True)
        streamed = [c.choices[0].logprobs async for c in stream if c.choices[0].text]
    found = answer.choices[0].logprobs
    assert found is not None
    assert found.tokens == ["h", "bytes:\\xc3", "bytes:\\xa9"]
    assert found.token_logprobs == [-0.1] * 3
    assert found.top_logprobs is not None
    assert found.top_logprobs[0] == {"h": -0.1, "i": -1.1}
    assert found.text_offset is not None
    assert found.text_offset[:2] == [0, 1]
    assert [token for table in streamed for token in (table.tokens if table else None) or []] == found.tokens
    assert all(table is not None and table.top_logprobs is None for table in streamed)


async def test_log_probabilities_of_a_chat(script: Any) -> None:
    script(default="hi")
    async with front() as f:
        answer = await f.client.chat.completions.create(model="auto", messages=HELLO, logprobs=True, top_logprobs=3)
        without = await f.client.chat.completions.create(model="auto", messages=HELLO)
        refused = await f.http.post("/v1/chat/completions", json={"messages": HELLO, "top_logprobs": 3})
    assert answer.choices[0].logprobs is not None
    rows = answer.choices[0].logprobs.content
    assert rows is not None
    assert [(row.token, row.bytes, row.logprob, len(row.top_logprobs)) for row in rows] == [("h", [104], -0.1, 3), ("i", [105], -0.1, 3)]
    assert without.choices[0].logprobs is None
    assert refused.json()["error"]["param"] == "top_logprobs"


async def test_a_prompt_is_scored_without_generating(script: Any) -> None:
    script(default="never")
    async with front() as f:
        answer = await f.client.completions.create(model="auto", prompt="abc", echo=True, logprobs=1, max_tokens=0)
        single = await f.client.completions.create(model="auto", prompt="a", echo=True, logprobs=1, max_tokens=0)
        refused = await f.http.post("/v1/completions", json={"prompt": "abc", "echo": True, "logprobs": 1, "max_tokens": 5})
    assert answer.choices[0].text == "abc"
    found = answer.choices[0].logprobs
    assert found is not None
    assert found.tokens == ["a", "b", "c"]
    assert found.token_logprobs == [None, -0.1, -0.1]
    assert found.text_offset == [0, 1, 2]
    assert single.model_dump()["choices"][0]["logprobs"]["token_logprobs"] == [None]
    assert refused.json()["error"]["param"] == "echo"


async def test_an_answer_of_no_tokens_warms_the_prompt(script: Any) -> None:
    script(default="never")
    async with front() as f:
        answer = await f.client.completions.create(model="auto", prompt="abc", max_tokens=0)
    assert (answer.choices[0].text, answer.choices[0].finish_reason) == ("", "length")


async def test_stop_strings_end_the_text(script: Any) -> None:
    script(default="one;two")
    async with front() as f:
        one = await f.client.completions.create(model="auto", prompt="x", stop=";")
        several = await f.client.completions.create(model="auto", prompt="x", stop=["#", "tw"])
    assert (one.choices[0].text, one.choices[0].finish_reason) == ("one", "stop")
    assert several.choices[0].text == "one;"


async def test_what_the_answer_must_look_like_reaches_the_engine(script: Any) -> None:
    script(rules=[{"constraint": wanted, "text": wanted} for _, wanted in CONSTRAINED], default="free")
    async with front() as f:
        for fields, wanted in CONSTRAINED:
            answer = await f.client.chat.completions.create(model="auto", messages=HELLO, extra_body=fields)
            assert answer.choices[0].message.content == wanted
        free = await f.client.chat.completions.create(model="auto", messages=HELLO, response_format={"type": "text"})
    assert free.choices[0].message.content == "free"


async def test_embeddings_are_unit_vectors_in_both_encodings(script: Any) -> None:
    script(default="")
    async with front() as f:
        plain = await f.client.embeddings.create(model="auto", input=["a", "b", "a"], encoding_format="float")
        packed = await f.client.embeddings.create(model="auto", input="a")  # the client asks for base64 and unpacks it
        tokens = await f.client.embeddings.create(model="auto", input=[[97], [98]])
        raw = await f.http.post("/v1/embeddings", json={"input": [97], "encoding_format": "base64"})
        dimensions = await f.http.post("/v1/embeddings", json={"input": "a", "dimensions": 3})
    assert [row.index for row in plain.data] == [0, 1, 2]
    assert all(math.isclose(math.hypot(*row.embedding), 1, rel_tol=1e-6) for row in plain.data)
    assert plain.data[0].embedding == plain.data[2].embedding != plain.data[1].embedding
    assert (plain.usage.prompt_tokens, plain.usage.total_tokens) == (3, 3)
    assert packed.data[0].embedding == tokens.data[0].embedding == plain.data[0].embedding
    assert list(struct.unpack("<8f", base64.b64decode(raw.json()["data"][0]["embedding"]))) == plain.data[0].embedding
    assert dimensions.json()["error"]["param"] == "dimensions"


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


async def test_more_choices_than_the_engine_has_places_for_come_in_turns(script: Any) -> None:
    script(default="x", busy_above=16, token_ms=10)
    async with front() as f:
        answer = await f.client.completions.create(model="auto", prompt=["a", "b"], n=20)
    assert [choice.index for choice in answer.choices] == list(range(40))
    assert {choice.text for choice in answer.choices} == {"x"}
