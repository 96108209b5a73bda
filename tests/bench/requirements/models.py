"""Start, change and unloading of models."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from tests.bench.engine.client import Call
from tests.bench.engine.peers import Ours
from tests.bench.report import Report

IDLE_S = 3.0
PATIENCE_S = 30.0
BESIDE = 700  # MB beside a model's weights: enough for one, not for two


async def start(model: Path, home: Path, report: Report) -> Ours:
    """A served model; the time from the command to the first answer, in a home that has never seen the machine."""
    began = time.perf_counter()
    server = await Ours.start(model, home)
    await _answered(server, "auto")
    report.add("start, until the first answer", time.perf_counter() - began, "s", 1, 60, "max")
    return server


async def swaps(large: Path, small: Path, home: Path, report: Report, rounds: int) -> None:
    """Each model in turn where memory holds one of them; then wait until the last one leaves memory, and ask again."""
    env = {
        "QWENCODER_MODEL_COMPLETION": str(large),
        "QWENCODER_MODEL_CHAT": str(small),
        "QWENCODER_ENGINE_MEMORY_MB": str(_megabytes(large) + BESIDE),
        "QWENCODER_ENGINE_IDLE_UNLOAD_S": str(IDLE_S),
    }
    server = await Ours.start(None, home, env)
    try:
        await _answered(server, large.stem)
        taken = []
        for _ in range(rounds):
            for model in (small, large):
                began = time.perf_counter()
                await _answered(server, model.stem)
                taken.append(time.perf_counter() - began)
        report.add("model swap, slowest, until the first answer", max(taken), "s", len(taken), 10, "max")
        began = time.perf_counter()
        while not await server.asleep() and time.perf_counter() - began < PATIENCE_S:  # noqa: ASYNC110 - the service has no event for it
            await asyncio.sleep(0.1)
        report.add(f"idle unload, set to {IDLE_S:.0f} s", time.perf_counter() - began, "s", 1, IDLE_S + 2, "max")
        began = time.perf_counter()
        await _answered(server, large.stem)
        report.add("first answer after it", time.perf_counter() - began, "s", 1, 10, "max")
    finally:
        await server.stop()


def _megabytes(file: Path) -> int:
    return file.stat().st_size >> 20


async def _answered(server: Ours, model: str) -> None:
    reply = await server.call(Call("/v1/completions", {"model": model, "prompt": "def add(a, b):", "max_tokens": 1, "temperature": 0}))
    if reply.status != 200:
        raise ConnectionError(f"{model}: {reply.status} {reply.error}")
