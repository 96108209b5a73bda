"""The routes for language servers and the command line; gateway/protocol.py describes them. Served on the private socket only."""

from __future__ import annotations

import os
import secrets
from typing import Any

from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from qwencoder_lsp import __version__
from qwencoder_lsp.errors import GatewayError
from qwencoder_lsp.gateway.protocol import PROTOCOL, SERVICE, Hello, ListenRequest, PullRequest
from qwencoder_lsp.gateway.rendezvous import proof
from qwencoder_lsp.http import download, generate, listen
from qwencoder_lsp.http.channel import Channel
from qwencoder_lsp.http.service import Service
from qwencoder_lsp.http.stream import JsonLines
from qwencoder_lsp.http.window_routes import counted, report_as_events_do, window_routes


def internal_app(service: Service, token: str, public: ASGIApp) -> FastAPI:
    """The application. public: the one for TCP, which has a place under it too. Every route but hello wants `Authorization: Bearer TOKEN`."""
    app = FastAPI(title="qwencoder-lsp gateway", openapi_url=None, docs_url=None, redoc_url=None)

    def known(headers: Headers) -> bool:
        return secrets.compare_digest(headers.get("authorization", "").encode(), f"Bearer {token}".encode())

    async def authorised(request: Request) -> None:
        if not known(request.headers):
            raise GatewayError("The gateway does not know this client.", "Close the editor windows of other users or versions, and try again.")

    report_as_events_do(app)

    @app.get("/qwencoder/hello")
    async def hello(nonce: str) -> Hello:
        return Hello(PROTOCOL, __version__, os.getpid(), proof(token, nonce))

    private = [Depends(authorised)]

    app.include_router(window_routes(service), prefix="/qwencoder", dependencies=private)

    @app.post("/qwencoder/window", dependencies=private)
    async def window() -> Channel:
        return Channel(lambda request: counted(service, generate.complete(service.host, request)), service.heard, service.stopping)

    @app.post("/qwencoder/models/pull", dependencies=private)
    async def pull(request: PullRequest) -> JsonLines:
        return JsonLines(counted(service, download.download(service, request)))

    @app.post("/qwencoder/listen", dependencies=private)
    async def serve(request: ListenRequest) -> JsonLines:
        return JsonLines(counted(service, listen.listen(service, request, public)))

    @app.post("/qwencoder/shutdown", dependencies=private)
    async def shutdown() -> dict[str, Any]:
        service.stop()
        return {}

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        stranger = JSONResponse({"error": {"message": "Unknown client.", "type": "authentication_error", "code": "gateway", "param": None}}, 401)
        await (public if known(Headers(scope=scope)) else stranger)(scope, receive, send)

    app.mount(SERVICE, guarded)
    return app
