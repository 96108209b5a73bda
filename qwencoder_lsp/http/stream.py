"""Answers that stop their work as soon as the client has gone: newline-delimited JSON, server-sent events, and plain JSON.

Starlette's own responses notice a client that has gone only when they send; during a long prefill nothing is sent.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from qwencoder_lsp.errors import QwencoderError, to_wire
from qwencoder_lsp.gateway.protocol import Event
from qwencoder_lsp.gateway.wire import event_members
from qwencoder_lsp.http.failures import Failure, failure

log = logging.getLogger(__name__)

_encode = json.JSONEncoder(separators=(",", ":")).encode  # json.dumps would make an encoder for each token
_DONE = b"data: [DONE]\n\n"

Json = dict[str, Any] | list[dict[str, Any]]
Fail = Callable[[Exception], Failure]


class JsonLines(Response):
    """Sends each object of an async generator as one line and closes the generator at the end, or when the client has gone."""

    media_type = "application/x-ndjson"

    def __init__(self, objects: AsyncGenerator[dict[str, Any], None]) -> None:
        super().__init__()
        del self.headers["content-length"]
        self._objects = objects

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await _while_there(self._send(send), receive)
        finally:
            await self._objects.aclose()

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for item in self._objects:
            await send({"type": "http.response.body", "body": _bytes(item) + b"\n", "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


class _Stream(Response):
    """Sends the objects of an async generator, and closes it at the end or when the client has gone. The status waits for the first object, so that a
    refusal has its own; an error behind it becomes the last object, in the place of what usually comes at the end."""

    before, behind, end = b"", b"\n", b""

    def __init__(self, objects: AsyncGenerator[dict[str, Any], None], *, failed: Fail = failure, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(headers=headers)
        del self.headers["content-length"]
        self._objects, self._failed = objects, failed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await _while_there(self._send(send), receive)
        finally:
            await self._objects.aclose()

    async def _send(self, send: Send) -> None:
        started = False
        end = self.end
        try:
            async for item in self._objects:
                if not started:
                    started = True
                    await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
                await send({"type": "http.response.body", "body": self.before + _bytes(item) + self.behind, "more_body": True})
        except Exception as error:
            found = self._failed(error)
            if not started:
                await _reply(send, found.status, found.body, found.headers)
                return
            end = self.before + _bytes(found.body) + self.behind
        await send({"type": "http.response.body", "body": end, "more_body": False})


class EventStream(_Stream):
    """Server-sent events that end with [DONE]."""

    media_type = "text/event-stream"
    before, behind = b"data: ", b"\n\n"

    def __init__(self, objects: AsyncGenerator[dict[str, Any], None], *, done: bool = True) -> None:
        """done: whether [DONE] comes at the end, which llama.cpp's own routes do not send."""
        super().__init__(objects, headers={"cache-control": "no-cache", "x-accel-buffering": "no"})  # the second is nginx's: pass on at once
        self.end = _DONE if done else b""


class LineStream(_Stream):
    """Ollama's streams: one object per line. failed: the shape of an error."""

    media_type = "application/x-ndjson"


class JsonReply(Response):
    """One object, or a list of them, when `work` has made it."""

    media_type = "application/json"

    def __init__(self, work: Callable[[], Awaitable[Json]], failed: Fail = failure) -> None:
        """failed: the shape of an error."""
        super().__init__()
        self._work, self._failed = work, failed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await _while_there(self._send(send), receive)

    async def _send(self, send: Send) -> None:
        try:
            body: Json = await self._work()
            status, headers = 200, dict[str, str]()
        except Exception as error:
            found = self._failed(error)
            status, body, headers = found.status, found.body, found.headers
        await _reply(send, status, body, headers)


async def _reply(send: Send, status: int, body: Json, headers: Mapping[str, str]) -> None:
    data = _bytes(body)
    every = {"content-type": "application/json", "content-length": str(len(data)), **headers}
    await send({"type": "http.response.start", "status": status, "headers": [(k.encode(), v.encode()) for k, v in every.items()]})
    await send({"type": "http.response.body", "body": data, "more_body": False})


async def _while_there(work: Coroutine[Any, Any, None], receive: Receive) -> None:
    """Run `work` to its end, or cancel it when the client goes."""
    sending = asyncio.create_task(work)
    watching = asyncio.create_task(_gone(receive))
    try:
        await asyncio.wait((sending, watching), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (sending, watching):
            task.cancel()
        await asyncio.gather(sending, watching, return_exceptions=True)
    if not sending.cancelled() and (error := sending.exception()):
        raise error


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _bytes(item: Json) -> bytes:
    return _encode(item).encode("ascii")


async def event_lines(events: AsyncGenerator[Event, None]) -> AsyncGenerator[dict[str, Any], None]:
    """The events with their type names; an error becomes the last event."""
    try:
        async for event in events:
            yield event_members(event)
    except QwencoderError as error:
        yield {"type": "error", **to_wire(error)}
    except Exception:  # the headers are sent; the last event is the only place left for an error
        log.exception("request failed")
        yield {"type": "error", "code": "error", "message": "The gateway failed on this request.", "hint": "See: qwencoder-lsp logs"}
    finally:
        await events.aclose()
