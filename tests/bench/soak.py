"""Soak: mixed requests for a long time, with clients that go, engines that are killed and models that change; then look at what is left.

At the end no request may be stuck, the private memory of gateway and engines may not have grown over the second half, and the soaked engine must
give the same log-probabilities as a fresh one. Engines are killed in the first third only, so that the memory is that of one process life.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import re
import signal
import sys
import time
import urllib.request
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from qwencoder_lsp.models.store import resolve
from tests.bench.engine.agreement import TOLERANCE, Agreement, compare, probe
from tests.bench.engine.corpus import Corpus
from tests.bench.engine.peers import Ours, clean_environment, own_home, to_its_end
from tests.bench.engine.processes import command_line, private_mb
from tests.bench.engine.stats import median, slope
from tests.bench.engine.traffic import PATIENCE_S, Pool, Tally, client

CLIENTS = 5
IDLE_UNLOAD_S = 5
HOST_TIER_MB = 48  # about 4000 tokens of the 0.5B: soon full, so that the second half, which is judged, is not its filling
GATEWAY_MB = 16.0  # tolerated growth over the second half
ENGINE_MB, ENGINE_SHARE = 64.0, 0.05
JUDGED_MINUTES = 10  # in a shorter run the memory for computed prefixes is still filling; growth is shown, not judged
KILL_EVERY_S = (8.0, 25.0)


@dataclass(frozen=True)
class Memory:
    """Private memory over the second half: the median, the growth by a straight line, and how much of it is tolerated. MB."""

    points: int
    middle: float
    growth: float
    tolerance: float


@dataclass
class Report:
    """What a soak found. `failures` is empty when all is well."""

    minutes: float
    tally: Tally = field(default_factory=Tally)
    kills: int = 0
    switches: int = 0
    left_over: str = ""
    memory: dict[str, Memory] = field(default_factory=dict)
    held: list[dict[str, float]] = field(default_factory=list)  # MB of computed prefixes by model, at the beginning of the second half and at the end
    agreements: list[Agreement] = field(default_factory=list)

    @property
    def failures(self) -> list[str]:
        """One sentence each."""
        found = [f"stuck: {what}" for what in self.tally.stuck] + [f"unexpected: {what}" for what in self.tally.unexpected]
        found += [self.left_over] if self.left_over else []
        if self.minutes >= JUDGED_MINUTES:
            found += [f"{name} grew by {m.growth:.0f} MB, more than {m.tolerance:.0f}" for name, m in self.memory.items() if m.growth > m.tolerance]
        return found + [f"log-probabilities: {a.problem}" for a in self.agreements if a.problem]

    def table(self) -> str:
        """For people."""
        lines = [f"soak of {self.minutes:g} minutes: {self.tally.sent} requests, {self.kills} kills, {self.switches} switches of the model"]
        lines += [f"  {name:40} {count}" for name, count in sorted(self.tally.ended.items())]
        lines += [f"  {'slow (stuck from ' + str(PATIENCE_S) + ' s)':40} {seconds:.1f} s: {what}" for seconds, what in self.tally.slow]
        judged = "" if self.minutes >= JUDGED_MINUTES else f", not judged below {JUDGED_MINUTES} minutes"
        for name, m in self.memory.items():
            grown = f"{m.growth:+.1f} MB in the second half ({m.points} samples; tolerance {m.tolerance:.0f}{judged})"
            lines.append(f"  {'private memory, ' + name:40} {m.middle:.0f} MB, {grown}")
        for name in self.held[-1] if self.held else ():
            shares = " and ".join(f"{held.get(name, 0):.0f}" for held in self.held)
            lines.append(f"  {'computed prefixes, ' + name:40} {shares} of {HOST_TIER_MB} MB in the middle and at the end")
        for a in self.agreements:
            lines.append(
                f"  {'log-probabilities against a fresh engine':40} {a.compared} tokens, at most {a.difference:.3f} apart (below {TOLERANCE})"
            )
        return "\n".join([*lines, *(f"FAILED {failure}" for failure in self.failures[:40]), "" if self.failures else "all is well"]).rstrip()


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--model", default="qwencoder-0.5b", help="a catalogue name or a GGUF file")
    parser.add_argument("--second", help="the model to change to; otherwise the same one under another name")
    parser.add_argument("--seed", type=int, default=0)


def main(options: argparse.Namespace) -> int:
    """0 when all is well."""
    second = resolve(options.second).path if options.second else None
    report = to_its_end(run(options.minutes, resolve(options.model).path, second, options.seed))
    print(report.table())
    return 1 if report.failures else 0


async def run(minutes: float, model: Path, second: Path | None = None, seed: int = 0) -> Report:
    """A soak of `minutes` and the look at what is left, which takes about half a minute more."""
    report = Report(minutes)
    pool = Pool(Corpus(model), max(4, min(12, int(minutes / 2))), seed)
    with own_home() as home:
        models = (model, second or _second_name(model, home))
        async with _serving(home, models) as server:
            at_rest = await _active(server)  # the command that serves is a request of its own
            await _soak(server, pool, [path.stem for path in models], report, seed)
            report.held.append(await _held(server))
            report.left_over = await _left_over(server, at_rest)
            soaked = await probe(server, model.stem, pool)
        async with _serving(home, models) as fresh:
            clean = await probe(fresh, model.stem, pool)
    report.agreements = [compare(a, b) for a, b in zip(soaked, clean, strict=True)]
    return report


@contextlib.asynccontextmanager
async def _serving(home: Path, models: tuple[Path, Path]) -> AsyncIterator[Ours]:
    """A server of two models, which forgets an idle one soon."""
    env = {
        "QWENCODER_MODEL_COMPLETION": str(models[0]),
        "QWENCODER_MODEL_CHAT": str(models[1]),
        "QWENCODER_ENGINE_IDLE_UNLOAD_S": str(IDLE_UNLOAD_S),
        "QWENCODER_ENGINE_CACHE_MB": str(HOST_TIER_MB),
    }
    server = await Ours.start(None, home, env)
    try:
        await server.warm()
        yield server
    finally:
        await server.stop()


async def _soak(server: Ours, pool: Pool, names: list[str], report: Report, seed: int) -> None:
    draw = random.Random(seed)  # noqa: S311 - traffic
    seconds = report.minutes * 60
    start = time.monotonic()
    focus = list(names)
    points: dict[str, list[tuple[float, float]]] = {}
    around = [
        asyncio.create_task(_kill(server, report, draw, start + seconds / 3)),
        asyncio.create_task(_switch(focus, report, min(30.0, max(12.0, seconds / 12)))),
        asyncio.create_task(_watch(server, focus, points, report, start + seconds / 2)),
    ]
    try:
        clients = (client(server, pool, focus, report.tally, start + seconds, random.Random(f"{seed} {i}")) for i in range(CLIENTS))  # noqa: S311
        await asyncio.gather(*clients)
        for task in around:
            if task.done():
                task.result()  # an error in one of them is one of the soak
    finally:
        for task in around:
            task.cancel()
        await asyncio.gather(*around, return_exceptions=True)
    report.memory = {name: _memory(name, found) for name, found in points.items()}


async def _kill(server: Ours, report: Report, draw: random.Random, until: float) -> None:
    """SIGKILL an engine now and then."""
    while True:
        await asyncio.sleep(draw.uniform(*KILL_EVERY_S) if report.kills else KILL_EVERY_S[0])
        if time.monotonic() > until:
            return
        if engines := server.engines:
            report.tally.killed_at = time.monotonic()
            report.kills += 1
            with contextlib.suppress(ProcessLookupError):
                os.kill(draw.choice(engines), signal.SIGKILL)


async def _switch(focus: list[str], report: Report, every: float) -> None:
    """Change the model that most requests are for; the other is idle for long enough to leave memory."""
    while True:
        await asyncio.sleep(every)
        focus.reverse()
        report.switches += 1


async def _watch(server: Ours, focus: list[str], points: dict[str, list[tuple[float, float]]], report: Report, begin: float) -> None:
    """Note private memory: of the gateway, and of the engine in use the most in each spell of use, so that like is compared with like."""
    await asyncio.sleep(max(0.0, begin - time.monotonic()))
    report.held.append(await _held(server))
    while True:
        model, most = focus[0], 0.0
        while focus[0] == model:
            await asyncio.sleep(1.0)
            points.setdefault("gateway", []).append((time.monotonic(), private_mb(server.gateway)))
            most = max([most, *(private_mb(pid) for pid in server.engines if f"{model}.gguf" in command_line(pid))])
        points.setdefault(f"engine of {model}", []).append((time.monotonic(), most))


async def _held(server: Ours) -> dict[str, float]:
    """MB of computed prefixes in host memory, by model."""

    def text() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=PATIENCE_S) as reply:
            return str(reply.read().decode())

    found = re.findall(r'^qwencoder_prefix_cache_bytes\{model="([^"]*)"\} (\S+)$', await asyncio.to_thread(text), re.MULTILINE)
    return {model: float(size) / 2**20 for model, size in found}


def _memory(name: str, points: list[tuple[float, float]]) -> Memory:
    middle = median([mb for _, mb in points])
    growth = slope(points) * (points[-1][0] - points[0][0])
    return Memory(len(points), middle, growth, GATEWAY_MB if name == "gateway" else ENGINE_MB + ENGINE_SHARE * middle)


async def _left_over(server: Ours, at_rest: int) -> str:
    """Why the server is not at rest when all clients have gone, or nothing."""
    try:
        await server.settle()
    except TimeoutError as error:
        return str(error)
    active = -1
    for _ in range(20):
        active = await _active(server)
        if active == at_rest:
            return ""
        await asyncio.sleep(0.5)
    return f"the gateway counts {active} running requests, {at_rest} before"


async def _active(server: Ours) -> int:
    command = (sys.executable, "-m", "qwencoder_lsp.cli", "status", "--json")
    env = clean_environment() | {"QWENCODER_HOME": str(server.home)}
    process = await asyncio.create_subprocess_exec(*command, env=env, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    return int(json.loads(output)["gateway"]["active"])


def _second_name(model: Path, home: Path) -> Path:
    """The same file under another name: for the service another model."""
    path = home / "second.gguf"
    path.symlink_to(model)
    return path
