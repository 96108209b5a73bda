"""The routes on TCP. Loopback only, without a key; a Host header that is not ours is refused, so that no web page can reach us by DNS rebinding."""

from __future__ import annotations

import time
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.middleware.base import RequestResponseEndpoint
from starlette.responses import Response

from qwencoder_lsp import __version__
from qwencoder_lsp.http.service import Service
from qwencoder_lsp.models import store

LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})


def public_app(service: Service) -> FastAPI:
    """The application."""
    app = FastAPI(title="qwencoder-lsp", version=__version__)
    started = int(time.time())

    @app.middleware("http")
    async def own_host(request: Request, call_next: RequestResponseEndpoint) -> Response:
        host = request.headers.get("host", "")
        if host.rsplit(":", 1)[0] not in LOOPBACK:
            error = {"message": f"Host {host!r} is not served here.", "type": "invalid_request_error", "code": "host", "param": None}
            return JSONResponse({"error": error}, 403)
        return await call_next(request)

    @app.get("/health")
    async def health() -> dict[str, Any]:
        status = service.status
        models = [{"name": m.name, "state": m.state, "device": m.device} for m in status.models]
        return {
            "status": "ok",
            "version": __version__,
            "completion_model": status.completion_model,
            "chat_model": status.chat_model,
            "models": models,
        }

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        rows = [
            {"id": m.name, "object": "model", "created": started, "owned_by": "qwencoder-lsp", "meta": {"size": m.size}} for m in store.installed()
        ]
        return {"object": "list", "data": rows}

    return app
