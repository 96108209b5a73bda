"""Find the user's gateway, or start one."""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import os
import secrets
import socket
import struct
import subprocess
import sys
import threading
import time

from filelock import Timeout

from qwencoder_lsp import paths
from qwencoder_lsp.errors import GatewayError, QwencoderError
from qwencoder_lsp.gateway import rendezvous
from qwencoder_lsp.gateway.client import GatewayClient
from qwencoder_lsp.gateway.elsewhere import http_at
from qwencoder_lsp.gateway.http1 import LocalHttp, Streams
from qwencoder_lsp.gateway.keys import own_key
from qwencoder_lsp.gateway.protocol import PROTOCOL
from qwencoder_lsp.gateway.rendezvous import Address
from qwencoder_lsp.observe.log import rotate
from qwencoder_lsp.settings import Settings

log = logging.getLogger(__name__)

START_TIMEOUT_S = 30.0
HELLO_S = 5.0


async def connect(settings: Settings, *, start: bool = True, local: bool = False) -> GatewayClient:
    """A client of the running gateway; starts one with `settings` when there is none and `start` is true. gateway.url names one elsewhere, which
    counts unless `local`.

    Raises GatewayError: nobody answers and `start` is false, or the gateway cannot be started (with its own last words), or the one elsewhere is not
    of our protocol or refuses the key; RequestError and SettingsError for a URL or key file that is none.
    """
    if settings.gateway.url and not local:
        return await _elsewhere(settings)
    client = await _try()
    if client:
        return client
    if not start:
        raise GatewayError("No gateway is running.", "It starts with the first editor window, or with: qwencoder-lsp serve")
    lock = rendezvous.start_lock()
    try:
        await asyncio.to_thread(lock.acquire, START_TIMEOUT_S)
    except Timeout:
        raise GatewayError("Another process has been starting the gateway for too long.", "See: qwencoder-lsp logs") from None
    try:
        return await _try() or await _start(settings)
    finally:
        lock.release()


async def _elsewhere(settings: Settings) -> GatewayClient:
    url = settings.gateway.url
    client = GatewayClient(*http_at(url, own_key("QWENCODER_GATEWAY_KEY", settings.gateway.url_key_file, "gateway.url_key_file")))
    try:
        protocol = (await client.hello()).protocol
    except GatewayError:
        await client.close()
        raise
    except (QwencoderError, TypeError, ValueError) as error:
        await client.close()
        raise GatewayError(f"What answers at {url} is no gateway of ours.", "Check gateway.url.") from error
    if protocol != PROTOCOL:
        await client.close()
        raise GatewayError(f"The gateway at {url} speaks protocol {protocol}, this program {PROTOCOL}.", "Install the same version on both machines.")
    return client


async def _try() -> GatewayClient | None:
    tried: Address | None = None
    while (address := rendezvous.read_address()) and address != tried:  # it is another one when a gateway came meanwhile
        if client := await _reach(address):
            return client
        tried = address
    return None


async def _reach(address: Address) -> GatewayClient | None:
    http = LocalHttp(lambda: _open(address), f"Bearer {address.token}")
    trusted = False
    try:
        if address.socket:
            _check_peer(address.socket)
        await _check(http, address)
        trusted = True
    except (OSError, _NotThere) as error:  # a left-over file of a gateway that was killed
        log.info("gateway at %s does not answer: %s", address.socket or address.port, error)
        return None
    finally:
        if not trusted:
            await http.close()
    return GatewayClient(http)


class _NotThere(Exception):
    """Nobody answers, or not as a gateway of our protocol."""


async def _open(address: Address) -> Streams:
    if address.socket:
        return await asyncio.open_unix_connection(address.socket)
    return await asyncio.open_connection("127.0.0.1", address.port)


def _check_peer(path: str) -> None:
    """The directory is private already; on Linux the kernel also says who listens (SO_PEERCRED, unix(7)).

    Raises OSError when nobody listens, GatewayError when somebody else does.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(2)
        probe.connect(path)
        if hasattr(socket, "SO_PEERCRED"):
            _, uid, _ = struct.unpack("3i", probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            if uid != os.getuid():
                raise GatewayError(f"The gateway's socket belongs to user {uid}.", f"Remove {path} and try again.")


async def _check(http: LocalHttp, address: Address) -> None:
    """Ask who is there, without the token: it must prove that it knows it before it gets any source text."""
    nonce = secrets.token_hex(16)
    try:
        # A gateway that is stopped still has its socket: the kernel connects, and nobody ever answers.
        async with await asyncio.wait_for(http.send("GET", f"/qwencoder/hello?nonce={nonce}", anonymous=True), HELLO_S) as reply:
            hello = json.loads(await asyncio.wait_for(reply.body(), HELLO_S))
        given, protocol = str(hello["proof"]), hello["protocol"]
    except (GatewayError, asyncio.TimeoutError, ValueError, KeyError, TypeError) as error:
        raise _NotThere(type(error).__name__) from error
    if not hmac.compare_digest(given, rendezvous.proof(address.token, nonce)):
        if rendezvous.read_address() != address:  # we read the one that a killed gateway left, and meanwhile a new gateway took its socket
            raise _NotThere("another gateway has come")
        raise GatewayError("Something that is not our gateway answers on its address.", "Run: qwencoder-lsp stop, then try again.")
    if protocol != PROTOCOL:
        raise _NotThere(f"protocol {protocol}")


async def _start(settings: Settings) -> GatewayClient:
    log_file = paths.log_dir() / "gateway.log"
    log_file.parent.mkdir(parents=True, exist_ok=True)
    rotate(log_file)
    size = log_file.stat().st_size if log_file.exists() else 0
    new_group = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)  # exists on Windows alone, where start_new_session does nothing
    with log_file.open("ab") as output:
        process = subprocess.Popen(  # noqa: ASYNC220 - it must outlive this event loop
            [sys.executable, "-m", "qwencoder_lsp.http"],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            cwd=paths.NEUTRAL,
            env=paths.neutral_environment(),
            start_new_session=True,
            creationflags=new_group,
        )
    assert process.stdin is not None
    process.stdin.write(json.dumps(settings.model_dump()).encode())
    process.stdin.close()
    threading.Thread(target=process.wait, name="reap gateway", daemon=True).start()  # it may end long before us, and would stay as a zombie
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if client := await _try():
            return client
        if process.poll() is not None:
            with log_file.open("rb") as text:
                text.seek(size)
                lines = text.read().decode("utf-8", "replace").strip().splitlines()
            raise GatewayError(f"The gateway could not start: {lines[-1] if lines else f'exit code {process.returncode}'}.", f"See {log_file}")
        await asyncio.sleep(0.03)
    process.kill()
    raise GatewayError(f"The gateway did not answer within {START_TIMEOUT_S:.0f} s.", f"See {log_file}")
