"""Talks to a running gateway. `find.connect` finds or starts one."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from dataclasses import asdict
from typing import Any, Protocol

from qwencoder_lsp.core.report import Timings, Usage
from qwencoder_lsp.errors import EngineCrashed, GatewayError, from_wire
from qwencoder_lsp.gateway.http1 import LocalHttp, Reply
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
    """A client of one gateway. Safe for many concurrent streams in one event loop."""

    def __init__(self, http: LocalHttp) -> None:
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
        async with await self._http.send("GET", "/qwencoder/events") as reply:
            await _check(reply)
            async for line in _lines(reply):
                yield _status(json.loads(line))

    def listen(self, request: ListenRequest) -> AsyncGenerator[Event, None]:
        """Serve on TCP too, until the iterator is closed: one Listening. Raises GatewayError when the address cannot be had."""
        return self._stream("/qwencoder/listen", asdict(request))

    async def shutdown(self) -> None:
        """End the gateway and its engines."""
        await self._json("POST", "/qwencoder/shutdown", {})

    async def close(self) -> None:
        """Close the connections; the gateway lives on."""
        await self._http.close()

    async def _json(self, method: str, path: str, body: Any = None) -> Any:
        async with await self._http.send(method, path, _encoded(body)) as reply:
            await _check(reply)
            return json.loads(await reply.body())

    async def _stream(self, path: str, body: Any) -> AsyncGenerator[Event, None]:
        ended = False
        async with await self._http.send("POST", path, _encoded(body)) as reply:
            await _check(reply)
            async for line in _lines(reply):
                event = _event(json.loads(line))
                ended = isinstance(event, End)
                yield event
        if not ended:
            raise EngineCrashed("The gateway closed the answer before its end.", "Ask again; if it repeats, see: qwencoder-lsp logs")


def _encoded(body: Any) -> bytes:
    return b"" if body is None else json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


async def _lines(reply: Reply) -> AsyncGenerator[bytes, None]:
    rest = b""
    async for block in reply.blocks():
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            yield line


async def _check(reply: Reply) -> None:
    """Raise the error of a reply that is one."""
    if reply.status < 400:
        return
    body = await reply.body()
    try:
        error = from_wire(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        error = GatewayError(f"The gateway refused the request with status {reply.status}.", "See: qwencoder-lsp logs")
    raise error


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
