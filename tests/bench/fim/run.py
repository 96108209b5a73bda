"""`python -m tests.bench fim`: pass@1 on the same holes for llama-server's /infill, the bare prompt, and the language server as it is shipped."""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import sys
import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from qwencoder_lsp.models.store import resolve
from tests.bench.engine.peers import own_home, to_its_end
from tests.bench.fim.items import DEFAULT, Item, load
from tests.bench.fim.judge import parses, passes
from tests.bench.fim.paths import Editor, Middle, Server

MODEL = "qwencoder-1.5b"
PATHS = ("raw", "peer", "ours")
BARS = {"span": 6.0, "single": 3.0}  # points over the better raw path
QUICK = 6

Record = dict[str, Any]


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--peer", type=Path, required=True, help="llama-server")
    parser.add_argument(
        "--data", type=Path, required=True, help="the folder that holds human-eval-infilling/ (https://github.com/openai/human-eval-infilling)"
    )
    parser.add_argument("--model", default=MODEL, help="a catalogue name or a GGUF file")
    parser.add_argument("--sample", type=int, default=0, help=f"holes of each kind; 0: {DEFAULT['span']} spans and {DEFAULT['single']} lines")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} holes of each kind")
    parser.add_argument("--kinds", default="span,single", help="span, single")
    parser.add_argument("--paths", default=",".join(PATHS), help="some of: " + ", ".join(PATHS))
    parser.add_argument("--seed", type=int, default=0, help="another seed, other holes")
    parser.add_argument("--resume", type=Path, help="answers are kept in this file, and those that it holds are not asked for again")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")


def main(options: argparse.Namespace) -> int:
    """0 when everything was answered."""
    count = options.sample or (QUICK if options.quick else 0)
    items = [item for kind in options.kinds.split(",") for item in load(options.data, kind, count or DEFAULT[kind], options.seed)]
    model, wanted = resolve(options.model).path, options.paths.split(",")
    known = _read(options.resume)
    with own_home() as home:
        answers = to_its_end(_answers(items, wanted, model, options.peer.absolute(), home / "peer.log", known, options.resume))
    found = {path: {kind: _figures([i for i in items if i.kind == kind], answers, path) for kind in options.kinds.split(",")} for path in wanted}
    print(f"HumanEval-Infilling, {model.name}, greedy, seed {options.seed}")
    print(_table(found, items, answers))
    if options.json:
        options.json.write_text(json.dumps({"fim": found}, indent=1) + "\n", "utf-8")
    return 0


async def _answers(
    items: list[Item], wanted: list[str], model: Path, binary: Path, log: Path, known: dict[str, Record], file: Path | None
) -> dict[str, Record]:
    """By "path id": the middle, and whether it passed."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(Server.running(binary, model, log)) if {"raw", "peer"} & set(wanted) else None
        editor = await stack.enter_async_context(Editor.running(model, {})) if "ours" in wanted else None
        for number, item in enumerate(items, 1):
            for path in wanted:
                key = f"{path} {item.id}"
                if key in known:
                    continue
                start = time.monotonic()
                middle = await _ask(path, item, server, editor)
                program = item.program(middle.text, middle.overwrite)
                known[key] = asdict(middle) | {"passed": passes(program), "parses": parses(program), "s": round(time.monotonic() - start, 2)}
                if file:
                    with file.open("a", encoding="utf-8") as out:
                        out.write(json.dumps({"key": key, **known[key]}) + "\n")
            verdict = " ".join(f"{path} {'+' if known[f'{path} {item.id}']['passed'] else '-'}" for path in wanted)
            print(f"{number}/{len(items)} {item.id}: {verdict}", file=sys.stderr, flush=True)
    return known


async def _ask(path: str, item: Item, server: Server | None, editor: Editor | None) -> Middle:
    if path == "ours":
        assert editor
        return await asyncio.to_thread(editor.fill, item.prefix, item.suffix)
    assert server
    return await (server.raw(item.prefix, item.suffix) if path == "raw" else server.infill(item))


def _read(file: Path | None) -> dict[str, Record]:
    if file is None or not file.exists():
        return {}
    return {record.pop("key"): record for record in map(json.loads, file.read_text("utf-8").splitlines())}


def _figures(items: list[Item], answers: dict[str, Record], path: str) -> Record:
    found = [answers[f"{path} {item.id}"] for item in items]
    n = len(found)
    repeats = [_repeats(item, record) for item, record in zip(items, found, strict=True)]
    return {
        "pass@1": round(100 * sum(r["passed"] for r in found) / n, 1),
        "n": n,
        "empty": sum(not r["text"] for r in found),
        "unparsable": sum(bool(r["text"]) and not r["parses"] for r in found),
        "repeats_suffix": sum(repeats),
        "median_s": sorted(r["s"] for r in found)[n // 2],
        "reasons": dict(Counter(r["note"] for r in found if not r["text"] and r["note"])),
    }


def _repeats(item: Item, record: Record) -> bool:
    """Whether the middle ends with the next line of text behind it, which the truth does not."""
    following = next((line.strip() for line in item.suffix[record["overwrite"] :].split("\n") if len(line.strip()) > 3), "")
    return bool(following) and following in record["text"] and following not in item.truth


def mcnemar(better: int, worse: int) -> float:
    """The two-sided exact p that so uneven pairs come by chance (McNemar 1947)."""
    n, k = better + worse, min(better, worse)
    return 1.0 if n == 0 else min(1.0, 2 * sum(math.comb(n, i) for i in range(k + 1)) / 2**n)


def _table(found: dict[str, Record], items: list[Item], answers: dict[str, Record]) -> str:
    lines = [f"{'':8}{'kind':8}{'pass@1':>8}{'n':>6}{'empty':>7}{'unparsable':>12}{'repeats':>9}{'median s':>10}"]
    for path, kinds in found.items():
        for kind, f in kinds.items():
            lines.append(
                f"{path:8}{kind:8}{f['pass@1']:8.1f}{f['n']:6}{f['empty']:7}{f['unparsable']:12}{f['repeats_suffix']:9}{f['median_s']:10.2f}"
            )
            if f["reasons"]:
                lines.append(f"{'':16}{f['reasons']}")
    for kind, bar in BARS.items():
        raws = [p for p in ("raw", "peer") if p in found and kind in found[p]]
        if "ours" not in found or kind not in found["ours"] or not raws:
            continue
        best = max(raws, key=lambda p: found[p][kind]["pass@1"])
        pairs = [(answers[f"ours {i.id}"]["passed"], answers[f"{best} {i.id}"]["passed"]) for i in items if i.kind == kind]
        better, worse = sum(a and not b for a, b in pairs), sum(b and not a for a, b in pairs)
        gain = found["ours"][kind]["pass@1"] - found[best][kind]["pass@1"]
        verdict = "met" if gain >= bar else "MISSED"
        lines.append(f"{kind}: ours {gain:+.1f} points over {best} (+{better} -{worse}, p = {mcnemar(better, worse):.3f}), bar +{bar:g}: {verdict}")
    return "\n".join(lines)
