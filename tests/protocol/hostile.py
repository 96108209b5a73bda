"""Requests of clients that are broken or mean to harm.

As a program (HOST PORT) all of them at once, again and again: connections that say nothing, requests that trickle in, 64 MB of body, 1 MB of header,
malformed UTF-8, nested JSON. Prints a line once all connections stand.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import sys
from collections.abc import Iterable

IDLE, SLOW = 1000, 50
PAUSE_S = 0.1  # between two bad requests
JSON = b"Content-Type: application/json\r\n"
BODIES = (
    b'{"prompt": "\xff\xfe"}',
    b'{"prompt": "\xc0\x80 \xf5"}',
    b'{"prompt":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
    b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    b"[" * 1_000_000,
    b'{"prompt": "x", "max_tokens": 1e999}',
    b'{"prompt": "x", "max_tokens": ' + b"9" * 5000 + b"}",
    b'{"prompt": "x"',
    b"",
)


def post(body: bytes, path: bytes = b"/v1/completions") -> bytes:
    """A request with that body."""
    return b"POST %b HTTP/1.1\r\nHost: localhost\r\n%bContent-Length: %d\r\n\r\n%b" % (path, JSON, len(body), body)


def oversized() -> dict[str, Iterable[bytes]]:
    """The parts of requests that are too large, by what they are."""
    endless = (b"%x\r\n%b\r\n" % (1 << 20, b" " * (1 << 20)) for _ in range(64))
    chunked = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n" + JSON + b"Transfer-Encoding: chunked\r\n\r\n"
    return {
        "a body of 64 MB": (post(b" " * (64 << 20)),),
        "the same in chunks": (part for parts in ((chunked,), endless) for part in parts),
        "a header of 1 MB": (b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * (1 << 20) + b"\r\n\r\n",),
        "a path of 1 MB": (b"GET /" + b"x" * (1 << 20) + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",),
        "no HTTP": (b"\x16\x03\x01\x02\x00 this is no HTTP\r\n\r\n",),
    }


async def status(host: str, port: int, *parts: bytes) -> int:
    """The status that the service answers to these bytes; 0 when it closes the connection instead."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        with contextlib.suppress(ConnectionError):
            for part in parts:
                writer.write(part)
                await writer.drain()
        with contextlib.suppress(ConnectionError):
            line = await asyncio.wait_for(reader.readline(), 60)
            return int(line.split()[1]) if line else 0
        return 0
    finally:
        writer.close()


def allow_many_connections() -> None:
    """As many open files as this process may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 2 * IDLE:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 2 * IDLE), hard))


async def _trickle(host: str, port: int) -> None:
    while True:
        with contextlib.suppress(ConnectionError):
            _, writer = await asyncio.open_connection(host, port)
            writer.write(post(b"x" * 1000)[:90])
            while not writer.is_closing():
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(1)


async def _idle(host: str, port: int) -> None:
    while True:
        with contextlib.suppress(ConnectionError):
            reader, _ = await asyncio.open_connection(host, port)
            await reader.read()
        await asyncio.sleep(1)


async def _besiege(host: str, port: int) -> None:
    standing = [asyncio.create_task(_idle(host, port)) for _ in range(IDLE)] + [asyncio.create_task(_trickle(host, port)) for _ in range(SLOW)]
    await asyncio.sleep(3)
    print(f"{len(standing)} connections", flush=True)
    while True:
        for parts in (*oversized().values(), *((post(body),) for body in BODIES)):
            await status(host, port, *parts)
            await asyncio.sleep(PAUSE_S)


if __name__ == "__main__":
    allow_many_connections()
    asyncio.run(_besiege(sys.argv[1], int(sys.argv[2])))
