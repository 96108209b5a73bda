"""Ollama's routes over a real socket, with the scripted engine; the official `ollama` client, unmodified, is the judge."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import ollama
import pytest

from qwencoder_lsp.gateway.protocol import ListenRequest
from tests.protocol.fronts import Front, front
from tests.protocol.gateways import until
from tests.protocol.test_models_routes import install

SMALL: dict[str, object] = {"context": 512}
HELLO = [{"role": "user", "content": "hello"}]
WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {"name": "weather", "description": "d", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}


@asynccontextmanager
async def served(**sections: Any) -> AsyncIterator[tuple[ollama.AsyncClient, Front]]:
    async with front(**sections) as f:
        client = ollama.AsyncClient(host=str(f.http.base_url))
        try:
            yield client, f
        finally:
            await client._client.aclose()


async def test_a_prompt_is_a_turn_of_a_conversation_and_streams_by_line(script: Any) -> None:
    script(rules=[{"contains": "<|im_start|>system\nbe kind<|im_end|>\n<|im_start|>user\nhello<|im_end|>", "text": "hi there"}])
    async with served() as (client, _):
        whole = await client.generate("scripted", "hello", system="be kind")
        pieces = [piece async for piece in await client.generate("scripted:latest", "hello", system="be kind", stream=True)]
    assert (whole.response, whole.done, whole.done_reason, whole.model) == ("hi there", True, "stop", "scripted")
    assert whole.eval_count == len("hi there")
    assert whole.prompt_eval_count and whole.total_duration
    assert "".join(piece.response or "" for piece in pieces) == "hi there"
    assert [piece.done for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    assert pieces[-1].eval_count == whole.eval_count


async def test_a_suffix_fills_in_the_middle_and_markup_or_raw_keeps_the_prompt_as_it_is(script: Any) -> None:
    script(
        rules=[
            {"contains": "<|fim_suffix|>)<|fim_middle|>f(<|cursor|>", "text": "x"},
            {"contains": "<|im_start|>", "text": "a chat"},
            {"contains": "<|fim_prefix|>g(<|fim_suffix|>)<|fim_middle|><|cursor|>", "text": "y"},
            {"contains": "plain<|cursor|>", "text": "z"},
        ]
    )
    async with served() as (client, _):
        assert (await client.generate("auto", "f(", suffix=")")).response == "x"
        rendered = await client.generate("scripted", "<|fim_prefix|>g(<|fim_suffix|>)<|fim_middle|>")
        assert rendered.response == "y", "as Twinny sends it"
        assert (await client.generate("scripted", "plain", raw=True)).response == "z"


async def test_continue_finds_that_the_model_fills_and_asks_for_that(script: Any) -> None:
    """What its core/llm/llms/Ollama.ts sends: behind the last line its suffix is a line break."""
    script(rules=[{"contains": "<|fim_prefix|>a = 1\n<|fim_suffix|>\n<|fim_middle|>b = <|cursor|>", "text": "2"}], default="a chat")
    options = {"temperature": 0.01, "num_predict": 4096, "num_ctx": 8192, "stop": ["<|endoftext|>", "/src/"]}
    async with served(engine=SMALL) as (_, f):
        shown = (await f.http.post("/api/show", json={"name": "scripted"})).json()
        body = {"model": "scripted", "prompt": "a = 1\nb = ", "suffix": "\n", "options": options, "keep_alive": 1800, "stream": True}
        lines = [json.loads(line) for line in (await f.http.post("/api/generate", json=body)).text.splitlines()]
    assert ".Suffix" in shown["template"]
    assert "insert" in shown["capabilities"]
    assert "".join(line["response"] for line in lines) == "2"


async def test_options_and_formats_are_obeyed(script: Any) -> None:
    script(rules=[{"constraint": '"SCHEMA"', "text": "{}"}, {"constraint": '{"type":"object"}', "text": "[]"}], default="one two END three")
    async with served() as (client, _):
        short = await client.generate("scripted", "x", options={"num_predict": 3, "temperature": 0.5, "seed": 1, "num_ctx": 2048})
        assert (short.response, short.done_reason) == ("one", "length")
        assert (await client.generate("scripted", "x", options={"stop": ["END"]})).response == "one two "
        assert (await client.generate("scripted", "x", format="json")).response == "[]"
        assert (await client.chat("scripted", HELLO, format={"title": "SCHEMA"})).message.content == "{}"


async def test_a_chat_streams_and_calls_tools_with_arguments_as_objects(script: Any) -> None:
    call = '<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call>'
    script(rules=[{"contains": "<tool_response>\n21 degrees", "text": "warm"}, {"contains": "weather", "text": call}], default="hi")
    async with served() as (client, _):
        assert (await client.chat("scripted", HELLO)).message.content == "hi"
        pieces = [piece async for piece in await client.chat("scripted", HELLO, stream=True)]
        assert "".join(piece.message.content or "" for piece in pieces) == "hi"
        asked = await client.chat("scripted", HELLO, tools=[WEATHER])
        assert asked.message.tool_calls
        function = asked.message.tool_calls[0].function
        assert (function.name, dict(function.arguments)) == ("weather", {"city": "Oslo"})
        streamed = [piece async for piece in await client.chat("scripted", HELLO, tools=[WEATHER], stream=True)]
        assert [bool(piece.message.tool_calls) for piece in streamed] == [True]
        turns: Any = [*HELLO, asked.message, {"role": "tool", "content": "21 degrees", "tool_name": "weather"}]
        assert (await client.chat("scripted", turns, tools=[WEATHER])).message.content == "warm"


async def test_free_text_streams_though_there_are_tools_and_a_call_behind_it_comes_whole_at_the_end(script: Any) -> None:
    call = '<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call>'
    script(
        rules=[{"contains": "go on", "text": "a long story"}, {"contains": "broken", "text": 'so {"name": "weather", "arguments": {"ci'}],
        default="Look: " + call,
    )

    async def ask(text: str, *, stream: bool) -> list[Any]:
        body = {"messages": [{"role": "user", "content": text}], "tools": [WEATHER], "stream": stream}
        return [json.loads(line) for line in (await f.http.post("/api/chat", json=body)).text.splitlines()]

    async with served() as (_, f):
        for text, content, calls in (("go on", "a long story", 0), ("broken", 'so {"name": "weather", "arguments": {"ci', 0), ("x", "Look:", 1)):
            (whole,) = await ask(text, stream=False)
            lines = await ask(text, stream=True)
            said = [line["message"]["content"] for line in lines]
            assert "".join(said).strip() == content == whole["message"]["content"].strip()
            assert len(said) > 2, "it came piece by piece"
            assert [len(line["message"].get("tool_calls", ())) for line in lines] == [0] * (len(lines) - 1) + [calls]


async def test_keep_alive_0_lets_the_model_leave_memory_behind_the_answer(script: Any) -> None:
    script(default="x")
    async with served() as (client, f):
        for ask in (
            lambda: client.generate("scripted", "hello", keep_alive=0),
            lambda: client.chat("scripted", HELLO, keep_alive="0s"),
            lambda: client.embed("scripted", "a", keep_alive=0),
        ):
            await ask()
            await until(f.private, lambda s: s.models[0].state == "unloaded")
        await client.generate("scripted", "hello", keep_alive="5m")
        assert [model.model for model in (await client.ps()).models] == ["scripted"]


async def test_a_model_that_does_not_think_says_so_in_ollamas_words(script: Any) -> None:
    script(default="x")
    async with served() as (client, _):
        for think in (True, "high"):
            with pytest.raises(ollama.ResponseError, match='"scripted" does not support thinking') as refused:
                await client.chat("scripted", HELLO, think=think)
            assert refused.value.status_code == 400
            with pytest.raises(ollama.ResponseError, match="does not support thinking"):
                await client.generate("scripted", "x", think=think)
        assert (await client.chat("scripted", HELLO, think=False)).message.content == "x"


async def test_nothing_to_embed_loads_the_model(script: Any) -> None:
    async with served() as (client, f):
        assert (await client.embed("scripted", "")).embeddings == []
        assert [model.model for model in (await client.ps()).models] == ["scripted"]
        assert (await client.embed("scripted", [])).embeddings == []
        assert (await client.embeddings("scripted", "")).embedding == []
        empty = await f.http.post("/api/embed", json={"input": ["a", ""]})
    assert (empty.status_code, empty.json()["error"].startswith("input.1: ")) == (400, True)


async def test_texts_become_vectors_of_the_length_asked_for(script: Any) -> None:
    async with served() as (client, _):
        found = await client.embed("scripted", ["a", "b"])
        assert [len(vector) for vector in found.embeddings] == [8, 8]
        assert [len(v) for v in (await client.embed("scripted", "a", dimensions=3)).embeddings] == [3]
        assert len((await client.embeddings("scripted", "a")).embedding) == 8


async def test_models_are_listed_shown_loaded_and_unloaded(script: Any) -> None:
    script(default="x")
    async with served() as (client, f):
        assert [model.model for model in (await client.list()).models] == ["scripted"]
        assert not (await client.ps()).models
        assert (await client.generate("scripted", "")).done_reason == "load"
        assert [model.model for model in (await client.ps()).models] == ["scripted"]
        shown = await client.show("scripted")
        assert shown.capabilities == ["completion", "tools", "insert"]
        assert shown.modelinfo
        assert shown.modelinfo["qwen2.context_length"] == 32768
        assert (await client.generate("scripted", "", keep_alive=0)).done_reason == "unload"
        assert (await f.http.get("/")).text == "Ollama is running"
        assert (await f.http.get("/api/version")).json()["version"]


async def test_a_failed_download_is_an_error_of_its_stream(script: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    async with served() as (client, _):
        states = []
        with pytest.raises(ollama.ResponseError) as refused:
            async for state in await client.pull("qwen2.5-coder:1.5b-base-q4_K_M", stream=True):
                states.append(state.status)
        with pytest.raises(ollama.ResponseError):
            await client.pull("qwencoder-1.5b")
    assert states[0] == "pulling manifest"
    assert "did not deliver" in refused.value.error


async def test_errors_have_the_shape_that_the_client_reads(script: Any) -> None:
    async with served() as (client, f):
        with pytest.raises(ollama.ResponseError, match="gpt-4") as unknown:
            await client.generate("gpt-4", "x")
        assert unknown.value.status_code == 404
        with pytest.raises(ollama.ResponseError, match="images"):
            await client.generate("scripted", "x", images=[b"\x89PNG"])
        with pytest.raises(ollama.ResponseError, match="schema"):
            async for _ in await client.chat("scripted", HELLO, format={"not": {}}, stream=True):
                pass
        for path, body in (("/api/chat", {"messages": 1}), ("/api/embed", {}), ("/api/nothing", {}), ("/api/generate", {"options": {"top_p": 7}})):
            answer = await f.http.post(path, json=body)
            assert answer.status_code in (400, 404)
            assert isinstance(answer.json()["error"], str), path


async def test_a_history_that_is_too_long_loses_its_oldest_turns_unless_that_is_forbidden(script: Any) -> None:
    script(rules=[{"contains": "tokens left out", "text": "cut"}, {"contains": "aaa", "text": "whole"}], default="last")
    turns = [{"role": "user", "content": "a" * 300}, {"role": "assistant", "content": "b" * 100}, *HELLO]
    async with served(engine=SMALL) as (_, f):
        short = await f.http.post("/api/chat", json={"messages": turns[1:], "stream": False})
        long = await f.http.post("/api/chat", json={"messages": turns, "stream": False})
        streamed = await f.http.post("/api/chat", json={"messages": turns})
        prompt = await f.http.post("/api/generate", json={"prompt": "a" * 600, "stream": False, "options": {"num_predict": 4096}})
        refused = await f.http.post("/api/chat", json={"messages": turns, "truncate": False})
    assert "truncation" not in short.json()
    assert long.json()["message"]["content"] == "last"
    assert long.json()["truncation"] == {"dropped_tokens": 300, "gaps": [{"prompt": 0, "where": "messages.0", "at": 0, "tokens": 300}]}
    assert json.loads(streamed.text.splitlines()[-1])["truncation"] == long.json()["truncation"]
    assert prompt.json()["response"] == "cut"
    assert refused.status_code == 400
    assert "truncate" in refused.json()["error"]


async def test_a_raw_prompt_that_is_too_long_keeps_its_end_and_num_predict_takes_no_room_from_one_that_fits(script: Any) -> None:
    script(rules=[{"contains": "begun", "text": "whole"}], default="end")

    async def ask(**body: Any) -> Any:
        return await f.http.post("/api/generate", json={"raw": True, "stream": False, **body})

    async with served(engine=SMALL) as (_, f):
        fits = await ask(prompt="begun" + "x" * 370)
        long = await ask(prompt="begun" + "x" * 600, options={"num_predict": 4096})
        refused = await ask(prompt="begun" + "x" * 600, truncate=False)
        filled = await ask(prompt="f(", suffix=")", options={"num_predict": 4096})
        unread = await ask(prompt="x\n" * 600, suffix=")", truncate=False)
    assert (fits.json()["response"], "truncation" in fits.json()) == ("whole", False)
    assert (long.json()["response"], long.json()["prompt_eval_count"]) == ("end", 384)
    assert long.json()["truncation"]["gaps"] == [{"prompt": 0, "where": "prompt", "at": 0, "tokens": 221}]
    assert [answer.status_code for answer in (refused, filled, unread)] == [400, 200, 400]


async def test_an_answer_has_the_room_that_its_prompt_leaves(script: Any) -> None:
    script(default="y" * 1000)
    async with served(engine=SMALL) as (_, f):
        for options in ({}, {"num_predict": 4096}):
            answer = (await f.http.post("/api/generate", json={"prompt": "x" * 400, "raw": True, "stream": False, "options": options})).json()
            assert (answer["prompt_eval_count"], answer["eval_count"]) == (384, 128)
            answer = (await f.http.post("/api/generate", json={"prompt": "x" * 112, "raw": True, "stream": False, "options": options})).json()
            assert (answer["eval_count"], answer["done_reason"]) == (400, "length")


async def test_of_a_text_to_embed_that_is_too_long_the_beginning_is_read_unless_that_is_forbidden(script: Any) -> None:
    async with served(engine=SMALL) as (_, f):
        found = (await f.http.post("/api/embed", json={"input": ["a", "b" * 600, "b" * 512]})).json()
        refused = await f.http.post("/api/embed", json={"input": ["a", "b" * 600], "truncate": False})
        strict = await f.http.post("/v1/embeddings", json={"input": ["a", "b" * 600]})
    assert found["embeddings"][1] == found["embeddings"][2] != found["embeddings"][0]
    assert found["prompt_eval_count"] == 1 + 512 + 512
    assert found["truncation"] == {"dropped_tokens": 88, "gaps": [{"prompt": 1, "where": "input", "at": 512, "tokens": 88}]}
    assert refused.status_code == strict.status_code == 400
    assert "text 1 has 600 tokens" in refused.json()["error"]


async def test_names_of_ollamas_library_mean_the_same_model_on_every_route(home: Path) -> None:
    install("qwencoder-0.5b")
    paths = ("/api/generate", "/api/chat", "/api/embed", "/api/show", "/v1/completions", "/v1/chat/completions", "/v1/embeddings", "/completion")
    async with served() as (_, f):
        assert (await f.client.models.retrieve("qwen2.5-coder:0.5b")).id == "qwencoder-0.5b"
        asked = {"model": "qwen2.5-coder", "prompt": "x", "input": "x", "messages": HELLO}
        for path in paths:
            for name in ("qwen2.5-coder", "qwen2.5-coder:latest"):
                answer = await f.http.post(path, json={**asked, "model": name})
                assert answer.status_code == 404, path
                assert "The model qwencoder-7b is not installed. Run: qwencoder-lsp models pull qwencoder-7b" in answer.text, path
        gone = await f.http.delete("/models/qwen2.5-coder:0.5b")
        assert gone.json()["model_name"] == "qwencoder-0.5b"


async def test_a_client_that_goes_stops_the_work(script: Any) -> None:
    script(default="x" * 1000, token_ms=50)
    async with served() as (_, f):
        async with f.http.stream("POST", "/api/generate", json={"model": "scripted", "prompt": "go"}) as answer:
            await anext(answer.aiter_lines())
        await f.busy(0)


async def test_the_port_that_ollamas_clients_know_can_be_served_too(script: Any) -> None:
    script(default="x")
    async with front(ListenRequest("127.0.0.1", 0, ollama_port=0)) as f:
        status = await f.private.status()
        first, second = status.listening.split(", ")
        assert first != second
        client = ollama.AsyncClient(host=f"http://{second}")
        assert (await client.generate("scripted", "hello")).response == "x"
        await client._client.aclose()
