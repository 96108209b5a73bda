"""The window's channel: one connection to the gateway over which all completions of a window travel, see gateway/protocol.py.

CompleteRequest in, streams of events out. Opened at the first request, and again at the next one after it broke.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

from qwencoder_lsp.core.outcome import Outcome
from qwencoder_lsp.errors import GatewayError, QwencoderError
from qwencoder_lsp.gateway.http1 import Streams, chunk, gone, read_chunk
from qwencoder_lsp.gateway.protocol import CompleteRequest, End, Event
from qwencoder_lsp.gateway.wire import encode, event, members

Answers = asyncio.Queue[Event | QwencoderError]


class Channel:
    """Safe for many concurrent streams in one event loop. `connect` opens the connection, or raises a QwencoderError."""

    def __init__(self, connect: Callable[[], Awaitable[Streams]]) -> None:
        self._connect = connect
        self._connecting = asyncio.Lock()
        self._link: _Link | None = None

    async def complete(self, request: CompleteRequest) -> AsyncGenerator[Event, None]:
        """Start, Piece..., End. Closing it cancels the work. Raises QwencoderError while iterating, GatewayError when the gateway goes."""
        link = await self._open()
        id_, answers = link.ask(request)
        ended = False
        try:
            while not ended:
                answer = await answers.get()
                ended = isinstance(answer, End | QwencoderError)
                if isinstance(answer, QwencoderError):
                    raise answer
                yield answer
        finally:
            link.forget(id_, cancel=not ended)

    async def tell(self, outcomes: tuple[Outcome, ...]) -> None:
        """Say what became of requests in this window. Raises GatewayError when the gateway has gone."""
        (await self._open()).tell(outcomes)

    async def close(self) -> None:
        """Close the connection; streams that are still read from end with GatewayError."""
        if self._link:
            await self._link.close()

    async def _open(self) -> _Link:
        if self._link and not self._link.broken:
            return self._link
        async with self._connecting:
            if self._link is None or self._link.broken:
                self._link = _Link(*await self._connect())
            return self._link


class _Link:
    """One open connection: sends requests, and hands each line that comes back to whoever asked."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.broken: GatewayError | None = None
        self._reader, self._writer = reader, writer
        self._ids = itertools.count(1)
        self._answers: dict[int, Answers] = {}
        self._reading = asyncio.create_task(self._read())

    def ask(self, request: CompleteRequest) -> tuple[int, Answers]:
        """Send a request; its number, and the queue for its answers, the last of which is an error when the connection breaks."""
        id_ = next(self._ids)
        queue = self._answers[id_] = asyncio.Queue()
        self._write({"id": id_, "complete": members(request)})
        return id_, queue

    def forget(self, id_: int, *, cancel: bool) -> None:
        """Nobody reads the answers of that request any more."""
        del self._answers[id_]
        if cancel and not self.broken:
            self._write({"id": id_})

    def tell(self, outcomes: tuple[Outcome, ...]) -> None:
        """Send what gets no answer."""
        self._write({"id": 0, "outcomes": outcomes})

    async def close(self) -> None:
        """Close the connection; the reader sees its end, and tells everyone."""
        self._writer.close()
        await asyncio.wait({self._reading})

    def _write(self, line: dict[str, Any]) -> None:
        # Without waiting for the gateway to take it: what can wait there is one request per document, the newest.
        self._writer.write(chunk(encode(line) + b"\n"))

    async def _read(self) -> None:
        error: Exception = EOFError()
        rest = b""
        try:
            while data := await read_chunk(self._reader):
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    fields = json.loads(line)
                    if queue := self._answers.get(fields.pop("id")):
                        queue.put_nowait(_answer(fields))
        except (OSError, EOFError, ValueError, LookupError, TypeError, AttributeError) as reason:  # also what is not of this protocol
            error = reason
        finally:
            self.broken = gone(error)
            self._writer.close()
            for queue in self._answers.values():
                queue.put_nowait(self.broken)


def _answer(fields: dict[str, Any]) -> Event | QwencoderError:
    try:
        return event(fields)
    except QwencoderError as error:
        return error
