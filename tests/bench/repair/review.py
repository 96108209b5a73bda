"""`python -m tests.bench review`: findings in HumanEvalFix's buggy functions (recall) and in the correct ones (false alarms), before the refutation
(one_pass) and after it (ours), and whether a finding points at the bug."""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from pathlib import Path

from qwencoder_lsp.core.text import Snapshot, Span
from qwencoder_lsp.features.review import review
from qwencoder_lsp.models.store import resolve
from tests.bench.engine.peers import own_home, to_its_end
from tests.bench.repair.items import Item
from tests.bench.repair.records import Record, arguments, gateway, items_of, keep, read

ARMS = ("one_pass", "ours")
NEAR = 1  # lines

__all__ = ["arguments", "main"]


def main(options: argparse.Namespace) -> int:
    """0 when everything was answered."""
    items, model = items_of(options), str(resolve(options.model).path)
    with own_home() as home:
        known = to_its_end(_answers(items, model, home, options.resume))
    found = {arm: _figures(items, known, arm) for arm in ARMS}
    print(f"HumanEvalFix, review, {Path(model).name}, seed {options.seed}")
    print(_table(found))
    if options.json:
        options.json.write_text(json.dumps({"review": found}, indent=1) + "\n", "utf-8")
    return 0


async def _answers(items: list[Item], model: str, home: Path, file: Path | None) -> dict[str, Record]:
    known = read(file)
    async with gateway(model, home) as (client, chosen):
        for number, item in enumerate(items, 1):
            for version in ("buggy", "correct"):
                key = f"{version} {item.id}"
                if key not in known:
                    text, start = getattr(item, version), time.monotonic()
                    result = await review(Snapshot(f"file:///{item.id}", text, item.language), client, chosen)
                    record = {
                        "found": [_lines(text, finding.span) for finding in result.findings],
                        "refuted": [_lines(text, span) for span in result.refuted],
                        "dropped": result.dropped,
                        "s": round(time.monotonic() - start, 1),
                    }
                    keep(known, key, record, file)
            said = " ".join(f"{v} {len(known[f'{v} {item.id}']['found'])}" for v in ("buggy", "correct"))
            print(f"{number}/{len(items)} {item.id}: {said}", file=sys.stderr, flush=True)
    return known


def _lines(text: str, span: Span) -> list[int]:
    """The first and the last line of a span, from 0."""
    return [text.count("\n", 0, span.start), text.count("\n", 0, span.end)]


def _figures(items: list[Item], known: dict[str, Record], arm: str) -> Record:
    recalled, alarms, hits, pointed = 0, 0, 0, 0
    gains = []
    for item in items:
        buggy, correct = (_shown(known[f"{version} {item.id}"], arm) for version in ("buggy", "correct"))
        wrong = item.wrong_lines()
        recalled += bool(buggy)
        alarms += bool(correct)
        hits += sum(any(first - NEAR <= line <= last + NEAR for line in wrong) for first, last in buggy)
        pointed += len(buggy)
        gains.append(bool(buggy) - bool(correct))
    n = len(items)
    mean = sum(gains) / n
    spread = 1.96 * math.sqrt(sum((gain - mean) ** 2 for gain in gains) / max(1, n - 1) / n)  # of paired differences, normal
    return {
        "recall": round(recalled / n, 3),
        "false_alarm_rate": round(alarms / n, 3),
        "line_hit": round(hits / pointed, 3) if pointed else None,
        "n": n,
        "gain": round(mean, 3),
        "interval": [round(mean - spread, 3), round(mean + spread, 3)],
    }


def _shown(record: Record, arm: str) -> list[list[int]]:
    shown: list[list[int]] = record["found"] + (record["refuted"] if arm == "one_pass" else [])
    return shown


def _table(found: dict[str, Record]) -> str:
    lines = [f"{'':10}{'recall':>8}{'alarms':>8}{'line hit':>10}{'n':>6}  recall minus false alarms, 95 % interval"]
    for arm, f in found.items():
        hit = "-" if f["line_hit"] is None else f"{f['line_hit']:.2f}"
        lines.append(f"{arm:10}{f['recall']:8.2f}{f['false_alarm_rate']:8.2f}{hit:>10}{f['n']:6}  {f['gain']:+.2f} {f['interval']}")
    one, ours = found["one_pass"], found["ours"]
    proven = ours["interval"][0] > 0
    halved = ours["false_alarm_rate"] <= one["false_alarm_rate"] / 2 and ours["recall"] >= 0.8 * one["recall"]
    lines.append(f"recall minus false alarms above 0 with its interval: {'met' if proven else 'MISSED, so it is experimental'}")
    lines.append(f"the refutation halves false alarms at no more than a fifth of the recall: {'met' if halved else 'MISSED'}")
    return "\n".join(lines)
