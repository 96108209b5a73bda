"""Talks to a running gateway. `find.connect` finds or starts one."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from dataclasses import asdict
from typing import Any, Protocol

import httpx2

from qwencoder_lsp.core.report import Timings, Usage
from qwencoder_lsp.errors import EngineCrashed, GatewayError, from_wire
from qwencoder_lsp.gateway.protocol import (
    EVENT_NAMES,
    ChatRequest,
    CompleteRequest,
    End,
    Event,
    ListenRequest,
    ModelState,
    PullRequest,
    Status,
)


class Gateway(Protocol):
    """What features need of a gateway. Streams end with End or raise a QwencoderError; closing one (aclose) cancels the work behind it."""

    def complete(self, request: CompleteRequest) -> AsyncGenerator[Event, None]:
        """Fill in the middle."""
        ...

    def chat(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        """Answer a conversation."""
        ...


class GatewayClient:
    """A connection pool to one gateway. Safe for many concurrent streams in one event loop."""

    def __init__(self, http: httpx2.AsyncClient) -> None:
        self._http = http

    def complete(self, request: CompleteRequest) -> AsyncGenerator[Event, None]:
        """Fill in the middle: Start, Piece..., End. Raises QwencoderError subclasses while iterating."""
        return self._stream("/qwencoder/complete", asdict(request))

    def chat(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        """Answer a conversation: Start, Piece..., End. Raises QwencoderError subclasses while iterating."""
        return self._stream("/qwencoder/chat", asdict(request))

    def pull(self, request: PullRequest) -> AsyncGenerator[Event, None]:
        """Download a model: Progress..., End. Raises DownloadError or ModelError while iterating."""
        return self._stream("/qwencoder/models/pull", asdict(request))

    async def status(self) -> Status:
        """The gateway's state now. Raises GatewayError when it is gone."""
        return _status(await self._json("GET", "/qwencoder/status"))

    async def events(self) -> AsyncGenerator[Status, None]:
        """One Status now and one at each change. While this is open the gateway stays. Raises GatewayError when the gateway goes."""
        async with self._connection("GET", "/qwencoder/events", None) as response:
            async for line in _lines(response):
                yield _status(json.loads(line))

    def listen(self, request: ListenRequest) -> AsyncGenerator[Event, None]:
        """Serve on TCP too, until the iterator is closed: one Listening. Raises GatewayError when the address cannot be had."""
        return self._stream("/qwencoder/listen", asdict(request))

    async def shutdown(self) -> None:
        """End the gateway and its engines."""
        await self._json("POST", "/qwencoder/shutdown", {})

    async def close(self) -> None:
        """Close the connections; the gateway lives on."""
        await self._http.aclose()

    async def _json(self, method: str, path: str, body: Any = None) -> Any:
        try:
            response = await self._http.request(method, path, json=body, timeout=30)
        except httpx2.HTTPError as error:
            raise _gone(error) from error
        if response.status_code >= 400:
            raise _refused(response)
        return response.json()

    def _connection(self, method: str, path: str, body: Any) -> _Connection:
        return _Connection(self._http, method, path, body)

    async def _stream(self, path: str, body: Any) -> AsyncGenerator[Event, None]:
        ended = False
        async with self._connection("POST", path, body) as response:
            async for line in _lines(response):
                event = _event(json.loads(line))
                ended = isinstance(event, End)
                yield event
        if not ended:
            raise EngineCrashed("The gateway closed the answer before its end.", "Ask again; if it repeats, see: qwencoder-lsp logs")


class _Connection:
    """An open streaming response; httpx2's errors leave as GatewayError."""

    def __init__(self, http: httpx2.AsyncClient, method: str, path: str, body: Any) -> None:
        self._manager = http.stream(method, path, json=body, timeout=httpx2.Timeout(10, read=None))

    async def __aenter__(self) -> httpx2.Response:
        try:
            response = await self._manager.__aenter__()
        except httpx2.HTTPError as error:
            raise _gone(error) from error
        if response.status_code >= 400:
            await response.aread()
            await self._manager.__aexit__(None, None, None)
            raise _refused(response)
        return response

    async def __aexit__(self, *exc: Any) -> None:
        await self._manager.__aexit__(*exc)


async def _lines(response: httpx2.Response) -> AsyncGenerator[bytes, None]:
    """The lines of the body, straight from its blocks: httpx2's own line iterator goes through three more generators for each."""
    rest = b""
    try:
        async for block in response.aiter_raw():
            *lines, rest = (rest + block).split(b"\n")
            for line in lines:
                yield line
    except httpx2.HTTPError as error:
        raise _gone(error) from error


def _gone(error: Exception) -> GatewayError:
    return GatewayError(f"The gateway does not answer ({type(error).__name__}).", "It is started again at the next request.")


def _refused(response: httpx2.Response) -> Exception:
    try:
        return from_wire(response.json()["error"])
    except (ValueError, KeyError, TypeError):
        return GatewayError(f"The gateway refused the request with status {response.status_code}.", "See: qwencoder-lsp logs")


def _event(fields: dict[str, Any]) -> Event:
    kind = fields.pop("type")
    if kind == "error":
        raise from_wire(fields)
    if "usage" in fields:
        fields["usage"] = Usage(**fields["usage"])
    if "timings" in fields:
        fields["timings"] = Timings(**fields["timings"])
    if "logprobs" in fields:
        fields["logprobs"] = tuple(fields["logprobs"])
    return EVENT_NAMES[kind](**fields)


def _status(fields: dict[str, Any]) -> Status:
    return Status(**{**fields, "models": tuple(ModelState(**m) for m in fields["models"])})
