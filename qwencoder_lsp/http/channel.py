"""The gateway's end of a window's channel, see gateway/protocol.py: many completions over one request and its answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import partial
from typing import Any

from pydantic import TypeAdapter, ValidationError
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from qwencoder_lsp.core.outcome import Outcome
from qwencoder_lsp.errors import RequestError, to_wire
from qwencoder_lsp.gateway.protocol import Ask, CompleteRequest
from qwencoder_lsp.gateway.wire import encode

HOLD_S = 0.002  # how long text waits for more before it is sent: less than a token takes, and each message wakes up the language server
MAX_LINE = 16 << 20  # bytes; far more than a window sends, and little enough to hold
_ASK = TypeAdapter(Ask)  # reads, checks and builds in one pass over the bytes

Lines = AsyncGenerator[dict[str, Any], None]


class Channel(Response):
    """Runs `complete` for each request of the client, and cancels it when the client says so or has gone; `heard` gets what the client tells of its
    requests. Ends when `stopping` is set and what runs has come to its end."""

    media_type = "application/x-ndjson"

    def __init__(self, complete: Callable[[CompleteRequest], Lines], heard: Callable[[tuple[Outcome, ...]], None], stopping: asyncio.Event) -> None:
        super().__init__()
        del self.headers["content-length"]
        self._complete = complete
        self._heard = heard
        self._stopping = stopping
        self._work: dict[int, asyncio.Task[None]] = {}
        self._outbox: list[dict[str, Any]] = []
        self._filled = asyncio.Event()
        self._held: asyncio.TimerHandle | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        reading, writing, stop = (asyncio.create_task(work) for work in (self._read(receive), self._write(send), self._stopping.wait()))
        try:
            await asyncio.wait((reading, writing, stop), return_when=asyncio.FIRST_COMPLETED)
            if stop.done() and self._work:
                await asyncio.wait(self._work.values())
        finally:
            tasks = (reading, writing, stop, *self._work.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await send({"type": "http.response.body", "body": self._taken(), "more_body": False})

    async def _read(self, receive: Receive) -> None:
        rest = b""
        while (message := await receive())["type"] == "http.request":
            *lines, rest = (rest + message.get("body", b"")).split(b"\n")
            for line in lines:
                self._handle(line)
            if not message.get("more_body", False) or len(rest) > MAX_LINE:
                return

    def _handle(self, line: bytes) -> None:
        try:
            ask = _ASK.validate_json(line)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "line"
            self._put({"id": _id_of(line), "type": "error", **to_wire(RequestError(f"{where}: {first['msg']}.", "Correct the request."))})
            return
        if ask.outcomes:
            self._heard(ask.outcomes)
            return
        if running := self._work.get(ask.id):
            running.cancel()
        if ask.complete:
            task = asyncio.create_task(self._answer(ask.id, ask.complete))
            self._work[ask.id] = task
            task.add_done_callback(partial(self._ended, ask.id))

    def _ended(self, id_: int, task: asyncio.Task[None]) -> None:
        if self._work.get(id_) is task:
            del self._work[id_]

    async def _answer(self, id_: int, request: CompleteRequest) -> None:
        async with aclosing(self._complete(request)) as lines:
            async for fields in lines:
                self._put({"id": id_, **fields})

    def _put(self, fields: dict[str, Any]) -> None:
        """Send it, the last event of a request at once and others after HOLD_S at the latest; text that follows on text joins it."""
        last = self._outbox[-1] if self._outbox else fields
        if fields["type"] == last["type"] == "chunk" and fields["id"] == last["id"] and fields is not last:
            last["text"] += fields["text"]
            last["logprobs"] = (*last["logprobs"], *fields["logprobs"])
            last["tokens"] = (*last["tokens"], *fields["tokens"])
        else:
            self._outbox.append(fields)
        if fields["type"] in ("done", "error"):
            self._filled.set()
        elif self._held is None:
            self._held = asyncio.get_running_loop().call_later(HOLD_S, self._filled.set)

    async def _write(self, send: Send) -> None:
        while await self._filled.wait():
            self._filled.clear()
            await send({"type": "http.response.body", "body": self._taken(), "more_body": True})

    def _taken(self) -> bytes:
        if self._held:
            self._held.cancel()
            self._held = None
        lines = b"".join(encode(fields) + b"\n" for fields in self._outbox)
        self._outbox.clear()
        return lines


def _id_of(line: bytes) -> int:
    """The number of a request that is not right otherwise, 0 when it has none."""
    try:
        id_ = json.loads(line)["id"]
    except (ValueError, LookupError, TypeError):
        return 0
    return id_ if isinstance(id_, int) else 0
