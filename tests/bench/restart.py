"""The first completion of a workspace after everything was started anew: with nothing saved, and with the prefixes of the last session on disk.

Both through a fresh gateway and engine of a home of its own, as an editor starts them, for a prefix of 1000 tokens of this package's source.
Told twice: from the moment that the model is loaded, and from nothing, with the start of gateway, engine and model.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import statistics
import tempfile
import time
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from qwencoder_lsp import settings
from qwencoder_lsp.core.prompt import PromptParts, Stops
from qwencoder_lsp.gateway.protocol import CompleteRequest, End, Piece
from qwencoder_lsp.models.store import resolve
from tests.bench.report import Report
from tests.protocol.gateways import collect, gateway

PREFIX_TOKENS = 2048  # more than the prefix has, so that nothing of it is cut
PREFIX_CHARACTERS = 4600  # 1000 tokens of this source and a few more
SUFFIX = "\n\n\nprint(total_of([1, 2, 3]))\n"
SOURCES = ("features/complete.py", "lsp/completion.py", "engine/loop.py", "context/retrieve.py", "postprocess/overlap.py")
PACKAGE = Path(settings.__file__).parent


@dataclass(frozen=True)
class Started:
    """Milliseconds to the first text of the answer, from the loaded model and from nothing; prompt tokens, and those that came from the disk."""

    loaded_ms: float
    whole_ms: float
    prompt: int
    restored: int
    text: str


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.add_argument("--model", default="qwencoder-1.5b", help="a catalogue name or a GGUF file")
    parser.add_argument("--sample", type=int, default=len(SOURCES), help="number of documents, each cold and warm")
    parser.add_argument("--out", type=Path, help="also append the figures to this file, one JSON object per line")


def main(options: argparse.Namespace) -> int:
    """Measure, print, and return 0 when the bar is met."""
    model = str(resolve(options.model).path)
    with tempfile.TemporaryDirectory(prefix="qc-") as home:
        os.environ["QWENCODER_HOME"] = home
        asyncio.run(_start(model, "", "x = "))  # measures the machine's speed once, which the starts that count need not do
        pairs = [_pair(model, PACKAGE / name) for name in SOURCES[: options.sample]]
        bytes_saved = sum(f.stat().st_size for f in Path(home).rglob("prefixes/**/*") if f.is_file())
    n = len(pairs)
    report = Report(f"restart, {Path(model).stem}")
    report.add("tokens of the prompt, median", statistics.median(c.prompt for c, _ in pairs), "", n)
    report.add("tokens restored from disk, median", statistics.median(w.restored for _, w in pairs), "", n)
    report.add("saved on disk for each document, mean", bytes_saved / n / 2**20, "MB", n)
    for name, which in (("loaded model", "loaded_ms"), ("nothing", "whole_ms")):
        cold, warm = (statistics.median(getattr(pair[i], which) for pair in pairs) for i in (0, 1))
        report.add(f"first text from {name}, cold, median", cold, "ms", n)
        report.add(f"first text from {name}, warm, median", warm, "ms", n)
    ratio = statistics.median(c.loaded_ms / w.loaded_ms for c, w in pairs)
    report.add("cold / warm from loaded model, median", ratio, "", n, 5, "min")
    report.add("cold / warm from nothing, median", statistics.median(c.whole_ms / w.whole_ms for c, w in pairs), "", n)
    report.add("warm answers that equal the cold ones", sum(c.text == w.text for c, w in pairs), "", n)
    print(report.table())
    if options.out:
        with options.out.open("a", encoding="utf-8") as file:
            file.write(report.lines())
    return int(ratio < 5)


def _pair(model: str, file: Path) -> tuple[Started, Started]:
    text = file.read_text("utf-8")[:PREFIX_CHARACTERS]
    workspace = hashlib.sha256(json.dumps(str(file)).encode()).hexdigest()[:32]
    return asyncio.run(_start(model, workspace, text)), asyncio.run(_start(model, workspace, text))


async def _start(model: str, workspace: str, text: str) -> Started:
    begin = time.perf_counter()
    async with gateway(model={"completion": model}) as client:
        await collect(client.complete(_request(model, "", "x = ")))
        loaded = time.perf_counter()
        answer, first = "", 0.0
        async with aclosing(client.complete(_request(model, workspace, text))) as events:
            async for event in events:
                if isinstance(event, Piece):
                    first = first or time.perf_counter()
                    answer += event.text
                if isinstance(event, End):
                    usage = event.usage
        first = first or time.perf_counter()
    return Started((first - loaded) * 1000, (first - begin) * 1000, usage.prompt, usage.restored, answer)


def _request(model: str, workspace: str, text: str) -> CompleteRequest:
    parts = PromptParts(text, SUFFIX, "bench.py", "bench", "python")
    return CompleteRequest(parts, model, 16, Stops(max_lines=1), explicit=True, max_prefix=PREFIX_TOKENS, workspace=workspace)
