"""Switching between the 0.5B and the 1.5B model when only one of them fits into memory: from a request for the other model to its first token."""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from pathlib import Path

from qwencoder_lsp.core.prompt import Message
from qwencoder_lsp.gateway.client import GatewayClient
from qwencoder_lsp.gateway.protocol import ChatRequest, Piece
from qwencoder_lsp.models.store import resolve
from tests.bench.report import Report
from tests.protocol.gateways import gateway

SMALL, LARGE = "qwencoder-0.5b", "qwencoder-1.5b"
ONE_MODEL_MB, BOTH_MODELS_MB = 1800, 4000
BAR_S = 10.0


def run(sample: int) -> Report:
    """Switches, the longest of them against the bar; the first start of each engine; and the same requests with room for both models."""
    return asyncio.run(_run(sample or 6))


async def _run(n: int) -> Report:
    report = Report("swap")
    files = [resolve(name).path for name in (SMALL, LARGE)]  # of the user's home, before the benchmark's own counts
    with tempfile.TemporaryDirectory(prefix="qc-", ignore_cleanup_errors=True) as home:
        models = Path(home) / "data" / "models"
        models.mkdir(parents=True)
        for file in files:
            (models / file.name).symlink_to(file)
        before = os.environ.get("QWENCODER_HOME")
        os.environ["QWENCODER_HOME"] = home
        try:
            async with gateway(engine={"memory_mb": ONE_MODEL_MB}) as client:
                first = [await _first_token(client, name) for name in (SMALL, LARGE)]
                times: dict[str, list[float]] = {name: [] for name in (SMALL, LARGE)}
                for _ in range(n):
                    for name, measured in times.items():
                        measured.append(await _first_token(client, name))
            async with gateway(engine={"memory_mb": BOTH_MODELS_MB}) as client:
                for name in (SMALL, LARGE):
                    await _first_token(client, name)
                both = [await _first_token(client, name) for _ in range(n) for name in (SMALL, LARGE)]
        finally:
            os.environ.pop("QWENCODER_HOME")
            if before is not None:
                os.environ["QWENCODER_HOME"] = before
    report.add(f"first start, {SMALL}", first[0], "s", 1)
    report.add(f"first start, {LARGE}, in its place", first[1], "s", 1, BAR_S, "max")
    for name, measured in times.items():
        report.add(f"switch to {name}, median", statistics.median(measured), "s", n)
    report.add("longest switch", max(max(measured) for measured in times.values()), "s", 2 * n, BAR_S, "max")
    report.add("both in memory, median", statistics.median(both), "s", 2 * n)
    return report


async def _first_token(client: GatewayClient, name: str) -> float:
    """Seconds until the model has written something."""
    request = ChatRequest((Message("user", "Say hi."),), model=name, max_tokens=1)
    start = time.perf_counter()
    found = 0.0
    async for event in client.chat(request):
        if isinstance(event, Piece) and not found:
            found = time.perf_counter() - start
    return found or time.perf_counter() - start
