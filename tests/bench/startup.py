"""Start-up of the language server against a bare pygls server, alternating in one run: time to the answer of `initialize`, and memory."""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.report import Report
from tests.bench.server import inline, open_document, scripted_home, started
from tests.protocol.rawclient import RawClient

BARE = """
from lsprotocol import types
from pygls.lsp.server import LanguageServer
server = LanguageServer("bare", "1")
@server.feature(types.TEXT_DOCUMENT_INLINE_COMPLETION, types.InlineCompletionOptions())
def inline(params):
    return None
server.start_io()
"""
OURS = (sys.executable, "-m", "qwencoder_lsp.cli", "--stdio")


def run(sample: int) -> Report:
    """Median of the ratios and of the difference in resident memory after a completion was answered."""
    n = sample or 15
    report = Report("startup")
    with tempfile.TemporaryDirectory(prefix="qc-") as home, scripted_home(Path(home)) as env:
        bare = (sys.executable, "-c", BARE)
        pairs = [(_once(bare, env), _once(OURS, env)) for _ in range(n)]
        bare_ms = statistics.median(b[0] for b, _ in pairs)
        ours_ms = statistics.median(o[0] for _, o in pairs)
        report.add("initialize, bare pygls", bare_ms, "ms", n)
        report.add("initialize, qwencoder-lsp", ours_ms, "ms", n)
        report.add("ratio of medians", ours_ms / bare_ms, "", n, 1.3, "max")
        difference = statistics.median(o[1] for _, o in pairs) - statistics.median(b[1] for b, _ in pairs)
        report.add("memory above bare pygls, after a completion", difference, "MB", n, 60, "max")
        report.add("servers with llama_cpp loaded", sum(o[2] for _, o in pairs), "", n, 0, "max")
    return report


def _once(command: tuple[str, ...], env: dict[str, str]) -> tuple[float, float, bool]:
    """Milliseconds until `initialize` is answered; resident MB and whether llama.cpp is loaded, once a completion has been answered."""
    start = time.perf_counter()
    client = RawClient(env, command)
    try:
        started(client)
        elapsed = (time.perf_counter() - start) * 1000
        open_document(client, "def add(a, b):\n    ")
        inline(client, 1, 4)
        status = Path(f"/proc/{client.process.pid}/status").read_text("ascii")
        maps = Path(f"/proc/{client.process.pid}/maps").read_text("ascii", "replace")
        resident = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) / 1024
        return elapsed, resident, "libllama" in maps
    finally:
        client.close()
        os.sync()
