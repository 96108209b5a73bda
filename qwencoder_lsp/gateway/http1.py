"""HTTP/1.1 to the gateway's socket with h11: requests, and connections whose two bodies stay open. Bytes in and out; knows nothing of routes or JSON.

A general client spent two to three milliseconds of the language server's time on each streamed request, more than gateway and engine together
(November 2026, `python -m tests.bench plumbing`); with a request per key even this one spends half a millisecond, hence gateway.channel.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from types import TracebackType

import h11

from qwencoder_lsp.errors import GatewayError

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
BLOCK = 65536
CONNECT_S = 10.0
STARTED_AGAIN = "It is started again at the next request."
BROKEN = (OSError, EOFError, h11.RemoteProtocolError)


class LocalHttp:
    """Requests to one server over kept connections. Safe for many concurrent requests in one event loop."""

    def __init__(self, connect: Callable[[], Awaitable[Streams]], authorization: str, host: str = "gateway", hint: str = STARTED_AGAIN) -> None:
        """authorization: the header of that name, none when it is empty. host: likewise. hint: what to do when nobody answers."""
        self._connect = connect
        self._hint = hint
        self._authorization = authorization
        self._host = host
        self._idle: list[Streams] = []
        self._closed = False

    async def send(self, method: str, path: str, body: bytes = b"", *, anonymous: bool = False) -> Reply:
        """The reply, once its headers have come; use it as a context manager. anonymous: without the token.

        Raises GatewayError when nobody answers. A kept connection that the server has closed meanwhile is replaced by a fresh one.
        """
        while self._idle:
            streams = self._idle.pop()
            try:
                return await self._exchange(streams, method, path, body, anonymous=anonymous)
            except BROKEN:
                continue
        try:
            streams = await asyncio.wait_for(self._connect(), CONNECT_S)
            return await self._exchange(streams, method, path, body, anonymous=anonymous)
        except (*BROKEN, asyncio.TimeoutError) as error:
            raise gone(error, self._hint) from error

    async def open(self, path: str) -> Reply:
        """The reply to a POST whose body stays open; `Reply.detach` gives the connection for both bodies. Raises GatewayError."""
        try:
            return await self._exchange(await asyncio.wait_for(self._connect(), CONNECT_S), "POST", path, None)
        except (*BROKEN, asyncio.TimeoutError) as error:
            raise gone(error, self._hint) from error

    async def close(self) -> None:
        """Close the connections; those that a reply holds are closed at its end."""
        self._closed = True
        while self._idle:
            self._idle.pop()[1].close()

    async def _exchange(self, streams: Streams, method: str, path: str, body: bytes | None, *, anonymous: bool = False) -> Reply:
        """The reply to a request with that body. None: it stays open, and the reply begins before its end."""
        reader, writer = streams
        state = h11.Connection(h11.CLIENT)
        length = ("Transfer-Encoding", "chunked") if body is None else ("Content-Length", str(len(body)))
        headers = [("Host", self._host), ("Content-Type", "application/json"), length]
        if self._authorization and not anonymous:
            headers.append(("Authorization", self._authorization))
        parts = [state.send(h11.Request(method=method, target=path, headers=headers))]
        if body is not None:
            parts += [state.send(h11.Data(data=body)), state.send(h11.EndOfMessage())]
        try:
            writer.write(b"".join(part for part in parts if part))
            await writer.drain()
            event = await next_event(state, reader)
        except BaseException:  # also on cancellation: a half-used connection must not be kept
            writer.close()
            raise
        assert isinstance(event, h11.Response)
        return Reply(event.status_code, state, streams, self._keep, self._hint)

    def _keep(self, streams: Streams) -> None:
        if self._closed:
            streams[1].close()
        else:
            self._idle.append(streams)


class Reply:
    """A reply whose body is still coming. Leaving it before the end closes the connection, which cancels the work behind it."""

    def __init__(self, status: int, state: h11.Connection, streams: Streams, keep: Callable[[Streams], None], hint: str) -> None:
        self.status = status
        self._hint = hint
        self._state, self._streams, self._keep = state, streams, keep
        self._complete = self._detached = False

    async def __aenter__(self) -> Reply:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._detached:
            return
        if self._complete and self._state.their_state is h11.DONE and self._state.our_state is h11.DONE:
            self._keep(self._streams)
        else:
            self._streams[1].close()

    def detach(self) -> Streams:
        """The connection of a request whose body stays open, for `chunk` and `read_chunk`. Whoever takes it closes it.

        The peer must say nothing before it is asked: what came together with the headers would be lost.
        """
        self._detached = True
        return self._streams

    async def blocks(self) -> AsyncGenerator[bytes, None]:
        """The body, in pieces as they come. Raises GatewayError when the server goes before its end."""
        try:
            while isinstance(event := await next_event(self._state, self._streams[0]), h11.Data):
                yield bytes(event.data)
        except BROKEN as error:
            raise gone(error, self._hint) from error
        self._complete = isinstance(event, h11.EndOfMessage)

    async def body(self) -> bytes:
        """The whole body."""
        return b"".join([block async for block in self.blocks()])


async def next_event(state: h11.Connection, reader: asyncio.StreamReader) -> h11.Event:
    """The next event but informational responses. Raises OSError, EOFError or h11.RemoteProtocolError."""
    while True:
        event = state.next_event()
        if event is h11.NEED_DATA:
            state.receive_data(await reader.read(BLOCK))
        elif isinstance(event, h11.ConnectionClosed) or not isinstance(event, h11.Event):
            raise EOFError("the gateway closed the connection")
        elif not isinstance(event, h11.InformationalResponse):
            return event


def chunk(data: bytes) -> bytes:
    """`data` as one chunk of a body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


async def read_chunk(reader: asyncio.StreamReader) -> bytes:
    """The next chunk of a body, empty at its end. By hand, because h11 takes longer for a chunk than the gateway for its answer.

    Raises OSError, EOFError, or ValueError for what is no chunk.
    """
    line = await reader.readline()
    if not line:
        raise EOFError("the gateway closed the connection")
    size = int(line, 16)
    return (await reader.readexactly(size + 2))[:size]


def gone(error: BaseException, hint: str = STARTED_AGAIN) -> GatewayError:
    """What to tell the user when the connection broke."""
    return GatewayError(f"The gateway does not answer ({type(error).__name__}).", hint)
