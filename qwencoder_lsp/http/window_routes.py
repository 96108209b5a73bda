"""What a language server asks its gateway for, on the private socket and, for a team's members, on TCP behind a key: status, completions, chats.

gateway/protocol.py describes the routes. Here a name may be restricted: what is a file on this machine is not for everybody to choose.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from dataclasses import asdict, replace
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from qwencoder_lsp import __version__
from qwencoder_lsp.errors import GatewayError, QwencoderError, RequestError, to_wire
from qwencoder_lsp.gateway.protocol import PROTOCOL, ChatRequest, CompleteRequest, Event, Hello
from qwencoder_lsp.http import generate
from qwencoder_lsp.http.openai_plan import named
from qwencoder_lsp.http.service import Service
from qwencoder_lsp.http.stream import JsonLines, event_lines

Named = Callable[[str, str], str]


def team_app(service: Service) -> FastAPI:
    """The application for language servers on other machines. Who they are is decided in guard.py."""
    app = FastAPI(title="qwencoder-lsp team", openapi_url=None, docs_url=None, redoc_url=None)
    own = service.settings.model
    report_as_events_do(app)

    @app.get("/hello")
    async def hello() -> Hello:
        return Hello(PROTOCOL, __version__, 0, "")

    app.include_router(window_routes(service, lambda role, name: named(service.settings, name, own.completion if role == "completion" else own.chat)))
    return app


def window_routes(service: Service, allowed: Named = lambda role, name: name) -> APIRouter:
    """The routes. allowed: the model that a name means for a role; raises ModelError for one that is not to be had."""
    router = APIRouter()

    @router.get("/events")
    async def events() -> JsonLines:
        async def lines() -> AsyncGenerator[dict[str, Any], None]:
            states = service.events()
            try:
                async for status in states:
                    yield asdict(status)
            finally:
                await states.aclose()

        return JsonLines(lines())

    @router.get("/status")
    async def status() -> dict[str, Any]:
        return asdict(service.status)

    @router.post("/complete")
    async def complete(request: CompleteRequest) -> JsonLines:
        asked = replace(request, model=allowed("completion", request.model))
        return JsonLines(counted(service, generate.complete(service.host, asked)))

    @router.post("/chat")
    async def chat(request: ChatRequest) -> JsonLines:
        asked = replace(request, model=allowed("chat", request.model))
        return JsonLines(counted(service, generate.chat(service.host, asked)))

    return router


async def counted(service: Service, events: AsyncGenerator[Event, None]) -> AsyncGenerator[dict[str, Any], None]:
    """The events as JSON objects; counts as a running request."""
    lines = event_lines(events)
    try:
        with service.working():
            async for line in lines:
                if line["type"] == "error":
                    service.failed(line["code"])
                yield line
    finally:
        await lines.aclose()


def report_as_events_do(app: FastAPI) -> None:
    """Make `app` report errors as {"error": {"code", "message", "hint"}}, as errors within a stream are."""

    @app.exception_handler(QwencoderError)
    async def failed(_: Request, error: QwencoderError) -> JSONResponse:
        return JSONResponse({"error": to_wire(error)}, 401 if isinstance(error, GatewayError) else 400)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return JSONResponse({"error": to_wire(RequestError(f"{where}: {first['msg']}.", "Correct the request."))}, 422)
