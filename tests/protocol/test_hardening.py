"""What clients that are broken or mean to harm get: a clear refusal or a closed connection, while a window goes on as if nothing were."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import psutil

from tests.protocol.fronts import Front, front
from tests.protocol.gateways import collect, fill
from tests.protocol.hostile import BODIES, IDLE, allow_many_connections, oversized, post, status

STREAMS = 500
FLAT = 24 << 20  # bytes that the gateway's memory may differ by between its state after a fifth of the streams and after all of them


@asynccontextmanager
async def typing_on(f: Front) -> AsyncIterator[list[str]]:
    """A window that types all the while; the answers that it got. One that fails ends the test."""
    answers: list[str] = []

    async def type_() -> None:
        while True:
            answers.append((await collect(f.private.complete(fill("x = ", document="d"))))[0])
            await asyncio.sleep(0.02)

    task = asyncio.create_task(type_())
    try:
        yield answers
        before = len(answers)
        while len(answers) < before + 3:
            assert not task.done(), task.exception()
            await asyncio.sleep(0.02)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert set(answers) == {"1"}


async def connected(f: Front) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    assert f.http.base_url.port
    return await asyncio.open_connection(f.http.base_url.host, f.http.base_url.port)


async def refusal(f: Front, *parts: bytes) -> int:
    """The status that the service answers to these bytes; 0 when it closes the connection instead."""
    assert f.http.base_url.port
    return await status(f.http.base_url.host, f.http.base_url.port, *parts)


async def test_a_thousand_idle_connections_disturb_nobody(script: Any) -> None:
    script(default="1")
    allow_many_connections()
    async with front() as f, typing_on(f):
        open_ = [await connected(f) for _ in range(IDLE)]
        assert (await f.client.completions.create(model="auto", prompt="x")).choices[0].text == "1"
        for _, writer in open_:
            writer.close()


async def test_large_malformed_and_deep_requests_are_refused(script: Any) -> None:
    script(default="1")
    refused = {0, 400, 413, 431}
    async with front() as f, typing_on(f):
        for what, parts in oversized().items():
            assert await refusal(f, *parts) in refused, what
        for body in BODIES:
            for path in (b"/v1/completions", b"/v1/chat/completions", b"/infill", b"/api/generate", b"/models/download"):
                fine = not body or (path == b"/api/generate" and b"max_tokens" in body)  # which Ollama does not know
                assert await refusal(f, post(body, path)) in ({200, 400} if fine else {400}), (path, body[:40])
        assert (await f.http.get("/health")).status_code == 200


async def test_requests_that_trickle_in_hold_up_nobody(script: Any) -> None:
    script(default="1")
    async with front() as f, typing_on(f):
        slow = [await connected(f) for _ in range(50)]
        for i, (_, writer) in enumerate(slow):
            writer.write(post(b"x" * 100)[: 40 + i])
        for _ in range(5):
            for _, writer in slow:
                writer.write(b"x")
            await asyncio.sleep(0.1)
        assert (await f.client.completions.create(model="auto", prompt="x")).choices[0].text == "1"
        for _, writer in slow:
            writer.close()


async def test_streams_that_are_cut_anywhere_leave_nothing_behind(script: Any) -> None:
    script(default="word " * 40, token_ms=1, rules=[{"contains": "x = ", "text": "1"}])
    pick = random.Random(1)  # noqa: S311 - a test
    paths: dict[str, dict[str, Any]] = {
        "/v1/completions": {"prompt": "go"},
        "/v1/chat/completions": {"messages": [{"role": "user", "content": "go"}]},
        "/infill": {"input_prefix": "go", "input_suffix": ""},
        "/api/generate": {"prompt": "go"},
    }
    async with front() as f:
        async with typing_on(f):
            pid = (await f.private.status()).pid
            sizes: list[int] = []

            async def cut() -> None:
                path = pick.choice(list(paths))
                lines, patience = pick.randrange(12), pick.random() * 0.2
                with contextlib.suppress(asyncio.TimeoutError, httpx2.ReadError, httpx2.RemoteProtocolError):
                    async with f.http.stream("POST", path, json={"model": "scripted", "stream": True, "max_tokens": 200, **paths[path]}) as answer:
                        coming = answer.aiter_lines()
                        for _ in range(lines):
                            await asyncio.wait_for(anext(coming, ""), patience + 0.001)

            for done in range(0, STREAMS, 10):
                await asyncio.gather(*(cut() for _ in range(10)))
                if done in (STREAMS // 5, STREAMS - 10):
                    sizes.append(psutil.Process(pid).memory_info().rss)
            assert sizes[1] - sizes[0] < FLAT, sizes
        await f.busy(0)
