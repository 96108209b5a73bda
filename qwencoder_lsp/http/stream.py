"""Answers as newline-delimited JSON. The work behind an answer is cancelled as soon as the client has gone."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator
from dataclasses import asdict
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from qwencoder_lsp.errors import QwencoderError, to_wire
from qwencoder_lsp.gateway.protocol import EVENT_NAMES, Event

log = logging.getLogger(__name__)

_NAMES = {cls: name for name, cls in EVENT_NAMES.items()}


class JsonLines(Response):
    """Sends each object of an async generator as one line and closes the generator at the end, or when the client has gone.

    Starlette's own streaming response notices a client that has gone only when it sends again; during a long prefill nothing is sent.
    """

    media_type = "application/x-ndjson"

    def __init__(self, objects: AsyncGenerator[dict[str, Any], None]) -> None:
        super().__init__()
        del self.headers["content-length"]
        self._objects = objects

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sending = asyncio.create_task(self._send(send))
        watching = asyncio.create_task(_gone(receive))
        try:
            await asyncio.wait((sending, watching), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, watching):
                task.cancel()
            await asyncio.gather(sending, watching, return_exceptions=True)
            await self._objects.aclose()
        if not sending.cancelled() and (error := sending.exception()):
            raise error

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for item in self._objects:
            line = json.dumps(item, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
            await send({"type": "http.response.body", "body": line, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def event_lines(events: AsyncGenerator[Event, None]) -> AsyncGenerator[dict[str, Any], None]:
    """The events with their type names; an error becomes the last event."""
    try:
        async for event in events:
            yield {"type": _NAMES[type(event)], **asdict(event)}
    except QwencoderError as error:
        yield {"type": "error", **to_wire(error)}
    except Exception:  # the headers are sent; the last event is the only place left for an error
        log.exception("request failed")
        yield {"type": "error", "code": "error", "message": "The gateway failed on this request.", "hint": "See: qwencoder-lsp logs"}
    finally:
        await events.aclose()
