"""TLS by a reverse proxy: qwencoder_lsp/http/nginx.conf in a real nginx, in front of a real gateway."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from qwencoder_lsp import settings
from qwencoder_lsp.gateway.find import connect
from qwencoder_lsp.gateway.protocol import ListenRequest, Piece
from tests.protocol.elsewhere import KEY
from tests.protocol.fronts import front
from tests.protocol.gateways import ask, collect, fill

NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
CONFIGURATION = Path(__file__).parents[2] / "qwencoder_lsp" / "http" / "nginx.conf"


@contextmanager
def proxy(directory: Path, backend: str) -> Iterator[str]:
    """The URL of nginx with our configuration, for 127.0.0.1 and with a certificate of its own in `directory`/coder.pem."""
    assert NGINX
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    certificate = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1"]
    certificate += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(directory / "coder.key"), "-out", str(directory / "coder.pem")]
    subprocess.run(certificate, check=True, capture_output=True)
    text = CONFIGURATION.read_text("utf-8")
    for ours, here in (
        ("127.0.0.1:11452", backend),
        ("listen 443", f"listen 127.0.0.1:{port}"),
        ("/etc/nginx/", f"{directory}/"),
        ("worker_processes auto;", f"worker_processes 1; daemon off; error_log {directory}/error.log; pid {directory}/pid;"),
        ("http {", f"http {{ access_log off; client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy; "),
    ):
        assert ours in text, ours
        text = text.replace(ours, here)
    text = text.replace(
        "access_log off;", "access_log off; " + " ".join(f"{kind}_temp_path {directory}/{kind};" for kind in ("fastcgi", "uwsgi", "scgi"))
    )
    (directory / "nginx.conf").write_text(text, "utf-8")
    process = subprocess.Popen([NGINX, "-c", str(directory / "nginx.conf"), "-p", str(directory), "-e", str(directory / "error.log")])
    try:
        yield f"https://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


@pytest.mark.skipif(NGINX is None, reason="nginx is not installed: apt-get install nginx-light")
async def test_a_member_is_served_through_nginx_with_tls(script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(default="slow answer", token_ms=60)
    monkeypatch.setenv("QWENCODER_GATEWAY_KEY", KEY)
    async with front(ListenRequest("127.0.0.1", 0, (KEY,))) as f:
        with proxy(tmp_path, f"{f.http.base_url.host}:{f.http.base_url.port}") as url:
            monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "coder.pem"))
            assert ssl.create_default_context().cert_store_stats()["x509_ca"] >= 1
            chosen = settings.load(editor={"gateway": {"url": url}}, strict=True)[0]
            client = None
            for _ in range(50):
                try:
                    client = await connect(chosen)
                    break
                except Exception:  # nginx is still starting
                    await asyncio.sleep(0.1)
            assert client is not None
            assert (await collect(client.complete(fill("x", model="auto"))))[0] == "slow answer"
            events = client.chat(ask("hello", model="auto"))
            pieces = [event async for event in events if isinstance(event, Piece)]
            assert len(pieces) > 3, "tokens come as they are made"
            async with aclosing(client.chat(ask("hello", model="auto"))) as events:
                await anext(events)
                await anext(events)
            await f.busy(0)
            async with aclosing(client.events()) as states:
                assert (await anext(states)).completion_model == "scripted"
            await client.close()
