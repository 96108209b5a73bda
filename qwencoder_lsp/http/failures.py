"""The one shape in which the public routes report errors: {"error": {"message", "type", "code", "param"}}, with the status that fits."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from qwencoder_lsp.errors import (
    EngineBusy,
    EngineCrashed,
    EngineFailed,
    LicenceNotAccepted,
    ModelMissing,
    ModelUnknown,
    ModelUnsuitable,
    QwencoderError,
    RequestError,
)

log = logging.getLogger(__name__)

RETRY_AFTER_S = "1"
OLLAMA = "/api/"  # the routes that report errors in Ollama's shape
_KINDS: tuple[tuple[type[QwencoderError], int, str], ...] = (
    (RequestError, 400, "invalid_request_error"),
    (ModelUnsuitable, 400, "invalid_request_error"),
    (ModelUnknown, 404, "invalid_request_error"),
    (ModelMissing, 404, "invalid_request_error"),
    (LicenceNotAccepted, 403, "permission_error"),
    (EngineBusy, 429, "rate_limit_error"),
    (EngineFailed, 503, "unavailable_error"),
    (EngineCrashed, 503, "unavailable_error"),
)


class FieldError(RequestError):
    """A field of the body asks for something that cannot be had; `param` is its name."""

    def __init__(self, param: str, message: str, hint: str = "") -> None:
        super().__init__(f"{param}: {message}", hint)
        self.param = param


def field_error(error: ValidationError) -> FieldError:
    """The error for a body that was not checked by its route."""
    first = error.errors(include_url=False)[0]
    return FieldError(".".join(map(str, first["loc"])) or "body", f"{first['msg']}.")


class NotFound(RequestError):
    """What the path names is not there."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What a client gets to see of an error."""

    status: int
    body: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)


def failure(error: Exception) -> Failure:
    """The error for a client. One that is not ours is logged, and says nothing of itself."""
    if not isinstance(error, QwencoderError):
        log.error("request failed", exc_info=error)
        return Failure(500, shape("The service failed on this request. See: qwencoder-lsp logs", "server_error", "error"))
    if isinstance(error, NotFound):
        return Failure(404, shape(str(error), "invalid_request_error", "not_found"))
    status, kind = next(((status, kind) for cls, status, kind in _KINDS if isinstance(error, cls)), (500, "server_error"))
    param = error.param if isinstance(error, FieldError) else "model" if isinstance(error, ModelUnknown | ModelMissing) else None
    headers = {"retry-after": RETRY_AFTER_S} if status == 429 else {}
    return Failure(status, shape(str(error), kind, "model_not_found" if status == 404 else error.code, param), headers)


def shape(message: str, kind: str, code: str, param: str | None = None) -> dict[str, Any]:
    """The body of an error."""
    return {"error": {"message": message, "type": kind, "code": code, "param": param}}


def ollama_failure(error: Exception) -> Failure:
    """The same as `failure`, in the shape of Ollama's routes: {"error": text}."""
    found = failure(error)
    return Failure(found.status, {"error": found.body["error"]["message"]}, found.headers)


def _answer(request: Request, found: Failure) -> JSONResponse:
    """In the shape of the dialect that the path belongs to."""
    body = {"error": found.body["error"]["message"]} if request.url.path.startswith(OLLAMA) else found.body
    return JSONResponse(body, found.status, found.headers)


def report_in_one_shape(app: FastAPI) -> None:
    """Make `app` answer its own refusals, such as a bad body or an unknown route, in this shape too."""

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        message, param = _first(error.errors())
        return _answer(request, Failure(400, shape(message, "invalid_request_error", "request", param)))

    @app.exception_handler(QwencoderError)
    async def failed(request: Request, error: QwencoderError) -> JSONResponse:
        return _answer(request, failure(error))

    @app.exception_handler(Exception)
    async def broken(request: Request, error: Exception) -> JSONResponse:
        return _answer(request, failure(error))

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> JSONResponse:
        message = f"{request.method} {request.url.path}: {error.detail}"
        return _answer(request, Failure(error.status_code, shape(message, "invalid_request_error", "route"), dict(error.headers or {})))


def _first(errors: Sequence[Any]) -> tuple[str, str | None]:
    """A sentence about the first thing that is wrong with a body, and the field it is about."""
    first = errors[0]
    if first["type"] == "json_invalid":
        return f"The body is not valid JSON: {first['ctx']['error']}.", None
    if first["type"] == "prompt":
        return f"{first['msg']}.", "prompt"
    path = [str(part) for part in first["loc"][1:]]
    if not path:
        return "The body must be a JSON object, sent with Content-Type: application/json.", None
    name = ".".join(path)
    return f"{name}: {first['msg']}.", name
