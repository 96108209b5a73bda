"""The benchmarks' own HTTP client, against a server that sends what it is told, byte by byte if need be."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from tests.bench.engine.client import Call, Exchange, Reply, send

STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
PIECES = [
    {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]},
    {"choices": [{"index": 0, "delta": {"content": "Hel"}}]},
    {"choices": [{"text": "lo"}]},
    {"content": "!", "stop": False},
    {
        "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}],
        "timings": {"cache_n": 3, "prompt_n": 4, "predicted_n": 5, "predicted_ms": 8.0},
    },
    {"choices": [], "usage": {"completion_tokens": 5}},
]


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def events(objects: Sequence[object]) -> bytes:
    return STREAM + b"".join(chunk(b"data: " + json.dumps(o).encode() + b"\n\n") for o in [*objects]) + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"


@asynccontextmanager
async def server(data: bytes, step: int = 0, hang: bool = False) -> AsyncIterator[tuple[int, asyncio.Future[None]]]:
    """A port where each connection gets `data`, in steps of so many bytes, and a future that is done when the client has gone."""
    gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for at in range(0, len(data), step or len(data)):
            writer.write(data[at : at + (step or len(data))])
            await asyncio.sleep(0)
        if hang:
            while await reader.read(1 << 16):
                pass
            gone.set_result(None)
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield listening.sockets[0].getsockname()[1], gone
    finally:
        listening.close()


@pytest.mark.parametrize("step", [0, 1, 7])
async def test_text_in_any_dialect_with_its_times(step: int) -> None:
    async with server(events(PIECES), step) as (port, _):
        reply = await send(port, Call("/v1/completions", {"stream": True}))
    assert reply.ok
    assert reply.text == "Hello!"
    assert [text for _, text in reply.pieces] == ["Hel", "lo", "!"], "the role is no text"
    assert reply.sent < reply.pieces[0][0] <= reply.pieces[2][0] <= reply.ended
    assert (reply.reason, reply.tokens, reply.prompt_tokens) == ("stop", 5, 7)
    assert len(reply.gaps()) == 4, "five tokens in three pieces: two of the gaps are zero"


async def test_a_refusal_with_its_reason() -> None:
    body = json.dumps({"error": {"message": "Too much is waiting.", "code": "engine_busy"}}).encode()
    head = b"HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    async with server(head + body) as (port, _):
        reply = await send(port, Call("/x", {}))
    assert not reply.ok
    assert (reply.status, reply.code, reply.error) == (429, "engine_busy", "Too much is waiting.")


async def test_an_error_in_mid_stream() -> None:
    async with server(events([PIECES[1], {"error": {"message": "It ended.", "code": "engine_crashed"}}])) as (port, _):
        reply = await send(port, Call("/x", {}))
    assert not reply.ok
    assert (reply.text, reply.code) == ("Hel", "engine_crashed")


async def test_a_whole_answer() -> None:
    body = json.dumps({"choices": [{"text": "a b", "finish_reason": "length"}], "usage": {"prompt_tokens": 4, "completion_tokens": 2}}).encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    async with server(head + body) as (port, _):
        reply = await send(port, Call("/x"))
    assert reply.ok
    assert reply.body["choices"][0]["text"] == "a b"
    assert (reply.reason, reply.tokens, reply.pieces) == ("length", 2, [])


async def test_a_server_that_goes_away() -> None:
    async with server(events(PIECES)[:-30]) as (port, _):
        with pytest.raises(ConnectionError):
            await send(port, Call("/x", {}))


async def test_a_client_that_goes_is_noticed_at_once() -> None:
    async with server(STREAM, hang=True) as (port, gone):
        exchange = await Exchange.open(port, Call("/x", {}))
        await asyncio.sleep(0.05)
        exchange.drop()
        await asyncio.wait_for(gone, 5)


def test_speed_counts_from_the_first_token() -> None:
    reply = Reply(sent=1.0, pieces=[(2.0, "a"), (2.5, "b"), (4.0, "c")], timings={"predicted_n": 9})
    assert reply.speed == 4
    assert reply.first == 1
    assert Reply(pieces=[(2.0, "a")]).speed == 0
