"""`python -m tests.bench streams`: streams cut at random points, with the real model: how soon the engine computes nothing, and what stays behind.

Each stream of a random route and prompt is cut before, within or after its prompt, or between two tokens. Idle: from the close on, the engine's
process uses no processor time worth the name, as the kernel counts it in nanoseconds.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import time
from pathlib import Path

from qwencoder_lsp.engine.scheduler import STREAM_MS
from qwencoder_lsp.models.store import resolve
from tests.bench.engine.client import Call
from tests.bench.engine.peers import Ours, own_home, to_its_end
from tests.bench.engine.processes import private_mb
from tests.bench.report import Report

STREAMS = 500
TOKENS = 64
PROMPT_WORDS = 600  # at most: about two seconds of a prompt on two cores
WAIT_S = 3.0  # at most, for a cut by time
HOST_TIER_MB = 48
PIECES = 12  # at most, for a cut between tokens
LOOK_S = 0.02
IDLE_SHARE = 0.1  # of a core
GIVE_UP_S = 30.0
FLAT_MB = 24.0  # that the gateway or the engine may grow by between the fifth part of the streams and their end
WORDS = ["def", "return", "class", "self", "value", "item", "order", "price", "total", "weight", "index", "table", "count", "name"]


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--model", default="qwencoder-0.5b", help="a catalogue name or a GGUF file")
    parser.add_argument("--sample", type=int, default=STREAMS, help="streams")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other cuts")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")


def main(options: argparse.Namespace) -> int:
    """0 when all bars are met."""
    with own_home() as home:
        report = to_its_end(_report(options, resolve(options.model).path, home))
    print(report.table())
    if options.json:
        options.json.write_text(report.lines(), "utf-8")
    return int(any(figure.verdict == "MISSED" for figure in report.figures))


async def _report(options: argparse.Namespace, model: Path, home: Path) -> Report:
    draw = random.Random(options.seed)  # noqa: S311 - where to cut is no secret
    # Computed prefixes that an ended request leaves in host memory are wanted, and full from the start here.
    server = await Ours.start(model, home, {"QWENCODER_ENGINE_CACHE_MB": str(HOST_TIER_MB)})
    try:
        await server.warm()
        idle: list[float] = []
        sizes: list[tuple[float, float]] = []
        early = 0
        for number in range(options.sample):
            early += await _cut(server, _call(server, draw, number), draw)
            idle.append(await _idle(server.engines[0]))
            if number in (options.sample // 5, options.sample - 1):
                sizes.append((private_mb(server.gateway), private_mb(server.engines[0])))
        await server.settle()
        active = (await server.call(Call("/slots"))).body
    finally:
        await server.stop()
    idle.sort()
    report = Report(f"{options.sample} streams cut at random points, {model.name}")
    report.add("cut before the first token", early, "", len(idle))
    report.add("until the engine is idle, median", idle[len(idle) // 2] * 1000, "ms", len(idle))
    report.add("until the engine is idle, 95th percentile", idle[int(len(idle) * 0.95)] * 1000, "ms", len(idle))
    report.add("until the engine is idle, longest", idle[-1] * 1000, "ms", len(idle), STREAM_MS, "max")
    report.add("requests left in the end", sum(slot["is_processing"] for slot in active), "", len(idle), 0, "max")
    for place, name in enumerate(("gateway", "engine")):
        report.add(f"memory of the {name}, growth over the last four fifths", sizes[1][place] - sizes[0][place], "MB", len(idle), FLAT_MB, "max")
    return report


def _call(server: Ours, draw: random.Random, number: int) -> Call:
    text = f"# {number}\n" + " ".join(draw.choice(WORDS) for _ in range(draw.randrange(1, PROMPT_WORDS)))
    chat = [{"role": "user", "content": text}]
    schema = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "array", "items": {"type": "string"}}}}
    return draw.choice(
        (
            server.complete(text, TOKENS),
            server.complete(text, TOKENS, n=2, temperature=0.8),
            server.chat(text, TOKENS),
            server.chat(text, TOKENS, response_format=schema),
            server.fill(text, "\n    return value\n", TOKENS),
            Call("/infill", {"input_prefix": text, "input_suffix": "", "n_predict": TOKENS, "stream": True}),
            Call("/api/chat", {"model": "auto", "messages": chat, "options": {"num_predict": TOKENS}}),
        )
    )


async def _cut(server: Ours, call: Call, draw: random.Random) -> bool:
    """Whether it was cut before its first piece of text."""
    exchange = await server.open(call)
    by_time = draw.random() < 0.5 or call.path == "/api/chat"  # whose lines are not told apart
    seconds, pieces = draw.random() * WAIT_S, draw.randrange(1, PIECES)

    async def read() -> None:
        async for reply in exchange.events():
            if not by_time and len(reply.pieces) >= pieces:
                return

    with contextlib.suppress(TimeoutError, asyncio.TimeoutError):
        await asyncio.wait_for(read(), seconds if by_time else GIVE_UP_S)
    exchange.drop()
    return not exchange.reply.pieces


async def _idle(pid: int) -> float:
    """Seconds until the process computes nothing. Raises TimeoutError."""
    begin = at = time.perf_counter()
    used = _seconds(pid)
    while at - begin < GIVE_UP_S:
        await asyncio.sleep(LOOK_S)
        now, before, used = time.perf_counter(), used, _seconds(pid)
        if (used - before) / (now - at) < IDLE_SHARE:
            return at - begin
        at = now
    raise TimeoutError(f"The engine still computes {GIVE_UP_S:.0f} s after the stream was cut.")


def _seconds(pid: int) -> float:
    """Processor time of the process's threads. Linux: sched-stats.rst, first field of /proc/PID/task/TID/schedstat."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            total += int((task / "schedstat").read_text("ascii").split()[0])
    return total / 1e9
