"""Who may ask, from where, how much and how often: everything that is decided before a route sees a request. Plain ASGI, because Starlette's wrapper
would stand between a response and the news that its client has gone."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import time
from collections import deque
from dataclasses import dataclass, field

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from qwencoder_lsp.gateway.protocol import HASHED_KEY
from qwencoder_lsp.http.failures import OLLAMA, RETRY_AFTER_S, shape

LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})
# The origins that Ollama allows too: pages of this machine, and the web views of editors.
ORIGINS = r"https?://(localhost|127\.0\.0\.1|0\.0\.0\.0|\[::1\])(:\d+)?|(app|file|tauri|vscode-webview|vscode-file)://.*"
# For load balancers and editors that look whether somebody is there; and the dashboard's empty page, which asks for a key and then for its figures.
OPEN = frozenset({"/health", "/v1/health", "/dashboard"})
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
# A browser says with one of these where a request comes from: Origin with each one to another site that is neither GET nor HEAD (Fetch, "append a
# request `Origin` header"), a form's and an opaque page's too.
BROWSERS = ("origin", "sec-fetch-site")
BODY_S = 30.0  # for a body to arrive
MINUTE_S = 60.0
OWNER = 16  # hexadecimal digits of a key's digest, by which the routes know what is whose


@dataclass(frozen=True, slots=True)
class Limits:
    """keys: whoever asks must send one of them, which are given plain or as HASHED_KEY; without any, nobody is asked for one.
    at_once, per_minute: requests of one key, or of all that have none; 0 is no limit. body: bytes."""

    keys: tuple[str, ...] = ()
    at_once: int = 0
    per_minute: int = 0
    body: int = 32 << 20


@dataclass(slots=True)
class _Client:
    """What one key does."""

    running: int = 0
    begun: deque[float] = field(default_factory=deque)


class Guard:
    """Refuses a request that is meant for another host, comes from a foreign web page, has no key where one is needed, or is too much."""

    def __init__(self, app: ASGIApp, limits: Limits, address: str | None) -> None:
        """address: the loopback address that is served, as a Host header has it. None: other machines reach it, a key protects it, and by what
        names it is called is not ours to know."""
        self._app, self._limits = app, limits
        self._hosts = None if address is None else LOOPBACK | {address}
        self._keys = [_known(key) for key in limits.keys]
        self._clients: dict[int, _Client] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # a websocket, of which the application has none: it says so itself
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if refusal := self._stranger(scope, headers):
            await refusal(scope, receive, send)
            return
        who = self._who(headers) if self._keys else 0
        if who is None and scope["path"] not in OPEN and scope["method"] != "OPTIONS":  # a browser asks without the key first
            message = "A valid API key is needed: Authorization: Bearer KEY, or X-Api-Key: KEY."
            refusal = JSONResponse(shape(message, "authentication_error", "invalid_api_key"), 401, {"www-authenticate": "Bearer"})
            await refusal(scope, receive, send)
            return
        if who:
            scope.setdefault("state", {})["owner"] = self._keys[who - 1].hex()[:OWNER]
        if scope["method"] in SAFE:
            await self._app(scope, receive, send)
            return
        client = self._clients.setdefault(who or 0, _Client())
        if refusal := self._too_much(client):
            await refusal(scope, receive, send)
            return
        if scope["path"].startswith(OLLAMA) and not any(name in headers for name in BROWSERS):
            scope = _as_json(scope)
        client.running += 1
        try:
            await self._app(scope, _Body(receive, self._limits.body), send)
        finally:
            client.running -= 1

    def _stranger(self, scope: Scope, headers: Headers) -> JSONResponse | None:
        host, origin = headers.get("host", ""), headers.get("origin")
        if self._hosts is not None and host.rsplit(":", 1)[0] not in self._hosts:
            return JSONResponse(shape(f"Host {host!r} is not served here.", "invalid_request_error", "host"), 403)
        if origin and scope["method"] not in SAFE and not re.fullmatch(ORIGINS, origin):
            return JSONResponse(shape(f"Pages of {origin!r} may not ask this service.", "invalid_request_error", "origin"), 403)
        if headers.get("content-length", "0").isdecimal() and int(headers.get("content-length", "0")) > self._limits.body:
            return JSONResponse(shape(_too_large(self._limits.body), "invalid_request_error", "body_too_large"), 413)  # the rest is read and dropped
        return None

    def _who(self, headers: Headers) -> int | None:
        """The number of the key, counted from 1. Every key is compared, whichever fits."""
        kind, _, bearer = headers.get("authorization", "").partition(" ")
        given = _digest(bearer.strip() if kind.lower() == "bearer" else headers.get("x-api-key", ""))
        found = [hmac.compare_digest(given, key) for key in self._keys]
        return found.index(True) + 1 if any(found) else None

    def _too_much(self, client: _Client) -> JSONResponse | None:
        limits, now = self._limits, time.monotonic()
        if limits.at_once and client.running >= limits.at_once:
            return _slower(f"{client.running} requests of this client are running, and {limits.at_once} may.", RETRY_AFTER_S)
        if limits.per_minute:
            while client.begun and now - client.begun[0] > MINUTE_S:
                client.begun.popleft()
            if len(client.begun) >= limits.per_minute:
                wait = str(int(MINUTE_S - (now - client.begun[0])) + 1)
                return _slower(f"{limits.per_minute} requests per minute are allowed.", wait)
            client.begun.append(now)
        return None


class _Body:
    """`receive`, as long as the body is neither too long nor too slow."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive, self._left, self._limit = receive, limit, limit
        self._deadline = time.monotonic() + BODY_S
        self._complete = False

    async def __call__(self) -> Message:
        if self._complete:
            return await self._receive()
        try:
            message = await asyncio.wait_for(self._receive(), max(0.0, self._deadline - time.monotonic()))
        except asyncio.TimeoutError:
            raise HTTPException(408, f"The body did not arrive within {BODY_S:.0f} s.", {"connection": "close"}) from None
        if message["type"] == "http.request":
            self._left -= len(message.get("body", b""))
            self._complete = not message.get("more_body", False)
            if self._left < 0:
                raise HTTPException(413, _too_large(self._limit))
        return message


def _as_json(scope: Scope) -> Scope:
    """Whatever its body is said to be: Ollama does not look at that, and curl, as in its docs/api.md, says that -d is a form. Elsewhere the type is
    what a web page cannot say without asking first, so nobody else is believed without it."""
    kept = [(name, value) for name, value in scope["headers"] if name != b"content-type"]
    return {**scope, "headers": [*kept, (b"content-type", b"application/json")]}


def _known(key: str) -> bytes:
    return bytes.fromhex(key.removeprefix(HASHED_KEY)) if re.fullmatch(HASHED_KEY + "[0-9a-f]{64}", key) else _digest(key)


def _digest(key: str) -> bytes:
    """Of a fixed length, so that comparing takes the same time for any key."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def _too_large(limit: int) -> str:
    return f"The body is larger than {limit >> 20} MB."


def _slower(message: str, after: str) -> JSONResponse:
    return JSONResponse(shape(f"{message} Try again later.", "rate_limit_error", "rate_limit"), 429, {"retry-after": after})
