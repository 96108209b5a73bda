"""`python -m tests.bench cursor`: the rest of a line of a real statement, asked for at offsets inside a name, at its end, and behind the punctuation
after it; the language server as it is shipped, with the automatic trigger, the same without token healing (only the gateway's renderer is told not to
take anything back), and the bare prompt. Compared is the first line of what is shown; an empty answer is a miss.

Half of the pinned packages were first released after Qwen2.5-Coder (September 2024); `--fetch` downloads them into `--sources` (4 MB).
"""

from __future__ import annotations

import argparse
import json
import sys

from qwencoder_lsp.models.store import resolve
from tests.bench import asked
from tests.bench.asked import Record, Records, similarity
from tests.bench.cursor.holes import OFFSETS, Hole, choose
from tests.bench.engine.peers import to_its_end
from tests.bench.fim.paths import Middle
from tests.bench.sources.files import packaged
from tests.bench.sources.packages import PYTHON

MODEL = "qwencoder-1.5b"
PATHS = ("raw", "unhealed", "ours")
UNHEALED = "tests.bench.cursor.unhealed"
NAMES, QUICK = 72, 2  # each makes three holes
INSIDE = 0.9  # of the exact matches at the ends of names
PUBLISHED = "2024-09"  # Qwen2.5-Coder
RAW_TOKENS = 64  # of a line


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    asked.arguments(parser, MODEL, PATHS, f"names, of three holes each; 0: {NAMES}", f"{QUICK} names")


def main(options: argparse.Namespace) -> int:
    """0 when every hole was asked about, 2 when something is missing for that."""
    if problem := asked.lacking(options, PYTHON):
        print(problem, file=sys.stderr)
        return 2
    names = options.sample or (QUICK if options.quick else NAMES)
    older, newer = ([p.name for p in PYTHON if (p.first > PUBLISHED) == new] for new in (False, True))
    turns = [name for pair in zip(older, newer, strict=True) for name in pair]
    holes = choose(packaged(PYTHON, options.sources, options.seed), turns, names, options.seed)
    model, records = resolve(options.model).path, Records(options.resume)
    openers = {
        path: asked.raw(model, options.peer, RAW_TOKENS, stop=("\n",))
        if path == "raw"
        else asked.ours(model, UNHEALED if path == "unhealed" else None)
        for path in options.paths.split(",")
    }
    to_its_end(asked.measure(holes, openers, records, _record))
    found = {path: _figures([records[f"{path} {hole.id}"] for hole in holes], set(newer)) for path in openers}
    print(f"cursor, {model.name}, seed {options.seed}: the rest of the line, exact in percent, and edit similarity")
    print(_table(found))
    if options.json:
        options.json.write_text(json.dumps({"cursor": found}, indent=1) + "\n", "utf-8")
    return 0


def _record(hole: Hole, middle: Middle) -> Record:
    line, truth = middle.text.split("\n")[0].rstrip(), hole.truth.rstrip()
    reason = "shown" if middle.text.strip() else middle.note or "blank"
    return {
        "verdict": "exact" if line == truth else reason,
        "offset": hole.offset,
        "package": hole.package,
        "exact": line == truth,
        "similarity": similarity(line, truth),
        "reason": reason,
        "signals": middle.signals,
        "text": middle.text,
        "truth": hole.truth,
    }


def _figures(found: list[Record], newer: set[str]) -> Record:
    figures: Record = {offset: _share([r for r in found if r["offset"] == offset]) for offset in OFFSETS}
    figures["older"] = _share([r for r in found if r["package"] not in newer])
    figures["newer"] = _share([r for r in found if r["package"] in newer])
    return figures


def _share(found: list[Record]) -> dict[str, float]:
    n = max(1, len(found))
    return {
        "exact": round(100 * sum(r["exact"] for r in found) / n, 1),
        "similarity": round(sum(r["similarity"] for r in found) / n, 3),
        "silent": sum(r["reason"] != "shown" for r in found),
        "n": len(found),
    }


def _table(found: dict[str, Record]) -> str:
    lines = [f"{'':10}{'':13}{'exact':>7}{'similarity':>12}{'silent':>8}{'n':>6}"]
    for path, figures in found.items():
        lines += [f"{path:10}{name:13}{f['exact']:7.1f}{f['similarity']:12.3f}{f['silent']:8}{f['n']:6}" for name, f in figures.items()]
    if "ours" in found:
        inside, end = found["ours"]["inside"]["exact"], found["ours"]["end"]["exact"]
        share = inside / end if end else 0.0
        lines.append(f"ours, inside to end: {share:.2f}, bar >= {INSIDE}: {'met' if share >= INSIDE else 'MISSED'}")
    return "\n".join(lines)
