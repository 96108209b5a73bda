"""Speed, load and endurance of a running service, as its clients see them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable

from qwencoder_lsp.models.store import resolve
from qwencoder_lsp.settings import Settings
from tests.bench.engine.client import Call, Reply
from tests.bench.engine.stats import median, p95
from tests.bench.requirements.visit import Visit

SIMULTANEOUS, USERS = 10, 20
LINE, BODY = 16, 96  # tokens of a simple and of a complex completion
LONG = 100_000
CLIENTS, KEYSTROKES = 4, 4


async def speed(v: Visit) -> None:
    """Tokens per second of one stream, the first token aside."""
    n = v.few(5, 2)
    replies = [await v.ask(v.server.complete(v.corpus.text(v.few(150, 40), "speed", i), v.few(64, 32), ignore_eos=True)) for i in range(n)]
    _, health = await v.health()
    on_cpu = all("cpu" in str(model["device"]).lower() for model in health["models"] if model["device"])
    value = median([reply.speed for reply in replies])
    for name, bar, here in (("tokens/s, CPU", 5, on_cpu), ("tokens/s, GPU", 20, not on_cpu)):
        if here:
            v.report.add(name, value, "", n, bar, "min")
        else:
            v.report.lack(name, "", "needs a GPU" if on_cpu else "runs on the GPU", bar, "min")


async def health(v: Visit) -> None:
    """The slowest answer of /health while nothing runs, while a model is loaded, and while ten requests run."""
    idle = [(await v.health())[0] for _ in range(v.few(20, 5))]
    v.report.add("health while idle, slowest", max(idle), "s", len(idle), 1, "max")
    await v.server.call(Call("/models/unload", {}))
    while not await v.server.asleep():  # noqa: ASYNC110 - the service has no event for it here
        await asyncio.sleep(0.05)
    loading = await _meanwhile(v, v.ask(v.server.complete(v.corpus.text(20, "load"), 1)))
    v.report.add("health while loading, slowest", max(loading), "s", len(loading), 1, "max")
    calls = [v.server.complete(v.corpus.text(v.few(150, 30), "health", i), v.few(48, 24), ignore_eos=True) for i in range(SIMULTANEOUS)]
    loaded = await _meanwhile(v, v.together(calls))
    v.report.add("health with 10 requests running, slowest", max(loaded), "s", len(loaded), 1, "max")


async def many(v: Visit) -> None:
    """Errors of ten requests at once, and of twenty people who ask one thing after the other."""
    calls = [v.server.complete(v.corpus.text(v.few(200, 40), "many", i), 24, ignore_eos=True) for i in range(SIMULTANEOUS)]
    replies = await v.together(calls)
    v.report.add("10 simultaneous requests, errors", _bad(replies), "", len(replies), 0, "max")
    turns = v.few(3, 1)

    async def user(number: int) -> list[Reply]:
        found = []
        for turn in range(turns):
            text = v.corpus.text(v.few(120, 30), "user", number, turn)
            found.append(await v.ask(v.server.chat(f"What does this do?\n\n{text}", 16) if number % 2 else v.server.complete(text, 16)))
        return found

    replies = [reply for found in await asyncio.gather(*map(user, range(USERS))) for reply in found]
    v.report.add("20 users, errors", _bad(replies), "", len(replies), 0, "max")


async def completions(v: Visit) -> None:
    """A rest of a line at new places and key by key, and a body of a function where the file has about 700 tokens around it."""
    simple: list[float] = []
    for i in range(v.few(10, 1)):
        hole = v.corpus.hole(250, 60, "simple", i)
        for typed in ("", *hole.typed):
            reply = await v.ask(v.server.fill(hole.prefix + typed, hole.suffix, LINE))
            if reply.ok:
                simple.append(reply.total)
    v.report.add("simple completion, median", median(simple), "s", len(simple), 2, "max")
    v.report.add("simple completion, P95", p95(simple), "s", len(simple), 5, "max")
    bodies = []
    for i in range(v.few(6, 1)):
        hole = v.corpus.hole(600, 100, "complex", i)
        reply = await v.ask(v.server.fill(hole.prefix, hole.suffix, BODY))
        if reply.ok:
            bodies.append(reply.total)
    v.report.add("complex completion, median", median(bodies), "s", len(bodies), 10, "max")


async def rate(v: Visit) -> None:
    """How many rests of a line four people get in a minute, each typing on in a file of his own, a few characters at a time."""
    files = [(v.corpus.text(150, "rate", i), v.corpus.text(600, "typed", i), v.corpus.text(40, "behind", i)) for i in range(CLIENTS)]
    start = time.perf_counter()
    end = start + v.few(60, 20)

    async def person(before: str, typed: str, behind: str) -> int:
        done, at = 0, 0
        while time.perf_counter() < end:
            done += (await v.ask(v.server.fill(before + typed[:at], behind, 8))).ok
            at += KEYSTROKES
        return done

    done = sum(await asyncio.gather(*(person(*file) for file in files)))
    v.report.add("requests a minute, 4 people typing", 60 * done / (time.perf_counter() - start), "", done, 100, "min")


async def memory(v: Visit) -> None:
    """The engine's resident memory after all of the load, over the model's file, which the bar is for, and over what we say that it needs."""
    _, health = await v.health()
    needed = resolve(str(v.model)).memory(Settings().engine.context)
    used = health["memory"]["engines_bytes"]
    v.report.add("engine memory / model file", used / v.model.stat().st_size, "", 1, 2, "max")
    v.report.add("engine memory / what we say that it needs", used / needed, "", 1)


async def long_prompt(v: Visit) -> None:
    """A prompt of 100,000 tokens is answered, or refused in a sentence; the same engine goes on, within its memory."""
    before = v.server.engines
    text = "".join(v.corpus.text(1000, "long", i) for i in range(LONG // 1000))
    reply = await v.server.call(v.server.complete(text, 8))
    after = await v.ask(v.server.complete(v.corpus.text(30, "after"), 4))
    refused = reply.status == 400 and len(reply.error) > 20
    good = (reply.ok or refused) and after.ok and v.server.engines == before
    what = "answered" if reply.ok else f"refused with {reply.status}"
    v.report.add(f"100K tokens: {what}, and the engine lives", good, "", 1, 1, "min")
    v.errors += [] if good else [f"100K tokens: {reply.status} {reply.error}"]


async def _meanwhile(v: Visit, work: Awaitable[object]) -> list[float]:
    """How long each look at /health takes while the work goes on."""
    task = asyncio.ensure_future(work)
    found = [(await v.health())[0]]
    while not task.done():
        await asyncio.sleep(0.05)
        found.append((await v.health())[0])
    await task
    return found


def _bad(replies: list[Reply]) -> int:
    return sum(not reply.ok for reply in replies)
