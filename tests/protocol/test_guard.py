"""Who may ask on TCP: keys, hosts, origins, sizes and speeds."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from qwencoder_lsp.errors import RequestError, SettingsError
from qwencoder_lsp.gateway.protocol import ListenRequest
from qwencoder_lsp.http import wire
from qwencoder_lsp.operate.keys import load_keys
from qwencoder_lsp.settings import load
from tests.protocol.fronts import front
from tests.protocol.gateways import collect, gateway

KEY, OTHER = "k" * 24, "o" * 24
ASK = {"prompt": "x"}


async def test_with_keys_every_route_but_health_wants_one(script: Any) -> None:
    script(default="x")
    async with front(ListenRequest("127.0.0.1", 0, (KEY, OTHER))) as f:
        assert (await f.client.completions.create(model="auto", prompt="x")).choices[0].text == "x"
        assert (await f.http.get("/health")).status_code == 200
        wrong_ones: list[dict[bytes, bytes]] = [
            {},
            {b"Authorization": b"Bearer wrong"},
            {b"Authorization": KEY.encode()},
            {b"X-Api-Key": KEY[:-1].encode()},
            {b"Authorization": b"Bearer \xe9"},
        ]
        for given in wrong_ones:
            for path in ("/v1/models", "/metrics", "/openapi.json", "/nothing"):
                answer = await f.http.get(path, headers=given)
                assert (answer.status_code, answer.json()["error"]["type"]) == (401, "authentication_error")
            assert (await f.http.post("/v1/completions", json=ASK, headers=given)).status_code == 401
        for headers in ({"Authorization": f"bearer {OTHER}"}, {"X-Api-Key": KEY}):
            assert (await f.http.get("/v1/models", headers=headers)).status_code == 200
        wrong = openai.AsyncOpenAI(base_url=f.client.base_url, api_key="wrong", max_retries=0)
        with pytest.raises(openai.AuthenticationError):
            await wrong.models.list()
        await wrong.close()


async def test_without_a_key_other_machines_are_not_served(script: Any) -> None:
    async with gateway() as client:
        with pytest.raises(RequestError, match="no API key"):
            await collect(client.listen(ListenRequest("0.0.0.0", 0)))
    script(default="x")
    async with front(ListenRequest("0.0.0.0", 0, (KEY,))) as f:
        answer = await f.http.get("/v1/models", headers={"X-Api-Key": KEY, "Host": "team.example"})
        assert answer.status_code == 200


async def test_each_key_has_its_own_limits(script: Any) -> None:
    script(default="x", prefill_ms=60_000)
    async with front(ListenRequest("127.0.0.1", 0, (KEY, OTHER), key_concurrency=1, key_rate=3)) as f:
        one, other = {"X-Api-Key": KEY}, {"X-Api-Key": OTHER}
        running = asyncio.create_task(f.http.post("/v1/completions", json=ASK, headers=one))
        await f.busy(1)
        refused = await f.http.post("/v1/completions", json=ASK, headers=one)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limit")
        assert int(refused.headers["retry-after"]) >= 1
        answers = [(await f.http.post("/v1/completions", json={}, headers=other)).status_code for _ in range(4)]
        assert answers == [400, 400, 400, 429]
        assert (await f.http.get("/v1/models", headers=other)).status_code == 200, "looking costs nothing"
        running.cancel()


async def test_pages_of_other_sites_may_not_ask(script: Any) -> None:
    script(default="x")
    async with front() as f:
        for origin, status in (
            ("https://evil.example", 403),
            ("http://localhost.evil.example", 403),
            ("null", 403),
            ("http://localhost:3000", 200),
            ("vscode-webview://abc", 200),
        ):
            answer = await f.http.post("/v1/completions", json=ASK, headers={"Origin": origin})
            assert answer.status_code == status, origin
            assert answer.headers.get("access-control-allow-origin") == (origin if status == 200 else None)
            asked = {"Origin": origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
            assert (await f.http.options("/v1/completions", headers=asked)).status_code == (200 if status == 200 else 400)
        assert (await f.http.post("/v1/completions", json=ASK, headers={"Host": "evil.example"})).status_code == 403


async def test_what_is_no_browser_need_not_say_on_ollamas_routes_that_it_sends_json(script: Any) -> None:
    script(default="x")
    form, text = "application/x-www-form-urlencoded", "text/plain"
    body = b'{"model": "scripted", "prompt": "x", "stream": false}'

    async def ask(path: str, **headers: str) -> int:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return (await f.http.post(path, content=body, headers=named)).status_code

    async with front() as f:
        assert [await ask("/api/generate", Content_Type=kind) for kind in (form, text)] == [200, 200], "as curl -d sends it"
        assert await ask("/api/generate") == 200
        for origin, status in (("http://evil.example", 403), ("null", 403), ("http://localhost:3000", 400), ("", 400)):
            assert [await ask("/api/generate", Content_Type=kind, Origin=origin) for kind in (form, text)] == [status, status], origin
        for site in ("cross-site", "same-site", "same-origin", "none"):
            assert await ask("/api/generate", Content_Type=form, Sec_Fetch_Site=site) == 400, site
        assert [await ask(path, Content_Type=form) for path in ("/v1/completions", "/completion", "/models/unload")] == [400, 400, 400]
        broken = await f.http.post("/api/generate", content=b"model=scripted&prompt=x", headers={"Content-Type": form})
        assert (broken.status_code, "not valid JSON" in broken.json()["error"]) == (400, True)


@pytest.mark.skipif(sys.platform == "darwin", reason="its only loopback address is 127.0.0.1")
async def test_the_loopback_address_that_is_served_is_its_own_host_and_others_are_not(script: Any) -> None:
    script(default="x")
    async with front(ListenRequest("127.0.0.2", 0)) as f:
        assert f.http.base_url.host == "127.0.0.2"
        assert (await f.http.post("/v1/completions", json=ASK)).status_code == 200
        for host, status in (("localhost:1", 200), ("127.0.0.3:1", 403), ("127.0.0.2.evil.example", 403)):
            assert (await f.http.post("/v1/completions", json=ASK, headers={"Host": host})).status_code == status, host


async def test_bodies_and_headers_have_a_limit(script: Any) -> None:
    script(default="x")

    async def endless() -> Any:
        for _ in range(3):
            yield b" " * (1 << 20)

    async with front(ListenRequest("127.0.0.1", 0, max_body_mb=1)) as f:
        json_type = {"Content-Type": "application/json"}
        large = await f.http.post("/v1/completions", content=b" " * (2 << 20), headers=json_type)
        chunked = await f.http.post("/v1/completions", content=endless(), headers=json_type)
        for answer in (large, chunked):
            assert (answer.status_code, answer.json()["error"]["type"]) == (413, "invalid_request_error")
        with contextlib.suppress(httpx2.TransportError):  # closed while the client was still writing
            assert (await f.http.get("/health", headers={"X-Large": "x" * (1 << 20)})).status_code == 431
        deep = await f.http.post("/v1/completions", content=b'{"prompt":' + b"[" * 100_000 + b"]" * 100_000 + b"}", headers=json_type)
        broken = await f.http.post("/v1/completions", content=b'{"prompt": "\xff\xfe"}', headers=json_type)
        assert (deep.status_code, broken.status_code) == (400, 400)
        assert (await f.client.completions.create(model="auto", prompt="x")).choices[0].text == "x"


async def test_a_connection_that_sends_no_request_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The protocol alone: in a gateway it takes HEAD_S."""
    import uvicorn

    monkeypatch.setattr(wire, "HEAD_S", 0.2)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("no request is complete")

    config = uvicorn.Config(app, http=wire.PublicProtocol, log_config=None, lifespan="off", port=0)
    config.load()
    server_state = uvicorn.Server(config).server_state
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: wire.PublicProtocol(config, server_state, {}), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    for begun in (b"", b"GET / HTTP/1.1\r\nHost: x\r\nX: "):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(begun)
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()
    server.close()


def test_keys_come_from_a_private_file_and_the_environment(home: Path, tmp_path: Path) -> None:
    def api_keys(path: str, environment: str) -> tuple[str, ...]:
        return load_keys(load(command_line={"gateway": {"key_file": path}})[0], environment)

    file = tmp_path / "keys"
    file.write_text(f"# the team\n{KEY}  # Ann\n\n{OTHER}\n")
    file.chmod(0o600)
    assert api_keys(str(file), f"{'e' * 16}, {KEY}") == (KEY, OTHER, "e" * 16)
    assert api_keys("", "") == ()
    with pytest.raises(SettingsError, match="shorter than 16"):
        api_keys("", "short")
    file.chmod(0o644)
    with pytest.raises(SettingsError, match="others may read"):
        api_keys(str(file), "")
    with pytest.raises(SettingsError, match="cannot be read"):
        api_keys(str(tmp_path / "none"), "")


def test_keys_are_not_shown() -> None:
    assert KEY not in repr(ListenRequest("127.0.0.1", 0, (KEY,)))
