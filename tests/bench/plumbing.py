"""From a key to the engine and back, without model work: a change and a request to the language server, through gateway and scripted engine.

Also the processor time of each process per key, which does not depend on what else the machine does (in Linux, to 10 ms over all keys).
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.bench.report import Report
from tests.bench.server import ANSWER, URI, begin_inline, inline, open_document, scripted_home, started
from tests.protocol.gateways import wait
from tests.protocol.rawclient import PATIENCE_S, RawClient

LINES = 400  # a file of ordinary size before the cursor
LARGE = 4000  # more than a request carries (context.gather.PREFIX)


def run(sample: int) -> Report:
    """Median and 95th percentile over keystrokes; explicit requests, which are not debounced."""
    n = sample or 300
    report = Report("plumbing")
    with tempfile.TemporaryDirectory(prefix="qc-") as home, scripted_home(Path(home)) as env:
        env["QWENCODER_COMPLETION_CANDIDATES"] = "1"  # a keystroke asks for one; who asks explicitly gets several
        client = RawClient(env, (sys.executable, "-m", "qwencoder_lsp.cli", "--stdio"))
        try:
            started(client)
            open_document(client, "value = 1\n" * LINES + "def add(a, b):\n    ")
            inline(client, LINES + 1, 4)
            processes = _processes(client)
            before = _cpu_ms(processes)
            times = sorted(_keystroke(client, LINES, i) for i in range(n))
            after = _cpu_ms(processes)
            _grow(client, n)
            large = sorted(_keystroke(client, LARGE, n + 1 + i) for i in range(n))
        finally:
            client.close()
    report.add("key to ghost text, median", statistics.median(times), "ms", n)
    report.add("key to ghost text, 95th percentile", times[int(n * 0.95)], "ms", n, 5, "max")
    report.add(f"the same in {LARGE} lines, median", statistics.median(large), "ms", n)
    report.add(f"the same in {LARGE} lines, 95th percentile", large[int(n * 0.95)], "ms", n)
    for name in before:
        report.add(f"processor time per key, {name}", (after[name] - before[name]) / n, "ms", n)
    return report


def _keystroke(client: RawClient, lines: int, i: int) -> float:
    """Milliseconds for typing one more space-separated name and getting its ghost text: from before the key is written to the parsed answer."""
    column = 4 + i % 50
    place = {"line": lines + 1, "character": column}
    end = {"line": lines + 1, "character": 10_000}
    start = time.perf_counter()
    _change(client, place, end, "x", i + 2)
    id_ = begin_inline(client, lines + 1, column + 1)
    assert ANSWER in client.answer(id_)["result"]["items"][0]["insertText"]
    return (client.arrived[id_] - start) * 1000


def _grow(client: RawClient, n: int) -> None:
    """Make the document as long as LARGE, and have it seen once."""
    top = {"line": 0, "character": 0}
    _change(client, top, top, "value = 1\n" * (LARGE - LINES), n + 2)
    inline(client, LARGE + 1, 4)


def _change(client: RawClient, start: dict[str, int], end: dict[str, int], text: str, version: int) -> None:
    change = {"range": {"start": start, "end": end}, "text": text}
    client.notify("textDocument/didChange", {"textDocument": {"uri": URI, "version": version}, "contentChanges": [change]})


def _processes(client: RawClient) -> dict[str, int]:
    def gateway() -> dict[str, Any]:
        status: dict[str, Any] = client.request("qwencoder/status")["gateway"]
        return status

    assert wait(lambda: bool(gateway()["models"] and gateway()["models"][0]["pid"]), PATIENCE_S), "the status of the engine does not come"
    found = gateway()
    return {"measuring client": os.getpid(), "language server": client.process.pid, "gateway": found["pid"], "engine": found["models"][0]["pid"]}


def _cpu_ms(processes: dict[str, int]) -> dict[str, float]:
    """User and system time of each process so far; nothing where there is no /proc."""
    if not sys.platform.startswith("linux"):
        return {}
    tick = 1000 / os.sysconf("SC_CLK_TCK")
    fields = {name: Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rsplit(")", 1)[1].split() for name, pid in processes.items()}
    return {name: (int(f[11]) + int(f[12])) * tick for name, f in fields.items()}
