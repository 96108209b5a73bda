"""From a key to the engine and back, without model work: a change and a request to the language server, through gateway and scripted engine."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.report import Report
from tests.bench.server import ANSWER, URI, inline, open_document, scripted_home, started
from tests.protocol.rawclient import RawClient

LINES = 400  # a file of ordinary size before the cursor


def run(sample: int) -> Report:
    """Median and 95th percentile over keystrokes; explicit requests, which are not debounced."""
    n = sample or 300
    report = Report("plumbing")
    with tempfile.TemporaryDirectory(prefix="qc-") as home, scripted_home(Path(home)) as env:
        client = RawClient(env, (sys.executable, "-m", "qwencoder_lsp.cli", "--stdio"))
        try:
            started(client)
            open_document(client, "value = 1\n" * LINES + "def add(a, b):\n    ")
            inline(client, LINES + 1, 4)
            times = sorted(_keystroke(client, i) for i in range(n))
        finally:
            client.close()
    report.add("key to ghost text, median", statistics.median(times), "ms", n)
    report.add("key to ghost text, 95th percentile", times[int(n * 0.95)], "ms", n, 5, "max")
    return report


def _keystroke(client: RawClient, i: int) -> float:
    """Milliseconds for typing one more space-separated name and getting its ghost text."""
    column = 4 + i % 50
    place = {"line": LINES + 1, "character": column}
    end = {"line": LINES + 1, "character": 10_000}
    start = time.perf_counter()
    change = {"range": {"start": place, "end": end}, "text": "x"}
    client.notify("textDocument/didChange", {"textDocument": {"uri": URI, "version": i + 2}, "contentChanges": [change]})
    answer = inline(client, LINES + 1, column + 1)
    elapsed = (time.perf_counter() - start) * 1000
    assert ANSWER in answer["items"][0]["insertText"]
    return elapsed
