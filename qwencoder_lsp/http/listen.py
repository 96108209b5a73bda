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
from qwencoder_lsp.http.public import public_app
from qwencoder_lsp.http.service import Service


class Server(uvicorn.Server):
    """A uvicorn server that leaves the process's signals alone."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=1, lifespan="off"))

    def install_signal_handlers(self) -> None:
        """None: the gateway has its own."""

    async def run_on(self, sock: socket.socket) -> None:
        """Serve until `should_exit`."""
        await self._serve([sock])


async def listen(service: Service, request: ListenRequest) -> AsyncGenerator[Event, None]:
    """One Listening; serves until it is closed or the gateway stops. Raises RequestError for an address that cannot be had."""
    if service.listening:
        raise RequestError(f"The gateway serves on {service.listening} already.", "Stop the other `qwencoder-lsp serve` first.")
    sock = bind(request.host, request.port)
    server = Server(public_app(service))
    task = asyncio.create_task(server.run_on(sock))
    host, port = sock.getsockname()[:2]
    service.listening = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    service.changed()
    try:
        yield Listening(service.listening)
        await service.stopping.wait()
    finally:
        server.should_exit = True
        await task
        sock.close()
        service.listening = ""
        service.changed()


def bind(host: str, port: int) -> socket.socket:
    """A listening socket on a loopback address. Raises RequestError."""
    try:
        address = ipaddress.ip_address({"localhost": "127.0.0.1"}.get(host, host))
    except ValueError:
        raise RequestError(f"{host!r} is not an IP address.", "Use 127.0.0.1.") from None
    if not address.is_loopback:
        raise RequestError(f"{host} can be reached from other machines.", "Only loopback addresses are served: 127.0.0.1 or ::1.")
    sock = socket.socket(socket.AF_INET6 if address.version == 6 else socket.AF_INET)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((str(address), port))
        sock.listen(128)
    except OSError as error:
        sock.close()
        raise RequestError(f"{host}:{port} cannot be used ({error.strerror}).", "Choose another port: --port or QWENCODER_PORT.") from error
    return sock
