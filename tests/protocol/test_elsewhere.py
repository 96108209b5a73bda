"""The model on another machine: a team's gateway by URL with a key, and other servers in the place of an engine."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from qwencoder_lsp import settings
from qwencoder_lsp.core.prompt import PromptParts, Stops
from qwencoder_lsp.errors import EngineFailed, GatewayError, ModelUnknown, ModelUnsuitable, RequestError
from qwencoder_lsp.gateway.find import connect
from qwencoder_lsp.gateway.protocol import CompleteRequest, End, ListenRequest, PullRequest
from tests.protocol.elsewhere import KEY
from tests.protocol.fronts import front
from tests.protocol.gateways import ask, collect, fill, gateway

Handler = Callable[[str, dict[str, Any]], list[dict[str, Any]]]


def choice(text: str, reason: str | None = None) -> dict[str, Any]:
    return {"choices": [{"text": text, "finish_reason": reason}]}


@asynccontextmanager
async def server(models: list[dict[str, Any]], answer: Handler, *, lines: bool = False, status: int = 200) -> AsyncIterator[str]:
    """A server that is no more than its wire: /v1/models, and whatever `answer` makes of a path and a body."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next((int(line.split(":")[1]) for line in head.lower().splitlines() if line.startswith("content-length")), 0)
        body = json.loads(await reader.readexactly(length) or b"{}")
        path = head.split()[1]
        objects = [{"data": models}] if path == "/v1/models" else answer(path, body)
        code = 200 if path == "/v1/models" else status
        writer.write(f"HTTP/1.1 {code} X\r\nConnection: close\r\n\r\n".encode())
        for found in objects:
            data = json.dumps(found)
            writer.write((data if lines or code != 200 or path == "/v1/models" else f"data: {data}\n").encode() + b"\n")
        await writer.drain()
        writer.close()

    running = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with running:
        yield f"http://127.0.0.1:{running.sockets[0].getsockname()[1]}"


async def test_a_teams_gateway_answers_its_members_by_url_and_key(script: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    script(rules=[{"contains": "<|fim_middle|>f(<|cursor|>", "text": "x\ny\nz"}, {"contains": "hello", "text": "hi"}])
    async with front(ListenRequest("127.0.0.1", 0, (KEY,))) as f:
        monkeypatch.setenv("QWENCODER_GATEWAY_KEY", KEY)
        chosen = settings.load(command_line={"gateway": {"url": str(f.http.base_url)}}, strict=True)[0]
        client = await connect(chosen)
        text, end = await collect(client.complete(CompleteRequest(PromptParts("", "", typed="f("), stops=Stops(max_lines=1))))
        assert isinstance(end, End)
        assert (text, end.reason) == ("x", "lines"), "every stop rule counts, which a completion of OpenAI's kind has not"
        assert (await collect(client.chat(ask("hello", model="auto"))))[0] == "hi"
        assert (await client.status()).completion_model == "scripted"
        with pytest.raises(ModelUnknown):
            await collect(client.complete(fill("x", model="/etc/passwd")))
        with pytest.raises(GatewayError, match="fetched on the machine"):
            client.pull(PullRequest("qwencoder-0.5b"))
        with pytest.raises(GatewayError, match="where it runs"):
            await client.shutdown()
        for path in ("/qwencoder/shutdown", "/qwencoder/listen", "/qwencoder/models/pull", "/qwencoder/window"):
            assert (await f.http.post(path, json={}, headers={"X-Api-Key": KEY})).status_code == 404, "not for members"
        await client.close()
        monkeypatch.setenv("QWENCODER_GATEWAY_KEY", "wrong")
        with pytest.raises(GatewayError, match="API key"):
            await connect(chosen)


async def test_a_teams_key_may_stand_in_a_private_file(script: Any, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(f"{KEY}\n")
    file.chmod(0o600)
    async with front(ListenRequest("127.0.0.1", 0, (KEY,))) as f:
        chosen = settings.load(command_line={"gateway": {"url": str(f.http.base_url), "url_key_file": str(file)}}, strict=True)[0]
        client = await connect(chosen)
        await client.close()


async def test_an_address_where_no_gateway_answers_is_an_error() -> None:
    for url, words in (("http://127.0.0.1:1", "does not answer"), ("not a url", "")):
        if words:
            with pytest.raises(GatewayError, match=words):
                await connect(settings.load(command_line={"gateway": {"url": url}}, strict=True)[0])
        else:
            _, problems = settings.load(command_line={"gateway": {"url": url}})
            assert problems
    async with server([], lambda path, body: []) as url:
        with pytest.raises(GatewayError, match=r"no gateway of ours|does not answer"):
            await connect(settings.load(command_line={"gateway": {"url": url}}, strict=True)[0])


async def test_a_project_cannot_send_code_elsewhere(tmp_path: Path) -> None:
    (tmp_path / ".qwencoder.toml").write_text('[remote]\nurl = "http://evil.example"\n[gateway]\nurl = "http://evil.example"\n')
    chosen, problems = settings.load(root=tmp_path, env={})
    assert (chosen.remote.url, chosen.gateway.url) == ("", "")
    assert len(problems) == 2


async def test_a_remote_model_gets_our_own_prompt_and_our_own_stops(home: Path) -> None:
    seen: list[dict[str, Any]] = []

    def answer(path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
        seen.append({"path": path, **body})
        return [choice("a\nb"), choice("\nc", "stop"), {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}}]

    async with server([{"id": "coder", "owned_by": "vllm", "max_model_len": 4096}], answer) as url, gateway(remote={"url": url}) as client:
        text, end = await collect(client.complete(fill("# <|fim_middle|>\n", "\nz", model="auto")))
        short, ended = await collect(client.complete(fill("x", model="remote", stops=Stops(max_lines=1, strings=("q",)))))
        spoken, _ = await collect(client.chat(ask("hello", model="auto")))
        state = (await client.status()).models[0]
    assert isinstance(end, End)
    assert isinstance(ended, End)
    assert (text, end.reason, end.usage.prompt, end.usage.generated) == ("a\nb\nc", "stop_token", 7, 3)
    assert (short, ended.reason) == ("a", "lines")
    assert spoken == "a\nb\nc"
    assert seen[0]["path"] == "/v1/completions"
    assert seen[0]["prompt"] == "<|fim_prefix|># <\u200b|fim_middle|>\n<|fim_suffix|>\nz<|fim_middle|>", "what a user wrote is no special token"
    assert (seen[0]["model"], seen[0]["stream"], seen[0]["logprobs"]) == ("coder", True, 1)
    assert seen[1]["stop"] == ["q"]
    assert seen[2]["prompt"] == "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n"
    assert (state.name, state.state) == ("remote", "ready")
    assert "vLLM" in state.device


async def test_each_dialect_has_its_own_words(home: Path) -> None:
    seen: list[dict[str, Any]] = []

    def openai(path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
        seen.append({"path": path, **body})
        return [choice("{}", "stop")]

    def ollama(path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
        seen.append({"path": path, **body})
        return [{"response": "{"}, {"response": "}", "done": True, "done_reason": "length", "prompt_eval_count": 5, "eval_count": 2}]

    schema = '{"type": "object"}'
    for owner, handler in (("vllm", openai), ("sglang", openai), ("llamacpp", openai), ("library", ollama), ("qwencoder-lsp", openai)):
        models = [{"id": "m", "owned_by": owner, "meta": {"n_ctx": 4096}}]
        async with server(models, handler, lines=owner == "library") as url, gateway(remote={"url": url}) as client:
            text, end = await collect(client.chat(ask("x", model="auto", json_schema=schema, max_tokens=9)))
            assert text == "{}"
    assert isinstance(end, End)
    found = {"type": "object"}
    assert seen[0]["structured_outputs"] == {"json": found}
    assert seen[1]["json_schema"] == schema
    assert seen[2]["json_schema"] == found
    assert (seen[3]["path"], seen[3]["format"], seen[3]["raw"], seen[3]["options"]["num_predict"]) == ("/api/generate", found, True, 9)
    assert seen[4]["response_format"] == {"type": "json_schema", "json_schema": {"schema": found}}


async def test_what_a_remote_model_cannot_do_is_said(home: Path) -> None:
    models = [{"id": "m", "owned_by": "somebody"}]
    async with server(models, lambda path, body: [choice("x", "stop")]) as url, front(remote={"url": url}) as f:
        with pytest.raises(ModelUnsuitable, match="cannot obey a JSON schema"):
            await collect(f.private.chat(ask("x", model="auto", json_schema="{}")))
        for body in ({"prompt": [1, 2]}, {"prompt": "x", "logprobs": 1}, {"prompt": "x", "logit_bias": {"1": 1}}):
            answer = await f.http.post("/v1/completions", json=body)
            assert (answer.status_code, "elsewhere" in answer.json()["error"]["message"]) == (400, True)
        unknown = (await f.http.post("/completion", json={"prompt": "x", "n_probs": 1})).json()["error"]
        assert (unknown["param"], "elsewhere" in unknown["message"]) == ("n_probs", True)
        assert (await f.http.post("/tokenize", json={"content": "x"})).status_code == 400
        assert (await f.http.post("/v1/completions", json={"prompt": "x"})).json()["choices"][0]["text"] == "x"


async def test_errors_of_a_remote_server_say_what_to_do(home: Path) -> None:
    models = [{"id": "m", "owned_by": "vllm"}]
    for status, kind, words in ((400, RequestError, "too long"), (401, EngineFailed, "key"), (500, EngineFailed, "failed")):
        async with (
            server(models, lambda path, body: [{"error": {"message": "too long"}}], status=status) as url,
            gateway(remote={"url": url}) as client,
        ):
            with pytest.raises(kind, match=words):
                await collect(client.chat(ask("x", model="auto")))
    async with server(models, lambda path, body: []) as url, gateway(remote={"url": url, "model": "other"}) as client:
        with pytest.raises(EngineFailed, match="no model 'other'"):
            await collect(client.chat(ask("x", model="auto")))
    async with gateway(remote={"url": "http://127.0.0.1:1"}) as client:
        with pytest.raises(EngineFailed, match="Nothing that serves models"):
            await collect(client.chat(ask("x", model="auto")))


@asynccontextmanager
async def closed_at_the_end(writer: asyncio.StreamWriter) -> AsyncIterator[None]:
    """Closes it, also where the other side has gone first."""
    try:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            yield
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def test_a_connection_that_the_server_has_closed_costs_no_request(home: Path) -> None:
    """As llama-server does behind a stream: the response promises nothing, and the next request on that connection is never answered."""
    asked: list[int] = []
    connections: list[asyncio.Task[Any]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        connections.append(task)
        async with closed_at_the_end(writer):
            for number in range(2):
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = next((int(line.split(":")[1]) for line in head.lower().splitlines() if line.startswith("content-length")), 0)
                await reader.readexactly(length)
                if head.split()[1] == "/v1/models":
                    data = json.dumps({"data": [{"id": "coder", "owned_by": "vllm", "max_model_len": 4096}]})
                else:
                    asked.append(number)
                    data = f"data: {json.dumps(choice('text', 'stop'))}\n\n"
                    if number:
                        break
                writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(data)}\r\n\r\n{data}".encode())
                await writer.drain()

    running = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with running, gateway(remote={"url": f"http://127.0.0.1:{running.sockets[0].getsockname()[1]}"}) as client:
        texts = [(await collect(client.complete(fill("x", model="auto"))))[0] for _ in range(4)]
    await asyncio.wait_for(asyncio.gather(*connections), 10)
    assert texts == ["text"] * 4
    assert asked.count(1) >= 2, "requests did meet connections that were closed"
