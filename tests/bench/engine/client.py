"""A lean HTTP/1.1 client for streams of server-sent events, which notes when each piece of text arrived.

One connection per request, so that closing it is what a client that loses interest does. Nothing is parsed before its time is taken.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

import h11

READ = 1 << 16
PATIENCE_S = 900.0  # 32 clients on a slow machine; a request that takes longer is stuck


@dataclass(frozen=True, slots=True)
class Call:
    """A request: where to and with what. A body of None makes it a GET."""

    path: str
    body: dict[str, Any] | None = None


@dataclass(slots=True)
class Reply:
    """What came back. Times are of `time.perf_counter`. pieces: (when it arrived, text); body: the answer, where it was one JSON object."""

    sent: float = 0.0
    status: int = 0
    pieces: list[tuple[float, str]] = field(default_factory=list)
    ended: float = 0.0
    reason: str = ""
    timings: dict[str, float] = field(default_factory=dict)
    usage: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    code: str = ""
    body: Any = None

    @property
    def ok(self) -> bool:
        """Whether it was answered to its end without an error."""
        return 200 <= self.status < 300 and not self.error and self.ended > 0

    @property
    def text(self) -> str:
        """The answer."""
        return "".join(text for _, text in self.pieces)

    @property
    def first(self) -> float:
        """Seconds to the first text, or to the end of an answer without any."""
        return (self.pieces[0][0] if self.pieces else self.ended) - self.sent

    @property
    def total(self) -> float:
        """Seconds to the end."""
        return self.ended - self.sent

    @property
    def tokens(self) -> int:
        """Tokens of the answer, by the server's count; pieces where it gives none."""
        return int(self.timings.get("predicted_n") or self.usage.get("completion_tokens") or len(self.pieces))

    @property
    def prompt_tokens(self) -> int:
        """Tokens of the prompt, cached and evaluated; 0 where the server does not say."""
        return int(self.timings.get("cache_n", 0) + self.timings.get("prompt_n", 0)) or int(self.usage.get("prompt_tokens", 0))

    @property
    def speed(self) -> float:
        """Tokens per second after the first token, as the client saw them come; 0 when there were fewer than two."""
        elapsed = self.pieces[-1][0] - self.pieces[0][0] if len(self.pieces) > 1 else 0.0
        return (self.tokens - 1) / elapsed if elapsed > 0 else 0.0

    def gaps(self) -> list[float]:
        """Seconds between one token and the next. Tokens that came in one piece have no gap between them."""
        times = [at for at, _ in self.pieces]
        between = [later - earlier for earlier, later in itertools.pairwise(times)]
        return between + [0.0] * max(0, self.tokens - len(times))


class Exchange:
    """One request on a connection of its own. `events` must be read to its end, or `drop` called."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reply = Reply()
        self._reader, self._writer = reader, writer
        self._http = h11.Connection(h11.CLIENT)
        self._stream = False
        self._rest = b""

    @classmethod
    async def open(cls, port: int, call: Call) -> Exchange:
        """Connect and send. Connecting counts: a client waits for it as well."""
        sent = time.perf_counter()
        exchange = cls(*await asyncio.open_connection("127.0.0.1", port))
        exchange.reply.sent = sent
        exchange._send(port, call)
        return exchange

    def drop(self) -> None:
        """Close the connection, whatever is still to come."""
        self._writer.transport.abort()

    async def events(self) -> AsyncGenerator[Reply, None]:
        """The reply, after each piece of text and at the end. Raises ConnectionError when the server goes away in mid-answer."""
        try:
            while not self.reply.ended:
                data = await self._reader.read(READ)
                now = time.perf_counter()
                before = len(self.reply.pieces)
                try:
                    self._http.receive_data(data)
                    self._take(now)
                except h11.RemoteProtocolError as error:
                    raise ConnectionError(f"the connection broke: {error}") from error
                if len(self.reply.pieces) > before or self.reply.ended:
                    yield self.reply
        finally:
            self.drop()

    async def finish(self) -> Reply:
        """The whole reply."""
        async for _ in self.events():
            pass
        return self.reply

    def _send(self, port: int, call: Call) -> None:
        body = b"" if call.body is None else json.dumps(call.body).encode()
        headers = [("Host", f"127.0.0.1:{port}"), ("Connection", "close"), ("Accept", "*/*")]
        if body:
            headers += [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        request = self._http.send(h11.Request(method="POST" if body else "GET", target=call.path, headers=headers))
        content = self._http.send(h11.Data(data=body)) if body else b""
        end = self._http.send(h11.EndOfMessage())
        self._writer.write((request or b"") + (content or b"") + (end or b""))

    def _take(self, now: float) -> None:
        while (event := self._http.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
            if isinstance(event, h11.Response):
                self.reply.status = event.status_code
                kind = dict(event.headers).get(b"content-type", b"")
                self._stream = kind.startswith(b"text/event-stream")
            elif isinstance(event, h11.Data):
                self._data(bytes(event.data), now)
            elif isinstance(event, h11.EndOfMessage):
                if not self._stream:
                    self._whole(self._rest)
                self.reply.ended = now
                return
            elif isinstance(event, h11.ConnectionClosed):
                raise ConnectionError("the server closed the connection")

    def _data(self, data: bytes, now: float) -> None:
        self._rest += data
        if not self._stream:
            return
        *lines, self._rest = self._rest.split(b"\n")
        for line in lines:
            payload = line.removeprefix(b"data:").strip() if line.startswith((b"data:", b"error:")) else b""
            if payload.startswith(b"{"):
                note(self.reply, json.loads(payload), now)

    def _whole(self, data: bytes) -> None:
        try:
            self.reply.body = json.loads(data)
        except ValueError:
            self.reply.error = data.decode("utf-8", "replace")[:200] if self.reply.status >= 400 else ""
            return
        if isinstance(self.reply.body, dict):
            note(self.reply, self.reply.body, None)


def note(reply: Reply, event: dict[str, Any], now: float | None) -> None:
    """Take over what an event of any of the dialects says: OpenAI's two, and llama-server's own. Text counts only with a time."""
    choice = (event.get("choices") or [{}])[0]
    delta = choice.get("delta") or {}
    text = choice.get("text") or delta.get("content") or (event.get("content") if isinstance(event.get("content"), str) else "")
    if text and now is not None:
        reply.pieces.append((now, text))
    reply.reason = choice.get("finish_reason") or event.get("stop_type") or reply.reason
    reply.timings.update(event.get("timings") or {})
    reply.usage.update(event.get("usage") or {})
    if error := event.get("error"):
        reply.error = str(error.get("message", error)) if isinstance(error, dict) else str(error)
        reply.code = str(error.get("code") or error.get("type") or "") if isinstance(error, dict) else ""


async def send(port: int, call: Call, patience: float = PATIENCE_S) -> Reply:
    """The whole reply to one request. Raises TimeoutError, ConnectionError."""

    async def work() -> Reply:
        exchange = await Exchange.open(port, call)
        try:
            return await exchange.finish()
        finally:
            exchange.drop()

    return await asyncio.wait_for(work(), patience)
