"""Talks to a running gateway. `find.connect` finds or starts one."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any, Protocol

from qwencoder_lsp.core.outcome import Outcome
from qwencoder_lsp.errors import EngineCrashed, GatewayError, from_wire
from qwencoder_lsp.gateway.channel import Channel
from qwencoder_lsp.gateway.http1 import LocalHttp, Reply, Streams
from qwencoder_lsp.gateway.protocol import (
    SERVICE,
    ChatRequest,
    CompleteRequest,
    End,
    Event,
    Hello,
    ListenRequest,
    ModelState,
    PullRequest,
    Status,
)
from qwencoder_lsp.gateway.service import ServiceClient, service_error
from qwencoder_lsp.gateway.wire import encode, event


class Gateway(Protocol):
    """What features need of a gateway. Streams end with End or raise a QwencoderError; closing one (aclose) cancels the work behind it."""

    def complete(self, request: CompleteRequest) -> AsyncGenerator[Event, None]:
        """Fill in the middle."""
        ...

    def chat(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        """Answer a conversation."""
        ...


class GatewayClient:
    """A client of one gateway. Safe for many concurrent streams in one event loop. service: its HTTP service, over the same connections."""

    def __init__(self, http: LocalHttp, elsewhere: str | None = None) -> None:
        """elsewhere: what is in front of the paths of a gateway on another machine; None for this user's own. There a completion is a request of its
        own, because reverse proxies pass on no answer to a request that goes on, and only what all members of a team may do can be asked for."""
        self._http = http
        self._elsewhere = elsewhere
        self._channel = Channel(self._open)
        self.service = ServiceClient(http, SERVICE if elsewhere is None else elsewhere)

    def complete(self, request: CompleteRequest) -> AsyncGenerator[Event, None]:
        """Fill in the middle: Start, Piece..., End. Raises QwencoderError subclasses while iterating."""
        return self._channel.complete(request) if self._elsewhere is None else self._stream("/qwencoder/complete", request)

    def chat(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        """Answer a conversation: Start, Piece..., End. Raises QwencoderError subclasses while iterating."""
        return self._stream("/qwencoder/chat", request)

    async def tell(self, outcomes: tuple[Outcome, ...]) -> None:
        """Say for the history what became of requests in this window. Raises GatewayError when the gateway has gone."""
        if self._elsewhere is None:  # a team's gateway does not hear what its members do
            await self._channel.tell(outcomes)

    def pull(self, request: PullRequest) -> AsyncGenerator[Event, None]:
        """Download a model: Progress..., End. Raises DownloadError or ModelError while iterating."""
        self._own("Models are fetched on the machine of the team's gateway.")
        return self._stream("/qwencoder/models/pull", request)

    async def status(self) -> Status:
        """The gateway's state now. Raises GatewayError when it is gone."""
        return _status(await self._json("GET", "/qwencoder/status"))

    async def events(self) -> AsyncGenerator[Status, None]:
        """One Status now and one at each change. While this is open the gateway stays. Raises GatewayError when the gateway goes."""
        async with await self._http.send("GET", self._path("/qwencoder/events")) as reply:
            await _check(reply)
            async for line in _lines(reply):
                yield _status(json.loads(line))

    def listen(self, request: ListenRequest) -> AsyncGenerator[Event, None]:
        """Serve on TCP too, until the iterator is closed: one Listening. Raises GatewayError when the address cannot be had."""
        self._own("The team's gateway is served where it runs.")
        return self._stream("/qwencoder/listen", request)

    async def shutdown(self) -> None:
        """End the gateway and its engines."""
        self._own("The team's gateway is ended where it runs.")
        await self._json("POST", "/qwencoder/shutdown", {})

    async def hello(self) -> Hello:
        """Who a gateway elsewhere is. Raises GatewayError when there is none."""
        return Hello(**await self._json("GET", "/qwencoder/hello"))

    async def close(self) -> None:
        """Close the connections; the gateway lives on."""
        await self._channel.close()
        await self._http.close()

    def _path(self, path: str) -> str:
        return (self._elsewhere or "") + path

    def _own(self, otherwise: str) -> None:
        if self._elsewhere is not None:
            raise GatewayError(otherwise, "Ask whoever runs it, or clear gateway.url.")

    async def _open(self) -> Streams:
        async with await self._http.open("/qwencoder/window") as reply:
            await _check(reply)
            return reply.detach()

    async def _json(self, method: str, path: str, body: Any = None) -> Any:
        async with await self._http.send(method, self._path(path), b"" if body is None else encode(body)) as reply:
            await _check(reply)
            return json.loads(await reply.body())

    async def _stream(self, path: str, request: CompleteRequest | ChatRequest | PullRequest | ListenRequest) -> AsyncGenerator[Event, None]:
        ended = False
        async with await self._http.send("POST", self._path(path), encode(request)) as reply:
            await _check(reply)
            async for line in _lines(reply):
                answer = event(json.loads(line))
                ended = isinstance(answer, End)
                yield answer
        if not ended:
            raise EngineCrashed("The gateway closed the answer before its end.", "Ask again; if it repeats, see: qwencoder-lsp logs")


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
        found = json.loads(body)
        error = service_error(found) if "type" in found["error"] else from_wire(found["error"])
    except (ValueError, KeyError, TypeError):
        error = GatewayError(f"The gateway refused the request with status {reply.status}.", "See: qwencoder-lsp logs")
    raise error


def _status(fields: dict[str, Any]) -> Status:
    return Status(**{**fields, "models": tuple(ModelState(**m) for m in fields["models"])})
