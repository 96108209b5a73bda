"""`python -m tests.bench index --folder DIR`: the workspace index on unmodified packages: speed, memory, latency by size; beside git grep and ctags.

Wall times count what else the machine does; figures "of CPU" are those of the process alone.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from qwencoder_lsp.context.candidates import Here
from qwencoder_lsp.context.indexer import Indexer
from qwencoder_lsp.context.outline import outline
from qwencoder_lsp.context.reading import Index
from qwencoder_lsp.context.retrieve import Retrieval
from qwencoder_lsp.context.secrets import find
from qwencoder_lsp.core.languages import language_of
from tests.bench.report import Report

SIZES = (50_000, 200_000, 1_000_000)
SOURCES = (".py", ".pyi", ".c", ".h", ".js", ".ts")
BARS = {"lines_per_s": 25_000, "memory_mb": 300, "reindex_p95_ms": 50, "warm_start_s": 1, "retrieval_p95_ms": 15}


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--folder", type=Path, required=True, help="a folder of packages, such as pip install --target makes it")
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="lines of the workspaces that are made of it")
    parser.add_argument("--sample", type=int, default=100, help="files that are edited, and places that are asked for")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other places")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")


def main(options: argparse.Namespace) -> int:
    """0 when all sizes were measured."""
    rng = random.Random(options.seed)  # noqa: S311 - a choice of places
    by_size: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="qc-") as scratch:
        os.environ["QWENCODER_HOME"] = f"{scratch}/home"
        root = Path(scratch) / "work"
        files = sorted(p for p in options.folder.rglob("*") if p.suffix in SOURCES and p.is_file() and not p.is_symlink())
        rng.shuffle(files)
        source = iter(files)
        lines = 0
        for size in map(int, options.sizes.split(",")):
            lines = _fill(root, options.folder, source, size, lines)
            by_size.append(_measure(root, options.sample, rng))
            print(by_size[-1], file=sys.stderr, flush=True)
        largest = by_size[-1]
        beside = _beside(root, rng)
    report = Report(f"index, {largest['lines']} lines")
    for name, bar in BARS.items():
        n = options.sample if name.endswith("_p95_ms") else 1
        report.add(name, largest[name], "", n, bar, "min" if name == "lines_per_s" else "max")
    for row in by_size:
        report.add(f"lines per second of CPU at {row['lines']}", row["lines_per_cpu_s"], "", row["lines"])
        report.add(f"retrieval p95, CPU, at {row['lines']}", row["retrieval_p95_cpu_ms"], "ms", options.sample)
        report.add(f"re-index p95, CPU, at {row['lines']}", row["reindex_p95_cpu_ms"], "ms", options.sample)
    for name, value in beside.items():
        report.add(
            name, value, "", 1, *((95.0, "min") if name == "ctags_recall_percent" else (1.0, "max") if name == "secrets_per_10k_lines" else ())
        )
    print(report.table())
    if options.json:
        options.json.write_text(json.dumps({"index": {**largest, **beside, "by_size": by_size}}, indent=1) + "\n", "utf-8")
    return 0


def _fill(root: Path, folder: Path, files: Iterator[Path], size: int, lines: int) -> int:
    """Copy files into the workspace until it has about `size` lines."""
    for file in files:
        data = file.read_bytes()
        target = root / file.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        lines += data.count(b"\n")
        if lines >= size:
            break
    return lines


def _measure(root: Path, sample: int, rng: random.Random) -> dict[str, Any]:
    shutil.rmtree(Path(os.environ["QWENCODER_HOME"]) / "cache", ignore_errors=True)
    first, cpu, memory = _child(root)
    _, warm_cpu, _ = _child(root)
    indexer = Indexer(root)
    began, began_cpu = time.perf_counter(), time.process_time()
    indexer.scan()
    warm, warm_own = time.perf_counter() - began, time.process_time() - began_cpu
    files = [p for p in root.rglob("*.py") if p.stat().st_size < 200_000]
    edits, edits_cpu = [], []
    for file in (rng.choice(files) for _ in range(sample)):
        with file.open("a", encoding="utf-8") as out:
            out.write(f"\nEDITED = {rng.random()}\n")
        began, began_cpu = time.perf_counter(), time.process_time()
        indexer.update([file.relative_to(root).as_posix()])
        edits.append(1000 * (time.perf_counter() - began))
        edits_cpu.append(1000 * (time.process_time() - began_cpu))
    indexer.close()
    index = Index(root)
    asked, asked_cpu = [], []
    for here in _places(root, files, sample, rng):
        began, began_cpu = time.perf_counter(), time.process_time()
        Retrieval(index, here).candidates()
        asked.append(1000 * (time.perf_counter() - began))
        asked_cpu.append(1000 * (time.process_time() - began_cpu))
    status = index.status()
    index.close()
    return {
        "lines": first["lines"], "files": first["files"], "lines_per_s": first["lines"] / first["seconds"], "lines_per_cpu_s": first["lines"] / cpu,
        "memory_mb": memory, "warm_start_s": warm, "warm_start_cpu_s": warm_own, "warm_process_cpu_s": warm_cpu,
        "reindex_p95_ms": _p95(edits), "reindex_p95_cpu_ms": _p95(edits_cpu),
        "retrieval_p95_ms": _p95(asked), "retrieval_p95_cpu_ms": _p95(asked_cpu),
        "index_mb": status["bytes"] / 1e6, "symbols": status["symbols"],
    }  # fmt: skip


def _child(root: Path) -> tuple[dict[str, Any], float, float]:
    """What `qwencoder-lsp index` says, the seconds of CPU that it took, and its peak memory in MB."""
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen([sys.executable, "-m", "qwencoder_lsp.cli", "index", str(root), "--json"], stdout=out, stderr=subprocess.DEVNULL)
        _, code, used = os.wait4(process.pid, 0)
        process.returncode = code
        out.seek(0)
        return json.loads(out.read()), used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def _places(root: Path, files: list[Path], count: int, rng: random.Random) -> Iterator[Here]:
    for _ in range(count):
        file = rng.choice(files)
        text = file.read_text("utf-8", "replace")
        offset = rng.randrange(len(text) + 1)
        line = text.count("\n", 0, offset)
        yield Here(file.relative_to(root).as_posix(), "python", text, offset, (line - 60, line + 20))


def _beside(root: Path, rng: random.Random) -> dict[str, float]:
    """Our search beside git's, our definitions beside universal-ctags', and what the secret guard says of code that has none."""
    index = Index(root)
    files = sorted(root.rglob("*.py"))
    words = [s.name for file in rng.sample(files, 20) for s in outline(file.read_text("utf-8", "replace"), "python").symbols[:1]]
    figures = {
        "search_ms": _median([_ms(lambda word=word: index.search(word, 100)) for word in words]),
        "git_grep_ms": _median([_ms(lambda word=word: _run(["git", "grep", "--no-index", "-nF", word, "."], root)) for word in words]),
    }
    found = sum(len(find(file.read_text("utf-8", "replace"))) for file in files)
    figures["secrets_per_10k_lines"] = 10_000 * found / max(1, sum(file.read_text("utf-8", "replace").count("\n") for file in files))
    if shutil.which("ctags"):
        figures["ctags_recall_percent"] = _recall(root, rng.sample(files, min(400, len(files))))
    return figures


def _recall(root: Path, files: list[Path]) -> float:
    """Of the definitions that ctags finds, the share that we have under the same name in the same file; imported names are none."""
    output = _run(["ctags", "--output-format=json", "-f", "-", *map(str, files)], root)
    ours = {str(f): set(_names(f)) for f in files}
    tags = [t for t in map(json.loads, output.splitlines()) if t.get("_type") == "tag" and t["kind"] not in ("unknown", "namespace", "module")]
    return 100 * sum(t["name"] in ours[t["path"]] for t in tags) / max(1, len(tags))


def _names(file: Path) -> list[str]:
    return [s.name for s in outline(file.read_text("utf-8", "replace"), language_of(file.name)).symbols]


def _run(command: list[str], root: Path) -> str:
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, errors="replace").stdout


def _ms(work: Any) -> float:
    began = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - began)


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def _p95(values: list[float]) -> float:
    return sorted(values)[int(0.95 * (len(values) - 1))]
