"""Against ourselves and the library: completions beside other work, what we add to llama.cpp, and llama-bench."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import time
from collections.abc import AsyncIterator

from tests.bench.engine.client import Reply
from tests.bench.engine.corpus import KEYS
from tests.bench.engine.scenario import Metric, Outcome, Scenario, Visit, Void, expect
from tests.bench.engine.stats import p95

KEY_S = 0.7
CHATS = 3
FEWEST = 30  # measurements over all repeats
PLAIN = {"speculate": False}


async def interactive(v: Visit) -> Outcome:
    """A key each 0.7 s while three chats and a review run ("ours"), and while nothing else does ("default")."""
    keys = max(10, math.ceil(FEWEST / v.lab.repeats))
    outcome = Outcome({"total": [], "first": []})
    background = others(v) if v.role == "ours" else contextlib.nullcontext()
    holes = [v.lab.corpus.hole(600, 100, *v.key(i)) for i in range(math.ceil(keys / KEYS))]
    async with background:
        for i in range(keys):
            hole, typed = holes[i // KEYS], i % KEYS
            if typed == 0:  # the file is open already
                expect(await v.server.call(v.server.fill(hole.prefix, hole.suffix, 16)))
            start = time.monotonic()
            reply: Reply = expect(await v.server.call(v.server.fill(hole.prefix + hole.typed[typed], hole.suffix, 16)))
            outcome.samples["total"].append(reply.total)
            outcome.samples["first"].append(reply.first)
            outcome.fact(tokens=reply.tokens, evaluated=reply.timings.get("prompt_n", 0))
            await asyncio.sleep(max(0.0, KEY_S - (time.monotonic() - start)))
    return outcome


@contextlib.asynccontextmanager
async def others(v: Visit) -> AsyncIterator[None]:
    """Three chats and a review, each begun anew when it ends; they have been running for a moment."""

    async def talk(who: int) -> None:
        for turn in range(1000):
            expect(await v.server.call(v.server.chat(f"Explain this code in detail.\n\n{v.text(250, 'chat', who, turn)}", 300)))

    async def review() -> None:
        for turn in range(1000):
            question = f"Review this file. List its bugs.\n\n{v.text(1500, 'review', turn)}"
            expect(await v.server.call(v.server.chat(question, 400, priority="review")))

    tasks = [asyncio.create_task(talk(who)) for who in range(CHATS)] + [asyncio.create_task(review())]
    try:
        await asyncio.sleep(1.5)
        yield
        for task in tasks:
            if task.done():
                task.result()  # a background request that failed would make the figure a better one
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def outside(v: Visit) -> Outcome:
    """Generation time and the part of it spent in llama_decode, by the server's own account."""
    reply: Reply = expect(await v.server.call(v.server.complete(v.text(64), 128)))
    if "native_ms" not in reply.timings:
        raise KeyError("timings.native_ms")
    if reply.tokens < 32:
        raise Void("the answer is too short")
    steps = reply.tokens - 1
    outcome = Outcome({"per_token": [reply.timings["predicted_ms"] / steps]}, {"per_token": [reply.timings["native_ms"] / steps]})
    outcome.fact(outside_percent=100 * (1 - reply.timings["native_ms"] / reply.timings["predicted_ms"]))
    return outcome


async def library(v: Visit) -> Outcome:
    """512 tokens of cold prefill and 64 decoded: by our server's account ("ours") and by llama-bench ("default")."""
    if v.role == "default":
        return await _llama_bench(v)
    prompt: Reply = expect(await v.server.call(v.server.complete(v.lab.corpus.ids(512, *v.key("prefill")), 1, **PLAIN)))
    answer: Reply = expect(await v.server.call(v.server.complete(v.lab.corpus.ids(16, *v.key("decode")), 65, **PLAIN)))
    if answer.tokens < 48 or prompt.timings.get("cache_n", 0) > 8:
        raise Void(f"{answer.tokens} tokens, {prompt.timings.get('cache_n', 0)} cached")
    prefill = prompt.timings["prompt_n"] / prompt.timings["prompt_ms"] * 1000
    decode = (answer.timings["predicted_n"] - 1) / answer.timings["predicted_ms"] * 1000
    return Outcome({"prefill": [prefill], "decode": [decode]})


async def _llama_bench(v: Visit) -> Outcome:
    cores = str(len(os.sched_getaffinity(0)))
    command = [str(v.lab.peer.with_name("llama-bench")), "-m", str(v.lab.model), "-t", cores, "-p", "512", "-n", "64", "-r", "1", "-o", "json"]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL)
    output, _ = await process.communicate()
    found = json.loads(output)
    prefill = next(test for test in found if test["n_prompt"] == 512)
    decode = next(test for test in found if test["n_gen"] == 64)
    return Outcome({"prefill": prefill["samples_ts"], "decode": decode["samples_ts"]})


SCENARIOS = (
    Scenario("interactive", (Metric("interactive", "total", "s", 1 / 1.3, statistic=p95),), interactive, peers=False),
    Scenario("outside", (Metric("outside", "per_token", "ms", 0.97),), outside, peers=False, base=False),
    Scenario(
        "library",
        (
            Metric("library_prefill", "prefill", "tokens/s", 0.90, less=False, lower_bound=True),
            Metric("library_decode", "decode", "tokens/s", 0.90, less=False, lower_bound=True),
        ),
        library,
        peers=False,
    ),
)
