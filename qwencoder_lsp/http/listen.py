"""Serving on TCP for as long as somebody asks for it."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import AsyncGenerator

import uvicorn
from starlette.types import ASGIApp

from qwencoder_lsp.errors import RequestError
from qwencoder_lsp.gateway.protocol import Event, Listening, ListenRequest
from qwencoder_lsp.http.guard import Guard, Limits
from qwencoder_lsp.http.service import Service
from qwencoder_lsp.http.wire import PublicProtocol


class Server(uvicorn.Server):
    """A uvicorn server that leaves the process's signals alone."""

    def __init__(self, app: ASGIApp, protocol: type[asyncio.Protocol] | None = None) -> None:
        super().__init__(uvicorn.Config(app, http=protocol or "auto", log_config=None, access_log=False, timeout_graceful_shutdown=1, lifespan="off"))

    def install_signal_handlers(self) -> None:
        """None: the gateway has its own."""

    async def run_on(self, *socks: socket.socket) -> None:
        """Serve until `should_exit`."""
        await self._serve(list(socks))


async def listen(service: Service, request: ListenRequest, app: ASGIApp) -> AsyncGenerator[Event, None]:
    """One Listening; serves `app` until it is closed or the gateway stops. Raises RequestError for an address that cannot be had."""
    if service.listening:
        raise RequestError(f"The gateway serves on {service.listening} already.", "Stop the other `qwencoder-lsp serve` first.")
    ports = (request.port,) if request.ollama_port is None else (request.port, request.ollama_port)
    socks: list[socket.socket] = []
    try:
        for port in ports:
            sock, loopback = bind(request.host, port, with_keys=bool(request.keys))
            socks.append(sock)
    except RequestError:
        for sock in socks:
            sock.close()
        raise
    limits = Limits(request.keys, request.key_concurrency, request.key_rate, request.max_body_mb << 20)
    server = Server(Guard(app, limits, _address(socks[0]).rpartition(":")[0] if loopback else None), PublicProtocol)
    task = asyncio.create_task(server.run_on(*socks))
    service.listening = ", ".join(map(_address, socks))
    service.changed()
    try:
        yield Listening(_address(socks[0]), _address(socks[1]) if len(socks) > 1 else "")
        await service.stopping.wait()
    finally:
        server.should_exit = True
        await task
        for sock in socks:
            sock.close()
        service.listening = ""
        service.changed()


def _address(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def bind(host: str, port: int, *, with_keys: bool) -> tuple[socket.socket, bool]:
    """A listening socket, and whether only this machine can reach it. Raises RequestError."""
    try:
        address = ipaddress.ip_address({"localhost": "127.0.0.1"}.get(host, host))
    except ValueError:
        raise RequestError(f"{host!r} is not an IP address.", "Use 127.0.0.1.") from None
    if not address.is_loopback and not with_keys:
        raise RequestError(
            f"{host} can be reached from other machines, and there is no API key.", "Set QWENCODER_API_KEYS or gateway.key_file, or use 127.0.0.1."
        )
    sock = socket.socket(socket.AF_INET6 if address.version == 6 else socket.AF_INET)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((str(address), port))
        sock.listen(128)
    except OSError as error:
        sock.close()
        raise RequestError(f"{host}:{port} cannot be used ({error.strerror}).", "Choose another port: --port or QWENCODER_PORT.") from error
    return sock, address.is_loopback
