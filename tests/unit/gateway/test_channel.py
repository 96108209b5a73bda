"""The client's end of a window's channel, with a gateway that does what no real one does. The real one is in the protocol tests."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import aclosing
from typing import Any

import pytest

from qwencoder_lsp.core.prompt import PromptParts
from qwencoder_lsp.core.report import Timings, Usage
from qwencoder_lsp.errors import GatewayError, ModelMissing
from qwencoder_lsp.gateway.channel import Channel
from qwencoder_lsp.gateway.http1 import Streams, chunk, read_chunk
from qwencoder_lsp.gateway.protocol import CompleteRequest, End, Event, Piece, Start
from qwencoder_lsp.gateway.wire import encode, event, event_members

REQUEST = CompleteRequest(PromptParts("a", "b\ud800"))
END = {"type": "done", "reason": "stop_token"}


class Peer:
    """The other end of every connection that the channel opens."""

    def __init__(self) -> None:
        self.connections: list[Streams] = []
        self.opened: asyncio.Queue[None] = asyncio.Queue()

    async def connect(self) -> Streams:
        await asyncio.sleep(0)
        ours, theirs = socket.socketpair()
        self.connections.append(await asyncio.open_connection(sock=ours))
        self.opened.put_nowait(None)
        return await asyncio.open_connection(sock=theirs)

    async def hear(self, connection: int = -1) -> dict[str, Any]:
        """The next line of the client."""
        line: dict[str, Any] = json.loads((await read_chunk(self.connections[connection][0])).decode("utf-8", "surrogatepass"))
        return line

    def say(self, *lines: dict[str, Any]) -> None:
        self.write(chunk(b"".join(encode(line) + b"\n" for line in lines)))

    def write(self, data: bytes) -> None:
        self.connections[-1][1].write(data)

    async def end(self, channel: Channel) -> None:
        await channel.close()
        for _, writer in self.connections:
            writer.close()
        await asyncio.sleep(0)


async def collect(channel: Channel) -> list[Event]:
    return [answer async for answer in channel.complete(REQUEST)]


async def test_streams_that_begin_at_once_share_a_connection_and_get_their_own_answers() -> None:
    peer = Peer()
    channel = Channel(peer.connect)
    streams = [asyncio.create_task(collect(channel)) for _ in range(3)]
    await peer.opened.get()
    for _ in streams:
        assert (await peer.hear())["complete"]["parts"]["suffix"] == "b\ud800"
    peer.say(*({"id": id_, "type": "chunk", "text": str(id_), "logprobs": []} for id_ in (3, 1, 2)), *({"id": id_, **END} for id_ in (2, 1, 3)))
    assert [answers[0] for answers in await asyncio.gather(*streams)] == [Piece("1"), Piece("2"), Piece("3")]
    assert len(peer.connections) == 1
    await peer.end(channel)


async def test_closing_a_stream_early_says_so_and_later_answers_are_dropped() -> None:
    peer = Peer()
    channel = Channel(peer.connect)
    async with aclosing(channel.complete(REQUEST)) as events:
        first = asyncio.create_task(anext(events))
        await peer.opened.get()
        id_ = (await peer.hear())["id"]
        peer.say({"id": id_, "type": "chunk", "text": "x", "logprobs": []})
        await first
    assert await peer.hear() == {"id": id_}
    peer.say({"id": id_, **END})
    again = asyncio.create_task(collect(channel))
    peer.say({"id": (await peer.hear())["id"], **END})
    assert await again == [End("stop_token")]
    await peer.end(channel)


@pytest.mark.parametrize(
    "nonsense",
    [
        b"",
        b"0\r\n\r\n",
        b"zz\r\n",
        b"5\r\nab",
        *(chunk(line + b"\n") for line in (b"no JSON", b"{}", b"[]", b"1", b'{"id": 1}', b'{"id": 1, "type": "no"}', b'{"id": 1, "type": "chunk"}')),
    ],
)
async def test_a_connection_that_breaks_ends_its_streams_and_the_next_request_opens_another(nonsense: bytes) -> None:
    peer = Peer()
    channel = Channel(peer.connect)
    stream = asyncio.create_task(collect(channel))
    await peer.opened.get()
    await peer.hear()
    peer.write(nonsense)
    peer.connections[-1][1].close()
    with pytest.raises(GatewayError):
        await stream
    again = asyncio.create_task(collect(channel))
    await peer.opened.get()
    peer.say({"id": (await peer.hear())["id"], **END})
    assert await again == [End("stop_token")]
    await peer.end(channel)


async def test_an_error_event_is_raised_and_not_cancelled() -> None:
    peer = Peer()
    channel = Channel(peer.connect)
    stream = asyncio.create_task(collect(channel))
    await peer.opened.get()
    id_ = (await peer.hear())["id"]
    peer.say({"id": id_, "type": "error", "code": "model_missing", "message": "None.", "hint": "Pull one."})
    with pytest.raises(ModelMissing, match=r"None\. Pull one\."):
        await stream
    again = asyncio.create_task(collect(channel))
    peer.say({"id": (await peer.hear())["id"], **END})
    await again
    await peer.end(channel)


async def test_a_gateway_that_cannot_be_reached_is_tried_again_by_the_next_request() -> None:
    async def refuse() -> Streams:
        raise GatewayError("Nobody.")

    channel = Channel(refuse)
    for _ in range(2):
        with pytest.raises(GatewayError, match="Nobody"):
            await collect(channel)


@pytest.mark.parametrize(
    "value", [Start("m", Usage(prompt=3), 1.5), Piece("é\ud800", (-0.5, -1.0)), End("length", Usage(prompt=1, reused=2), Timings(gather=3.0))]
)
def test_events_survive_the_wire(value: Event) -> None:
    assert event(json.loads(encode(event_members(value)).decode("utf-8", "surrogatepass"))) == value
