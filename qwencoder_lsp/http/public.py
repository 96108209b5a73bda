"""The routes on TCP. Loopback only, without a key; a Host header that is not ours is refused, so that no web page can reach us by DNS rebinding."""

from __future__ import annotations

import time
from typing import Any

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from qwencoder_lsp import __version__
from qwencoder_lsp.errors import ModelError
from qwencoder_lsp.http.failures import report_in_one_shape, shape
from qwencoder_lsp.http.openai_plan import AUTO, chat_model, text_model
from qwencoder_lsp.http.openai_routes import openai_routes
from qwencoder_lsp.http.service import Service
from qwencoder_lsp.models import store

LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})


class OwnHost:
    """Refuses requests that are meant for another host. Plain ASGI: Starlette's wrapper would stand between a response and the news that its
    client has gone."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        host = Headers(scope=scope).get("host", "") if scope["type"] == "http" else "localhost"
        if host.rsplit(":", 1)[0] in LOOPBACK:
            await self._app(scope, receive, send)
        else:
            refusal = JSONResponse(shape(f"Host {host!r} is not served here.", "invalid_request_error", "host"), 403)
            await refusal(scope, receive, send)


def public_app(service: Service) -> FastAPI:
    """The application."""
    app = FastAPI(title="qwencoder-lsp", version=__version__)
    app.add_middleware(OwnHost)
    report_in_one_shape(app)
    app.include_router(openai_routes(service))
    started = int(time.time())

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
        found = {m.name: m for m in (*_own(service), *store.installed())}
        rows = [{"id": m.name, "object": "model", "created": started, "owned_by": "qwencoder-lsp", "meta": {"size": m.size}} for m in found.values()]
        return {"object": "list", "data": rows}

    return app


def _own(service: Service) -> list[store.InstalledModel]:
    """The models of the service's settings, which may lie outside the catalogue."""
    found = []
    for choose in (text_model, chat_model):
        try:
            found.append(choose(service, AUTO))
        except ModelError:  # not installed; a request for it gets the reason
            continue
    return found
