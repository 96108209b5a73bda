"""A client of the HTTP service, as programs use it: this user's gateway over its socket, or a service elsewhere by URL. Knows nothing of features.

The same events as from the private protocol come out, so that features work with either.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import AsyncGenerator
from typing import Any

from qwencoder_lsp.core.report import Timings, Usage
from qwencoder_lsp.errors import EngineCrashed, GatewayError, ModelMissing, QwencoderError, from_wire
from qwencoder_lsp.gateway.elsewhere import http_at
from qwencoder_lsp.gateway.http1 import LocalHttp, Reply
from qwencoder_lsp.gateway.protocol import ChatRequest, CompleteRequest, End, Event, Piece, Start

REASONS = {"limit": "length", "eos": "stop_token", "word": "stop_string", "none": "stop_token", "stop": "stop_token"}


class ServiceClient:
    """Safe for many concurrent requests in one event loop. Every method raises QwencoderError; closing a stream stops its work."""

    def __init__(self, http: LocalHttp, prefix: str = "") -> None:
        """prefix: of the paths."""
        self._http, self._prefix = http, prefix

    @classmethod
    def at(cls, url: str, api_key: str = "") -> ServiceClient:
        """A service by URL, for example http://team.example:11452. Raises RequestError when it is none."""
        return cls(*http_at(url, api_key))

    async def chat(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        """Answer a conversation: Start, Piece..., End."""
        body: dict[str, Any] = {
            "model": request.model,
            "messages": [{"role": m.role, "content": m.content} for m in request.messages],
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
            "stream_options": {"include_usage": True},
        }
        if request.json_schema:
            schema = {"name": "answer", "schema": json.loads(request.json_schema)}
            body |= {"response_format": {"type": "json_schema", "json_schema": schema}, "close_early": False}
        end, model = None, ""
        async for event in self._events("/v1/chat/completions", body):
            if not model:
                model = event["model"]
                yield Start(model, Usage(), 0.0)
            for choice in event["choices"]:
                if text := choice["delta"].get("content"):
                    yield Piece(text)
                if choice["finish_reason"]:
                    end = End(REASONS.get(choice["finish_reason"], choice["finish_reason"]), *_account(event["timings"]))
        if end is None:
            raise _broken_off()
        yield end

    async def complete(self, request: CompleteRequest) -> AsyncGenerator[Event, None]:
        """Fill in the middle: Start, Piece..., End. A number of lines and columns of indentation are no stop rules that a service takes."""
        parts, stops = request.parts, request.stops
        body = {
            "model": request.model,
            "input_prefix": parts.prefix,
            "input_suffix": parts.suffix,
            "input_extra": [{"text": snippet.text, "filename": snippet.path} for snippet in reversed(parts.snippets)],  # the most useful last
            "prompt": parts.typed,
            "n_predict": request.max_tokens,
            "t_max_predict_ms": stops.after_newline_ms or 0,
            "stop": list(stops.strings),
        }
        end, started = None, False
        async for event in self._events("/infill", body):
            if not started:
                started = True
                yield Start(event.get("model", request.model), Usage(), 0.0)
            if event["content"]:
                yield Piece(event["content"])
            if event["stop"]:
                end = End(REASONS[event["stop_type"]], *_account(event["timings"]))
        if end is None:
            raise _broken_off()
        yield end

    async def embed(self, texts: list[str], model: str = "auto") -> list[list[float]]:
        """One vector of length 1 for each text."""
        answer = await self.json("POST", "/v1/embeddings", {"input": texts, "model": model, "encoding_format": "base64"})
        return [_floats(row["embedding"]) for row in answer["data"]]

    async def json(self, method: str, path: str, body: Any = None) -> Any:
        """The answer to a request that is one JSON value."""
        data = b"" if body is None else json.dumps(body).encode()
        async with await self._http.send(method, self._prefix + path, data) as reply:
            await _check(reply)
            return json.loads(await reply.body())

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    async def _events(self, path: str, body: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        data = json.dumps({**body, "stream": True}).encode()
        async with await self._http.send("POST", self._prefix + path, data) as reply:
            await _check(reply)
            rest = b""
            async for block in reply.blocks():
                *lines, rest = (rest + block).split(b"\n")
                for line in lines:
                    if line.startswith(b"data: {"):
                        event = json.loads(line[6:])
                        if "error" in event:
                            raise service_error(event)
                        yield event


async def _check(reply: Reply) -> None:
    if reply.status < 400:
        return
    body = await reply.body()
    try:
        error = service_error(json.loads(body))
    except (ValueError, LookupError, TypeError):
        error = GatewayError(f"The service answered with status {reply.status}.", "Check its URL and its logs.")
    raise error


def service_error(body: dict[str, Any]) -> QwencoderError:
    """The error that a public route reported. Raises KeyError or TypeError for a body that is none."""
    error = body["error"]
    if error["code"] == "model_not_found":
        return ModelMissing(error["message"])
    if error["type"] in ("authentication_error", "unavailable_error", "rate_limit_error") and error["code"] in ("invalid_api_key", "rate_limit"):
        return GatewayError(error["message"])
    return from_wire({"code": str(error["code"]), "message": error["message"]})


def _account(timings: dict[str, Any]) -> tuple[Usage, Timings]:
    usage = Usage(
        prompt=timings["cache_n"] + timings["prompt_n"],
        reused=timings["cache_n"],
        generated=timings["predicted_n"],
        restored=timings["restored_n"],
        drafted=timings["draft_n"],
        accepted=timings["draft_n_accepted"],
        preempted=timings["preempted"],
    )
    return usage, Timings(queue=timings["queue_ms"], prefill=timings["prompt_ms"], decode=timings["predicted_ms"], native=timings["native_ms"])


def _floats(vector: str) -> list[float]:
    data = base64.b64decode(vector)
    return list(struct.unpack(f"<{len(data) // 4}f", data))


def _broken_off() -> EngineCrashed:
    return EngineCrashed("The service closed the answer before its end.", "Ask again; if it repeats, see its logs.")
