"""Mixed requests for the soak: what many careless clients send, with what became of each."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.bench.engine.client import Call, Exchange, Reply
from tests.bench.engine.corpus import Corpus
from tests.bench.engine.peers import Ours

PATIENCE_S = 240.0  # a request that has not ended after this is stuck
DROPPED, VANISHED = 0.2, 0.05  # shares of clients that go while they wait, and right after they asked
KINDS = ("fill", "chat", "fill", "complete", "embed", "fill", "json", "two", "whole")
AFTER_KILL_S = 25.0  # for so long after an engine was killed its clients may be told so, and a failed start not be tried again
SLOWEST = 3  # requests that are shown
BUSY = 429
CRASHED = {"engine_crashed", "engine_failed"}
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"name": {"type": "string"}, "lines": {"type": "integer"}}, "required": ["name", "lines"]}


@dataclass
class Tally:
    """What became of the requests. open: those that have not ended, by number, with what they asked for. slow: the slowest, in seconds."""

    ended: Counter[str] = field(default_factory=Counter)
    open: dict[int, str] = field(default_factory=dict)
    stuck: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    slow: list[tuple[float, str]] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    killed_at: float = float("-inf")

    @property
    def sent(self) -> int:
        """Requests so far."""
        return sum(self.ended.values()) + len(self.open)


class Pool:
    """A finite set of prompts, so that the memory for computed prefixes fills up at some time."""

    def __init__(self, corpus: Corpus, documents: int, seed: int) -> None:
        self.texts = [corpus.text(80 + 60 * (i % 6), "soak", seed, i) for i in range(documents)]
        self.holes = [corpus.hole(120 + 60 * (i % 5), 60, "soak", seed, i) for i in range(documents)]

    def call(self, server: Ours, model: str, turn: int, draw: random.Random) -> tuple[str, Call]:
        """The request of a turn, and the name of its kind; all kinds have their turn."""
        text, hole = draw.choice(self.texts), draw.choice(self.holes)
        kind = KINDS[turn % len(KINDS)]
        more: dict[str, Any] = {"model": model}
        if kind == "fill":
            call = server.fill(hole.prefix + draw.choice(hole.typed), hole.suffix, 12)
        elif kind == "chat":
            call = server.chat(f"Explain briefly.\n\n{text}", draw.choice((12, 40)))
        elif kind == "complete":
            call = server.complete(text, draw.choice((4, 24)))
        elif kind == "embed":
            call = Call("/v1/embeddings", {"input": [text[:400], hole.suffix[:200]]})
        elif kind == "json":
            form = {"type": "json_schema", "json_schema": {"name": "about", "schema": SCHEMA}}
            call = server.chat(f"Describe as JSON.\n\n{text}", 48, response_format=form)
        elif kind == "two":
            call = server.complete(text, 10, n=2, temperature=0.8, seed=draw.randrange(4))
        else:
            call = server.complete(text, 8, stream=False, stream_options=None)
        return kind, Call(call.path, (call.body or {}) | more)


async def client(server: Ours, pool: Pool, focus: list[str], tally: Tally, until: float, draw: random.Random) -> None:
    """Ask until the time has come. focus[0] is the model in use now; some requests are for another."""
    for turn in itertools.count(draw.randrange(len(KINDS))):
        if time.monotonic() > until:
            return
        model = focus[0] if draw.random() < 0.95 else draw.choice(focus)
        kind, call = pool.call(server, model, turn, draw)
        number = tally.sent
        tally.open[number] = kind
        leave = 0.0 if draw.random() < VANISHED else draw.uniform(0.05, 3.0) if draw.random() < DROPPED else None
        start = time.monotonic()
        try:
            ended = await asyncio.wait_for(_ask(server, call, leave), PATIENCE_S)
        except asyncio.TimeoutError:
            ended = "stuck"
            tally.stuck.append(f"{kind} for {PATIENCE_S:.0f} s")
        except (OSError, ConnectionError) as error:
            ended = f"connection lost: {error}"
        if ended.startswith("crashed") and time.monotonic() - tally.killed_at < AFTER_KILL_S:
            ended = "crashed, as it was killed"
        elif ended not in ("answered", "left", "refused", "stuck"):
            tally.unexpected.append(f"{kind}: {ended}")
        about = f"{kind} of {model}, {start - tally.began:.0f} s after the start: {ended}"
        tally.slow = sorted([*tally.slow, (time.monotonic() - start, about)], reverse=True)[:SLOWEST]
        tally.ended[f"{kind}: {ended}" if ended in ("answered", "left") else ended] += 1
        del tally.open[number]
        await asyncio.sleep(draw.choice((0.0, 0.05, 0.3)))


async def _ask(server: Ours, call: Call, leave: float | None) -> str:
    """How one request ended. leave: seconds after which the client goes."""
    exchange = await server.open(call)
    try:
        if leave is None:
            return _verdict(await exchange.finish())
        if leave == 0.0:
            return "left"
        return _verdict(await asyncio.wait_for(_finish(exchange), leave))
    except asyncio.TimeoutError:
        return "left"
    finally:
        exchange.drop()


async def _finish(exchange: Exchange) -> Reply:
    return await exchange.finish()


def _verdict(reply: Reply) -> str:
    if reply.ok:
        return "answered"
    if reply.status == BUSY and reply.error:
        return "refused"
    return f"{'crashed' if reply.code in CRASHED else 'failed'}: {reply.status} {reply.code} {reply.error}"
