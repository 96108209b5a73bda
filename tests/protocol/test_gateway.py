"""The real gateway process with the scripted engine: starting, sharing, cancelling, failing, ending."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import stat
import subprocess
import sys
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx2
import pytest

from qwencoder_lsp import paths, settings
from qwencoder_lsp.core.prompt import PromptParts
from qwencoder_lsp.errors import EngineCrashed, EngineFailed, GatewayError, ModelCorrupt, ModelMissing, ModelUnknown, RequestError
from qwencoder_lsp.gateway import rendezvous
from qwencoder_lsp.gateway.find import connect
from qwencoder_lsp.gateway.protocol import PROTOCOL, CompleteRequest, End, Listening, ListenRequest, Piece
from tests.protocol.gateways import alive, ask, collect, end, fill, gateway, until, wait


async def test_a_completion_streams_and_ends_with_its_account(script: Any) -> None:
    script(rules=[{"contains": "def add", "text": "return a + b"}])
    async with gateway() as client:
        text, last = await collect(client.complete(fill("def add(a, b):\n    ")))
    assert text == "return a + b"
    assert isinstance(last, End)
    assert last.reason == "stop_token"
    assert last.usage.prompt > len("def add(a, b):\n    ")


async def test_chat_renders_the_template(script: Any) -> None:
    script(rules=[{"contains": "<|im_start|>user\nhello<|im_end|>", "text": "hi"}])
    async with gateway() as client:
        assert (await collect(client.chat(ask("hello"))))[0] == "hi"


async def test_two_windows_share_one_gateway_and_one_engine(script: Any) -> None:
    script(default="x")
    chosen = settings.load()[0]
    async with gateway() as one:
        two = await connect(chosen)
        await collect(one.complete(fill("a")))
        await collect(two.complete(fill("b")))
        first, second = await one.status(), await two.status()
        await two.close()
    assert first.pid == second.pid
    assert len({m.pid for m in (*first.models, *second.models)}) == 1


async def test_windows_that_start_at_once_get_one_gateway(script: Any) -> None:
    script(default="x")
    chosen = settings.load()[0]
    clients = await asyncio.gather(*(connect(chosen) for _ in range(4)))
    pids = {(await client.status()).pid for client in clients}
    for client in clients:
        await client.close()
    for pid in pids:
        end(pid)
    assert len(pids) == 1


async def test_closing_a_stream_stops_the_engine_even_before_its_first_token(script: Any) -> None:
    script(default="x", prefill_ms=60_000)
    async with gateway() as client:
        async with aclosing(client.complete(fill("a"))) as events:
            await anext(events)
            await until(client, lambda s: s.active == 1)
        await until(client, lambda s: s.active == 0, seconds=5)


async def test_closing_one_stream_leaves_the_others_of_the_window_alone(script: Any) -> None:
    script(default="x", prefill_ms=1000)
    async with gateway() as client:
        kept = asyncio.create_task(collect(client.complete(fill("a"))))
        async with aclosing(client.complete(fill("b"))) as events:
            await anext(events)
            await until(client, lambda s: s.active == 2)
        await until(client, lambda s: s.active == 1, seconds=0.9)
        assert (await kept)[0] == "x"


async def test_many_streams_of_a_window_get_each_its_own_answer(script: Any) -> None:
    script(rules=[{"contains": f"<{n}>", "text": f"answer {n}" * 20} for n in range(8)])
    async with gateway() as client:
        answers = await asyncio.gather(*(collect(client.complete(fill(f"<{n}>", max_tokens=1000))) for n in range(8)))
    assert [text for text, _ in answers] == [f"answer {n}" * 20 for n in range(8)]


async def test_a_window_that_goes_cancels_what_it_asked_for(script: Any) -> None:
    script(default="x", prefill_ms=60_000)
    async with gateway() as client:
        other = await connect(settings.load()[0])
        running = asyncio.create_task(collect(other.complete(fill("a"))))
        await until(client, lambda s: s.active == 1)
        await other.close()
        with pytest.raises(GatewayError, match="does not answer"):
            await running
        await until(client, lambda s: s.active == 0, seconds=5)


async def test_the_newest_request_of_a_document_replaces_the_older(script: Any) -> None:
    script(default="slow answer", prefill_ms=2000)
    async with gateway() as client:
        await collect(client.complete(fill("warm", document="other")))
        old = asyncio.create_task(collect(client.complete(fill("a", document="doc"))))
        await until(client, lambda s: s.active == 1)
        await asyncio.sleep(0.2)
        new = asyncio.create_task(collect(client.complete(fill("ab", document="doc"))))
        _, last = await old
        assert isinstance(last, End)
        assert last.reason == "superseded"
        assert (await new)[0] == "slow answer"


async def test_an_engine_killed_in_mid_request_is_reported_and_the_next_request_works(script: Any) -> None:
    script(default="abcdef", token_ms=200)
    async with gateway() as client:
        events = client.complete(fill("a"))
        async for event in events:
            if isinstance(event, Piece):
                break
        pid = (await client.status()).models[0].pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(EngineCrashed, match="ended unexpectedly"):
            async for _ in events:
                pass
        assert (await collect(client.complete(fill("a"))))[0] == "abcdef"
        assert (await client.status()).models[0].pid != pid


async def test_after_the_gateway_was_killed_the_next_window_starts_another_and_its_engine_is_gone(script: Any) -> None:
    script(default="x")
    chosen = settings.load()[0]
    async with gateway() as client:
        await collect(client.complete(fill("a")))
        status = await client.status()
        engine = status.models[0].pid
        assert engine is not None
        os.kill(status.pid, signal.SIGKILL)
        with pytest.raises(GatewayError, match="does not answer"):
            await client.status()
        assert await asyncio.to_thread(wait, lambda: not alive(engine), 10)
        assert rendezvous.socket_file().exists(), "the killed gateway leaves its socket behind; the next one must cope"
        again = await connect(chosen)
        assert (await collect(again.complete(fill("a"))))[0] == "x"
        pid = (await again.status()).pid
        await again.close()
        end(pid)
    assert pid != status.pid


async def test_a_left_over_socket_and_address_do_not_matter(script: Any) -> None:
    script(default="x")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(rendezvous.socket_file()))
    rendezvous.address_file().write_text(json.dumps({"pid": 1, "token": "old", "socket": str(rendezvous.socket_file()), "port": 0}))
    async with gateway() as client:
        assert (await collect(client.complete(fill("a"))))[0] == "x"


async def test_a_damaged_address_file_does_not_matter(script: Any) -> None:
    script(default="x")
    rendezvous.address_file().write_text('{"pid": ')
    async with gateway() as client:
        assert (await collect(client.complete(fill("a"))))[0] == "x"


async def test_the_gateway_ends_when_its_last_window_has_closed(script: Any) -> None:
    script(default="x")
    client = await connect(settings.load(editor={"gateway": {"linger_s": 0.5}})[0])
    async with aclosing(client.events()) as events:
        status = await anext(events)
        await collect(client.complete(fill("a")))
        engine = (await client.status()).models[0].pid
        await asyncio.sleep(2)
        assert alive(status.pid), "an open window keeps it"
    await client.close()
    assert await asyncio.to_thread(wait, lambda: not alive(status.pid), 5)
    assert engine is not None
    assert await asyncio.to_thread(wait, lambda: not alive(engine), 5)
    assert not rendezvous.address_file().exists()
    assert not rendezvous.socket_file().exists()


async def test_an_idle_model_is_unloaded_and_loaded_again(script: Any) -> None:
    script(default="x")
    async with gateway(engine={"idle_unload_s": 1.0}) as client:
        await collect(client.complete(fill("a")))
        await until(client, lambda s: s.models[0].state == "unloaded")
        assert (await collect(client.complete(fill("a"))))[0] == "x"


async def test_shutdown_ends_the_gateway_at_once_even_while_it_works(script: Any) -> None:
    script(default="x", prefill_ms=60_000)
    client = await connect(settings.load()[0])
    running = asyncio.create_task(collect(client.complete(fill("a"))))
    status = await until(client, lambda s: s.active == 1)
    await client.shutdown()
    assert await asyncio.to_thread(wait, lambda: not alive(status.pid), 5)
    with pytest.raises((EngineCrashed, GatewayError)):
        await running
    await client.close()


async def test_model_errors_say_what_to_do(home: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.gguf"
    wrong.write_bytes(b"not a model")
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(100))
    async with gateway() as client:
        for model, error, hint in (
            ("auto", ModelMissing, "qwencoder-lsp models pull"),
            ("qwencoder-1.5b", ModelMissing, "qwencoder-lsp models pull qwencoder-1.5b"),
            ("qwencoder-1.5", ModelUnknown, "qwencoder-1.5b"),
            (str(tmp_path / "none.gguf"), ModelMissing, "models list"),
            (str(wrong), ModelCorrupt, "models list"),
            (str(broken), EngineFailed, "models pull"),
        ):
            with pytest.raises(error) as caught:
                await collect(client.complete(CompleteRequest(PromptParts("a", ""), model=model)))
            assert hint in caught.value.hint
        assert (await client.status()).completion_model == ""


async def test_a_truncated_catalogue_model_is_refused(home: Path) -> None:
    paths.models_dir().mkdir(parents=True)
    (paths.models_dir() / "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf").write_bytes(b"GGUF" + bytes(1000))
    async with gateway() as client:
        with pytest.raises(ModelCorrupt, match="1004 bytes instead of 1117320768"):
            await collect(client.complete(CompleteRequest(PromptParts("a", ""), model="qwencoder-1.5b")))


@pytest.mark.parametrize("workspace", ["../../etc", "ABCDEF" * 6, "0" * 31])
async def test_the_key_of_a_workspace_can_be_no_path(script: Any, workspace: str) -> None:
    script(default="x")
    async with gateway() as client:
        with pytest.raises(RequestError, match="32 hexadecimal digits"):
            await collect(client.complete(fill("a", workspace=workspace)))
        assert (await collect(client.complete(fill("a", workspace="0" * 32))))[0] == "x"


async def test_a_prompt_that_cannot_fit_is_refused_by_name(script: Any) -> None:
    script(default="x")
    async with gateway(engine={"context": 512}) as client:
        with pytest.raises(RequestError, match="leave no room"):
            await collect(client.complete(fill("a", max_tokens=500)))


async def test_malformed_requests_get_a_clear_refusal(script: Any) -> None:
    script(default="x")
    async with gateway():
        address = rendezvous.read_address()
        assert address is not None
        transport = httpx2.AsyncHTTPTransport(uds=address.socket)
        async with httpx2.AsyncClient(transport=transport, base_url="http://gateway", headers={"Authorization": f"Bearer {address.token}"}) as http:
            answer = await http.post("/qwencoder/complete", json={"model": "scripted"})
            assert answer.status_code == 422
            assert "parts" in answer.json()["error"]["message"]
            lines = (
                b'{"id": 7, "complete": {"model": "scripted"}}\nnot JSON\n{"id": 8, "complete": {"parts": {"prefix": 1, "suffix": ""}}}\n{"id": 9}\n'
            )
            channel = await http.post("/qwencoder/window", content=lines)
            errors = [json.loads(line) for line in channel.text.splitlines()]
            assert [(error["id"], error["code"]) for error in errors] == [(7, "request"), (0, "request"), (8, "request")]
            assert "complete.parts: Field required" in errors[0]["message"]
            assert "complete.parts.prefix" in errors[2]["message"]
            http.headers["Authorization"] = "Bearer wrong"
            assert (await http.post("/qwencoder/window", content=b"")).status_code == 401
            refused = await http.post("/qwencoder/complete", json={})
            assert refused.status_code == 401
            assert (await http.get("/qwencoder/status", headers={"Authorization": ""})).status_code == 401


async def test_only_this_user_can_reach_the_socket(script: Any) -> None:
    script(default="x")
    async with gateway():
        assert stat.S_IMODE(paths.runtime_dir().stat().st_mode) == 0o700
        assert stat.S_IMODE(rendezvous.socket_file().stat().st_mode) == 0o600
        assert stat.S_IMODE(rendezvous.address_file().stat().st_mode) == 0o600


async def test_an_impostor_on_the_socket_gets_neither_token_nor_text(script: Any) -> None:
    got: list[bytes] = []

    async def impostor(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if request := await reader.read(65536):
            got.append(request)
            body = b'{"protocol": 1, "version": "0", "pid": 1, "proof": "guess"}'
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(impostor, str(rendezvous.socket_file()))
    rendezvous.publish()
    with pytest.raises(GatewayError, match="not our gateway"):
        await connect(settings.load()[0])
    server.close()
    address = rendezvous.read_address()
    assert address is not None
    assert got
    assert not any(address.token.encode() in request for request in got)


async def test_a_gateway_that_comes_while_the_address_of_a_killed_one_is_tried_is_found(script: Any) -> None:
    old = rendezvous.publish()

    async def fresh(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if request := await reader.read(65536):
            address = rendezvous.read_address()
            if address == old:
                address = rendezvous.publish()
            assert address is not None
            nonce = request.split(b"nonce=")[1].split()[0].decode()
            body = json.dumps({"protocol": PROTOCOL, "version": "0", "pid": 1, "proof": rendezvous.proof(address.token, nonce)}).encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(fresh, str(rendezvous.socket_file()))
    client = await connect(settings.load()[0], start=False)
    await client.close()
    server.close()


async def test_serving_on_tcp_lasts_as_long_as_someone_wants_it(script: Any) -> None:
    script(default="x")
    async with gateway() as client:
        async with aclosing(client.listen(ListenRequest("127.0.0.1", 0))) as events:
            event = await anext(events)
            assert isinstance(event, Listening)
            base = f"http://{event.address}"
            async with httpx2.AsyncClient() as http:
                assert (await http.get(f"{base}/health")).json()["status"] == "ok"
                assert (await http.get(f"{base}/v1/models")).json()["object"] == "list"
                assert (await http.get(f"{base}/health", headers={"Host": "evil.example"})).status_code == 403
                assert (await http.post(f"{base}/qwencoder/shutdown")).status_code == 404, "the private routes are not on TCP"
            assert (await client.status()).listening == event.address
            with pytest.raises(RequestError, match="already"):
                await collect(client.listen(ListenRequest("127.0.0.1", 0)))
        await until(client, lambda s: s.listening == "")
        with pytest.raises(httpx2.ConnectError):
            async with httpx2.AsyncClient() as http:
                await http.get(f"{base}/health")


@pytest.mark.parametrize(("host", "why"), [("0.0.0.0", "other machines"), ("example.org", "not an IP address")])
async def test_only_loopback_addresses_are_served(script: Any, host: str, why: str) -> None:
    async with gateway() as client:
        with pytest.raises(RequestError, match=why):
            await collect(client.listen(ListenRequest(host, 0)))


async def test_a_gateway_that_cannot_start_says_why(script: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rendezvous.socket_file().mkdir()
    with pytest.raises(GatewayError, match="could not start"):
        await connect(settings.load()[0])


def test_a_second_gateway_process_refuses_to_run(script: Any) -> None:
    lock = rendezvous.hold_life_lock()
    second = subprocess.run([sys.executable, "-m", "qwencoder_lsp.http"], input=b"{}", capture_output=True, timeout=30, check=False)
    lock.release()
    assert second.returncode == 1
    assert b"already" in second.stderr


def test_a_runtime_directory_that_others_can_enter_is_refused(home: Path) -> None:
    paths.runtime_dir().chmod(0o755)
    with pytest.raises(GatewayError, match="can be entered by others"):
        paths.runtime_dir()


async def test_no_source_text_reaches_the_logs(script: Any) -> None:
    script(default="SECRETANSWER")
    async with gateway() as client:
        await collect(client.complete(fill("SECRETPREFIX", "SECRETSUFFIX")))
        await collect(client.chat(ask("SECRETQUESTION")))
    await asyncio.sleep(0.2)
    logs = "".join(f.read_text("utf-8") for f in paths.log_dir().glob("*.log"))
    assert "gateway" in logs
    assert "SECRET" not in logs
