"""Many at once: windows with a common prefix, eight streams, busy cores, thirty-two clients."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Iterator

from tests.bench.engine.client import Call, Reply
from tests.bench.engine.scenario import Metric, Outcome, Scenario, Visit, expect
from tests.bench.engine.stats import median, p90

WINDOWS = 4
STREAMS = 8
CLIENTS = 32
BUSY = 2


async def windows(v: Visit) -> Outcome:
    """Four windows of one repository ask at the same time, cold."""
    prefix = v.text(500, "prefix")
    calls = [v.server.complete(prefix + v.text(45, "tail", i), 8) for i in range(WINDOWS)]
    replies: list[Reply] = [expect(r) for r in await asyncio.gather(*map(v.server.call, calls))]
    outcome = Outcome({"all": [max(r.ended for r in replies) - min(r.sent for r in replies)]})
    outcome.fact(evaluated=sum(r.timings.get("prompt_n", 0) for r in replies), prompt_tokens=sum(r.prompt_tokens for r in replies))
    return outcome


async def streams(v: Visit) -> Outcome:
    """Eight people want 48 tokens each for prompts of about 300 tokens: half of them chat, half complete."""
    prompts = [v.text(300, i) for i in range(STREAMS)]
    calls = [_mixed(v, p, i) for i, p in enumerate(prompts)]
    replies: list[Reply] = [expect(r) for r in await asyncio.gather(*map(v.server.call, calls))]
    wall = max(r.ended for r in replies) - min(r.sent for r in replies)
    outcome = Outcome({"first": [r.first for r in replies], "speed": [sum(r.tokens for r in replies) / wall]})
    outcome.fact(tokens=sum(r.tokens for r in replies), prompt_tokens=sum(r.prompt_tokens for r in replies), wall=wall)
    outcome.fact(last_first_token=max(r.first for r in replies))
    return outcome


def _mixed(v: Visit, prompt: str, i: int) -> Call:
    if i % 2:
        return v.server.chat(f"Explain this code.\n\n{prompt}", 48, ignore_eos=True)
    return v.server.complete(prompt, 48, ignore_eos=True)


async def busy(v: Visit) -> Outcome:
    """Two other processes spin while a stream of 64 tokens runs, three times; the time in which we adapt to them counts."""
    outcome = Outcome({"gap": []})
    with spinning(BUSY):
        await asyncio.sleep(1.0)
        for i in range(3):
            reply: Reply = expect(await v.server.call(v.server.complete(v.text(64, i), 64, ignore_eos=True)))
            outcome.samples["gap"] += reply.gaps()
            outcome.fact(median_gap=median(reply.gaps()), tokens=reply.tokens)
    return outcome


async def clients32(v: Visit) -> Outcome:
    """Thirty-two clients at once, of four kinds: each is answered, or refused with a reason."""
    prompts = [v.text(200, i) for i in range(CLIENTS)]
    holes = [v.lab.corpus.hole(200, 60, *v.key("hole", i)) for i in range(CLIENTS)]
    kinds = (
        lambda i: v.server.complete(prompts[i], 24),
        lambda i: v.server.chat(f"What does this do?\n\n{prompts[i]}", 24),
        lambda i: v.server.fill(holes[i].prefix, holes[i].suffix, 12),
        lambda i: v.server.chat(f"Name one function here.\n\n{prompts[i]}", 8),
    )
    replies = await asyncio.gather(*(v.server.call(kinds[i % len(kinds)](i)) for i in range(CLIENTS)), return_exceptions=True)
    good = [r for r in replies if isinstance(r, Reply) and r.ok]
    refused = [r for r in replies if isinstance(r, Reply) and r.status == 429 and r.error]
    outcome = Outcome({"share": [(len(good) + len(refused)) / CLIENTS]})
    outcome.fact(answered=len(good), refused=len(refused), other=CLIENTS - len(good) - len(refused))
    if good:
        outcome.fact(slowest=max(r.total for r in good), median=median([r.total for r in good]), slowest_first=max(r.first for r in good))
    return outcome


@contextlib.contextmanager
def spinning(count: int) -> Iterator[None]:
    """So many processes that want a core each."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"], start_new_session=True) for _ in range(count)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


SCENARIOS = (
    Scenario("windows", (Metric("windows", "all", "s", 2.2, 2.0),), windows, tuned=("-np", "4")),
    Scenario(
        "streams",
        (Metric("streams", "first", "s", 2, 1.5), Metric("streams_total", "speed", "tokens/s", 0.9, 0.9, less=False)),
        streams,
        tuned=("-np", "8"),
    ),
    Scenario("busy", (Metric("busy", "gap", "s", 2, 1.3, statistic=p90),), busy, tuned=("-t", "1", "-tb", "1")),
    Scenario("clients32", (Metric("clients32", "share", "answered or refused", 1.0, less=False),), clients32, peers=False, base=False),
)
