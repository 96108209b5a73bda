"""How long somebody waits: after a cancel, beside a long prompt, at a keystroke, after the model has left memory."""

from __future__ import annotations

import asyncio
import itertools
import time

from tests.bench.engine.client import Reply
from tests.bench.engine.scenario import Metric, Outcome, Scenario, Visit, Void, expect

STREAM = 3000  # more tokens than a stream needs while it is watched
PAUSE_S = 0.1
SLEEP_S = 3


async def cancel(v: Visit) -> Outcome:
    """Drop a long prefill after a second; how soon does a short request get its first token?"""
    exchange = await v.server.open(v.server.complete(v.text(3000, "long"), 16))
    reading = asyncio.create_task(exchange.finish())
    await asyncio.sleep(1.0)
    early = bool(exchange.reply.pieces)
    exchange.drop()
    reply = expect(await v.server.call(v.server.complete(f"def add_{v.repeat}_{v.attempt}(a, b):\n    return", 8)))
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    if early:
        raise Void("the long prompt was through within a second")
    return Outcome({"first": [reply.first]})


async def gap(v: Visit) -> Outcome:
    """A stream runs, a long prompt arrives: the longest silence of the stream, and the prompt's own time."""
    stream = await v.server.open(v.server.complete(v.text(100, "stream"), STREAM, ignore_eos=True))
    events = stream.events()
    long: asyncio.Task[Reply] | None = None
    try:
        after = 0
        async for reply in events:
            if long is None and len(reply.pieces) >= 16:
                long = asyncio.create_task(v.server.call(v.server.complete(v.text(1700, "long"), 4)))
            elif long is not None:
                after += long.done()
            if reply.ended:
                raise Void("the stream ended too early")
            if after >= 4:
                break
    finally:
        stream.drop()
        await events.aclose()
        if long is not None and not long.done():
            long.cancel()
    assert long is not None
    own: Reply = expect(await long)
    times = [at for at, _ in stream.reply.pieces]
    silences = [later - earlier for earlier, later in itertools.pairwise(times) if later > own.sent]
    outcome = Outcome({"longest": [max(silences)], "own": [own.first]})
    outcome.fact(prompt_tokens=own.prompt_tokens, cached=own.timings.get("cache_n", 0), pieces=len(silences))
    return outcome


def keystroke(prefix: int) -> Scenario:
    """Type the line on, a token per request as at the pauses of somebody who types, behind so many tokens and with real source after it."""

    async def visit(v: Visit) -> Outcome:
        hole = v.lab.corpus.hole(prefix, 190, *v.key())
        outcome = Outcome({"first": []})
        expect(await v.server.call(v.server.fill(hole.prefix, hole.suffix, 16)))
        for typed in hole.typed:
            await asyncio.sleep(PAUSE_S)
            reply = expect(await v.server.call(v.server.fill(hole.prefix + typed, hole.suffix, 16)))
            outcome.samples["first"].append(reply.first)
            outcome.fact(prompt_tokens=reply.prompt_tokens, evaluated=reply.timings.get("prompt_n", 0), empty=not reply.pieces)
        return outcome

    name = f"keystroke_{prefix}"
    return Scenario(name, (Metric(name, "first", "s", 6, 1.0),), visit, tuned=("-b", "8192"))


async def wake(v: Visit) -> Outcome:
    """A prompt is seen, the model leaves memory, the prompt comes again."""
    call = v.server.complete(v.text(1000), 8)
    before: Reply = expect(await v.server.call(call))
    deadline = time.monotonic() + SLEEP_S + 30
    while not await v.server.asleep():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{v.role}: the model has not left memory")
        await asyncio.sleep(0.2)
    reply: Reply = expect(await v.server.call(call))
    outcome = Outcome({"first": [reply.first]})
    outcome.fact(cold=before.first, prompt_tokens=reply.prompt_tokens, evaluated=reply.timings.get("prompt_n", 0))
    outcome.fact(restored=reply.timings.get("restored_n", 0), same_text=reply.text == before.text)
    return outcome


SMALL = ("-b", "512", "-ub", "256")
SCENARIOS = (
    Scenario("cancel", (Metric("cancel", "first", "s", 40, 10),), cancel, tuned=SMALL),
    Scenario("gap", (Metric("gap", "longest", "s", 8, 4), Metric("gap_own_prompt", "own", "s", 1 / 1.5, 1 / 1.5)), gap, tuned=SMALL),
    keystroke(2000),
    keystroke(6000),
    Scenario(
        "wake",
        (Metric("wake", "first", "s", 8, 8),),
        wake,
        both=("--sleep-idle-seconds", str(SLEEP_S)),
        tuned=("-ub", "256", "--no-warmup"),
        env={"QWENCODER_ENGINE_IDLE_UNLOAD_S": str(SLEEP_S)},
    ),
)
