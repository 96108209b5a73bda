"""The routes for language servers and the command line; gateway/protocol.py describes them. Served on the private socket only."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncGenerator
from dataclasses import asdict
from typing import Any

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from qwencoder_lsp import __version__
from qwencoder_lsp.errors import GatewayError, QwencoderError, RequestError, to_wire
from qwencoder_lsp.gateway.protocol import PROTOCOL, SERVICE, ChatRequest, CompleteRequest, Event, Hello, ListenRequest, PullRequest
from qwencoder_lsp.gateway.rendezvous import proof
from qwencoder_lsp.http import download, generate, listen
from qwencoder_lsp.http.channel import Channel
from qwencoder_lsp.http.service import Service
from qwencoder_lsp.http.stream import JsonLines, event_lines


def internal_app(service: Service, token: str, public: ASGIApp) -> FastAPI:
    """The application. public: the one for TCP, which has a place under it too. Every route but hello wants `Authorization: Bearer TOKEN`."""
    app = FastAPI(title="qwencoder-lsp gateway", openapi_url=None, docs_url=None, redoc_url=None)

    def known(headers: Headers) -> bool:
        return secrets.compare_digest(headers.get("authorization", "").encode(), f"Bearer {token}".encode())

    async def authorised(request: Request) -> None:
        if not known(request.headers):
            raise GatewayError("The gateway does not know this client.", "Close the editor windows of other users or versions, and try again.")

    async def counted(events: AsyncGenerator[Event, None]) -> AsyncGenerator[dict[str, Any], None]:
        lines = event_lines(events)
        try:
            with service.working():
                async for line in lines:
                    if line["type"] == "error":
                        service.failed(line["code"])
                    yield line
        finally:
            await lines.aclose()

    @app.exception_handler(QwencoderError)
    async def failed(_: Request, error: QwencoderError) -> JSONResponse:
        return JSONResponse({"error": to_wire(error)}, 401 if isinstance(error, GatewayError) else 400)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return JSONResponse({"error": to_wire(RequestError(f"{where}: {first['msg']}.", "Correct the request."))}, 422)

    @app.get("/qwencoder/hello")
    async def hello(nonce: str) -> Hello:
        return Hello(PROTOCOL, __version__, os.getpid(), proof(token, nonce))

    private = [Depends(authorised)]

    @app.get("/qwencoder/events", dependencies=private)
    async def events() -> JsonLines:
        async def lines() -> AsyncGenerator[dict[str, Any], None]:
            states = service.events()
            try:
                async for status in states:
                    yield asdict(status)
            finally:
                await states.aclose()

        return JsonLines(lines())

    @app.get("/qwencoder/status", dependencies=private)
    async def status() -> dict[str, Any]:
        return asdict(service.status)

    @app.post("/qwencoder/complete", dependencies=private)
    async def complete(request: CompleteRequest) -> JsonLines:
        return JsonLines(counted(generate.complete(service.host, request)))

    @app.post("/qwencoder/window", dependencies=private)
    async def window() -> Channel:
        return Channel(lambda request: counted(generate.complete(service.host, request)), service.heard, service.stopping)

    @app.post("/qwencoder/chat", dependencies=private)
    async def chat(request: ChatRequest) -> JsonLines:
        return JsonLines(counted(generate.chat(service.host, request)))

    @app.post("/qwencoder/models/pull", dependencies=private)
    async def pull(request: PullRequest) -> JsonLines:
        return JsonLines(counted(download.download(service, request)))

    @app.post("/qwencoder/listen", dependencies=private)
    async def serve(request: ListenRequest) -> JsonLines:
        return JsonLines(counted(listen.listen(service, request, public)))

    @app.post("/qwencoder/shutdown", dependencies=private)
    async def shutdown() -> dict[str, Any]:
        service.stop()
        return {}

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        stranger = JSONResponse({"error": {"message": "Unknown client.", "type": "authentication_error", "code": "gateway", "param": None}}, 401)
        await (public if known(Headers(scope=scope)) else stranger)(scope, receive, send)

    app.mount(SERVICE, guarded)
    return app
