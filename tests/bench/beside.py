"""`python -m tests.bench beside`: what a keystroke takes while other things go on in the same workspace.

The language server over stdio with the real model; each key is a change and an automatic request, answered before the next one. Blocks of keys in
turn: nothing else, a branch is switched in which 5,000 files differ, the repository is reviewed from the command line, the service that runs on the
same model is beset by hostile clients (tests/protocol/hostile.py).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2

from qwencoder_lsp.gateway.find import connect
from qwencoder_lsp.models.store import resolve
from qwencoder_lsp.settings import load
from tests.bench.engine.peers import clean_environment, own_home, to_its_end
from tests.bench.report import Report
from tests.bench.typing.ours import Editor
from tests.bench.typing.sessions import Key, Session

MODEL = "qwencoder-0.5b"
FILES, PER_FOLDER = 5000, 100
KEYS, ROUNDS = 120, 4
GAP_S = 0.1
BARS = {"changes": 1.15, "review": 1.3, "hostile": 1.3}
WITHOUT_MODEL_S = 0.02  # what is answered sooner was known already
ASKED = (25, 50, 75)  # percentiles of the others: the last of all keys may only show for how long an answer may be
BRANCHES = ("main", "feature")
AUTHOR = ("-c", "user.name=bench", "-c", "user.email=bench@example.org")
EVENTS = 500  # in one notification, about as editors bundle them
DOCUMENT = '''"""Orders of shop {}."""


def total(items):
    """The price of all items."""
    return sum(item.price * item.quantity for item in items)


def discount(items, share):
    """The price without the share."""
    return total(items) * (1 - share)


'''
TYPED = (
    "def shipping(items):\n    weight = sum(item.weight for item in items)\n    return max(4, weight * 2)\n\n\n"
    "def invoice(order):\n    lines = [item.name + str(item.price) for item in order.items]\n"
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--model", default=MODEL, help="a catalogue name or a GGUF file")
    parser.add_argument("--files", type=int, default=FILES, help="in the workspace; all of them change")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"of each kind of block, {KEYS} keys each")
    parser.add_argument("--kinds", default=",".join(BARS), help="of blocks beside the quiet ones: some of %(default)s")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")


def main(options: argparse.Namespace) -> int:
    """0 when every key was answered."""
    with own_home() as home, tempfile.TemporaryDirectory(prefix="qc-") as folder:
        kinds = [kind for kind in BARS if kind in options.kinds.split(",")]
        times = to_its_end(_measure(home, Path(folder).resolve(), resolve(options.model).path, options.files, options.rounds, kinds))
    report = Report(f"keystrokes beside other work, {resolve(options.model).path.name}, {options.files} files")
    found: dict[str, Any] = {}
    for kind, taken in times.items():
        taken.sort()
        asked = [seconds for seconds in taken if seconds > WITHOUT_MODEL_S]
        found[kind] = {"p50_ms": taken[len(taken) // 2] * 1000, "p95_ms": taken[int(len(taken) * 0.95)] * 1000, "n": len(taken)}
        found[kind] |= {f"asked_p{p}_ms": asked[len(asked) * p // 100] * 1000 for p in ASKED if asked}
        report.add(f"{kind}, median", found[kind]["p50_ms"], "ms", len(taken))
        for p in ASKED:
            report.add(f"{kind}, where the model is asked, {p} %", found[kind].get(f"asked_p{p}_ms", 0.0), "ms", len(asked))
        report.add(f"{kind}, 95th percentile", found[kind]["p95_ms"], "ms", len(taken))
    for kind in kinds:
        found[kind]["ratio"] = found[kind]["p95_ms"] / found["quiet"]["p95_ms"]
        report.add(f"{kind} over quiet, 95th percentile", found[kind]["ratio"], "", found[kind]["n"], BARS[kind], "max")
    print(report.table())
    if options.json:
        options.json.write_text(json.dumps({"beside": found}, indent=1) + "\n", "utf-8")
    return 0


async def _measure(home: Path, root: Path, model: Path, files: int, rounds: int, kinds: list[str]) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {"quiet": [], **{kind: [] for kind in kinds}}
    paths = _fill(root, files)
    editor = await Editor.start(home, model, home / "stderr", root)
    os.environ["QWENCODER_HOME"] = str(home)
    client = await connect(load()[0])
    try:
        await _indexed(editor)
        hands = _Hands(editor, root)
        await hands.block()  # what is loaded at first
        for number in range(rounds):
            times["quiet"] += await hands.block()
            beside = {
                "changes": _changes(editor, root, paths, BRANCHES[number % 2]),
                "review": _review(home, model, root),
                "hostile": _hostile(home, model),
            }
            for kind in kinds:
                async with beside[kind]:
                    times[kind] += await hands.block()
                await _indexed(editor)
            print({kind: len(taken) for kind, taken in times.items()}, file=sys.stderr, flush=True)
        return times
    finally:
        await client.shutdown()
        await client.close()
        await editor.stop()
        del os.environ["QWENCODER_HOME"]


class _Hands:
    """Types the same text into a new document each time, so that blocks can be compared and no answer is known from an earlier one."""

    def __init__(self, editor: Editor, root: Path) -> None:
        self._editor, self._root = editor, root
        self._blocks = 0

    async def block(self) -> list[float]:
        """Seconds from each of KEYS keys to its answer."""
        self._blocks += 1
        text = DOCUMENT.format(self._blocks)
        self._editor.open(Session(f"orders{self._blocks}.py", "python", text, ()), 0, self._root)
        taken = []
        for letter in TYPED[:KEYS]:
            key = Key(GAP_S, len(text), 0, letter)
            start = time.perf_counter()
            self._editor.change(text, key)
            text = key.apply(text)
            await self._editor.complete(text, key.cursor)
            taken.append(time.perf_counter() - start)
            await asyncio.sleep(GAP_S)
        self._editor.close()
        return taken


def _fill(root: Path, count: int) -> list[Path]:
    """A git repository of `count` small modules, which differ in all of BRANCHES."""
    paths = [root / f"part{n // PER_FOLDER}" / f"module{n}.py" for n in range(count)]
    _git(root, "init", "--quiet")
    for salt, branch in enumerate(BRANCHES):
        _git(root, "checkout", "--quiet", "-b", branch)
        for path in paths:
            path.parent.mkdir(exist_ok=True)
            path.write_text(_module(path.stem, salt), "utf-8")
        _git(root, "add", "--all")
        _git(root, *AUTHOR, "commit", "--quiet", "--message", branch)
    return paths


def _git(root: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=root, check=True)


def _module(name: str, salt: int) -> str:
    draw = random.Random(f"{name} {salt}")  # noqa: S311 - text
    return "".join(
        f"def {name}_{n}(order, rate={draw.randrange(99)}):\n    value = order.price * rate + {draw.randrange(999)}\n    return value\n\n\n"
        for n in range(8)
    )


@asynccontextmanager
async def _changes(editor: Editor, root: Path, paths: list[Path], branch: str) -> AsyncIterator[None]:
    """Another branch, by another process, and the editor tells so."""
    process = await asyncio.create_subprocess_exec("git", "checkout", "--quiet", branch, cwd=root)

    async def tell() -> None:
        await process.wait()
        for first in range(0, len(paths), EVENTS):
            editor.notify("workspace/didChangeWatchedFiles", {"changes": [{"uri": p.as_uri(), "type": 2} for p in paths[first : first + EVENTS]]})

    telling = asyncio.create_task(tell())
    yield
    await telling


@asynccontextmanager
async def _review(home: Path, model: Path, root: Path) -> AsyncIterator[None]:
    """The repository is reviewed meanwhile."""
    env = clean_environment() | {"QWENCODER_HOME": str(home), "QWENCODER_MODEL": str(model)}
    command = (sys.executable, "-m", "qwencoder_lsp.cli", "review", str(root / "part0"))
    process = await asyncio.create_subprocess_exec(*command, env=env, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE)
    assert process.stderr
    await process.stderr.readline()  # it has begun
    await asyncio.sleep(2)
    try:
        yield
        assert process.returncode is None, "the review was over before the keys were typed"
    finally:
        process.send_signal(signal.SIGINT)
        await process.communicate()


@asynccontextmanager
async def _hostile(home: Path, model: Path) -> AsyncIterator[None]:
    """The service on the same model is beset."""
    env = clean_environment() | {"QWENCODER_HOME": str(home), "QWENCODER_MODEL": str(model)}
    service = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "qwencoder_lsp.cli", "serve", "--port", "0", env=env, stdout=asyncio.subprocess.PIPE
    )
    assert service.stdout
    url = httpx2.URL((await service.stdout.readline()).decode().split()[2])
    processes = [service]
    try:
        clients = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.protocol.hostile", url.host, str(url.port), env=env, stdout=asyncio.subprocess.PIPE
        )
        processes.insert(0, clients)
        assert clients.stdout
        assert await clients.stdout.readline(), "the hostile clients have ended"
        yield
        assert clients.returncode is None, "the hostile clients ended before the keys were typed"
    finally:
        for process in processes:
            process.terminate()
            await process.communicate()


async def _indexed(editor: Editor) -> None:
    """Wait until the index is true."""
    for _ in range(600):
        states = (await editor.request("qwencoder/status", None))["index"]
        if states and all(state["state"] == "ready" for state in states):
            return
        await asyncio.sleep(0.5)
    raise TimeoutError("the index does not become ready")
