"""HumanEval: pass@1 of the chat model behind our service and behind llama-server, greedily and on the same items."""

from __future__ import annotations

import gzip
import json
import random
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.bench.asked import Records
from tests.bench.engine.peers import Server
from tests.bench.fim.judge import passes
from tests.bench.fim.run import mcnemar
from tests.bench.report import Report

TOKENS = 768
QUESTION = "Please provide a self-contained Python script that solves the following problem in a markdown code block:\n```python\n{prompt}```"
FENCE = re.compile(r"```(?:python|py)?\n(.*?)(?:```|\Z)", re.DOTALL)
BY_CHANCE = 0.05


@dataclass(frozen=True, slots=True)
class Item:
    """A function to write: its head and docstring, its tests and its name."""

    id: str
    prompt: str
    test: str
    entry: str

    def program(self, answer: str) -> str:
        """What is run: the head first, for its imports, then the code of the answer, which defines the function again."""
        found = FENCE.search(answer)
        return f"{self.prompt}    pass\n\n{found[1] if found else answer}\n{self.test}\ncheck({self.entry})\n"


def load(data: Path, count: int, seed: int) -> list[Item]:
    """`count` items, drawn without repetition; all of them when there are not more."""
    with gzip.open(data / "humaneval" / "HumanEval.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    items = [Item(r["task_id"], r["prompt"], r["test"], r["entry_point"]) for r in rows]
    return items if len(items) <= count else random.Random(seed).sample(items, count)  # noqa: S311 - a choice of items


async def answers(server: Server, side: str, items: list[Item], records: Records) -> None:
    """Have each item answered and judged that is not known yet."""
    for number, item in enumerate(items, 1):
        key = f"{side} {item.id}"
        if key not in records:
            reply = await server.call(server.chat(QUESTION.format(prompt=item.prompt), TOKENS))
            records.put(key, {"answer": reply.text, "passed": reply.ok and passes(item.program(reply.text)), "s": round(reply.total, 2)})
        print(f"HumanEval {side} {number}/{len(items)} {item.id}: {'+' if records[key]['passed'] else '-'}", file=sys.stderr, flush=True)


def compare(items: list[Item], records: Records, report: Report) -> None:
    """Both shares, and how probable so many more failures of ours would be by chance alone; 1 where there are not more."""
    passed = {side: [bool(records[f"{side} {item.id}"]["passed"]) for item in items] for side in ("ours", "peer")}
    for side, name in (("ours", "ours"), ("peer", "llama-server")):
        report.add(f"HumanEval pass@1, {name}", 100 * sum(passed[side]) / len(items), "%", len(items))
    pairs = list(zip(passed["ours"], passed["peer"], strict=True))
    better, worse = sum(a and not b for a, b in pairs), sum(b and not a for a, b in pairs)
    report.add("HumanEval: p of ours being below by chance", mcnemar(better, worse) if worse > better else 1.0, "", len(items), BY_CHANCE, "min")
