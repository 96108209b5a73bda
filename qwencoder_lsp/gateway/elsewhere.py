"""Connections to a gateway on another machine, by URL; TLS with the system's certificates where the URL says https."""

from __future__ import annotations

import asyncio
import ssl
from urllib.parse import urlsplit

from qwencoder_lsp.errors import RequestError
from qwencoder_lsp.gateway.http1 import LocalHttp, Streams


def http_at(url: str, api_key: str) -> tuple[LocalHttp, str]:
    """A client of the server, and what is in front of the paths there. Connects at the first request. Raises RequestError for what is no URL."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise RequestError(f"{url!r} is not the URL of a service.", "For example: http://127.0.0.1:11452")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    context = ssl.create_default_context() if parts.scheme == "https" else None
    host = parts.hostname

    async def connect() -> Streams:
        return await asyncio.open_connection(host, port, ssl=context)

    authorization = f"Bearer {api_key}" if api_key else ""
    hint = f"See whether {host} can be reached and its gateway runs."
    return LocalHttp(connect, authorization, parts.netloc.rpartition("@")[2], hint), parts.path.rstrip("/").removesuffix("/v1")
