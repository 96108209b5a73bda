"""The holes: OpenAI's HumanEval-Infilling, random spans and single lines."""

from __future__ import annotations

import gzip
import json
import random
from dataclasses import dataclass
from pathlib import Path

FILES = {"span": "HumanEval-RandomSpanInfillingLight.jsonl.gz", "single": "HumanEval-SingleLineInfilling.jsonl.gz"}
DEFAULT = {"span": 164, "single": 256}


@dataclass(frozen=True, slots=True)
class Item:
    """A hole between `prefix` and `suffix`. `truth` is what was there; `test` and `entry` judge what comes instead."""

    kind: str
    id: str
    prefix: str
    suffix: str
    truth: str
    test: str
    entry: str

    def program(self, middle: str, overwrite: int = 0) -> str:
        """What is run: ends with status 0 when the middle is right. overwrite: characters of the suffix that the middle replaces."""
        return f"{self.prefix}{middle}{self.suffix[overwrite:]}\n{self.test}\ncheck({self.entry})\n"


def load(data: Path, kind: str, count: int, seed: int) -> list[Item]:
    """`count` holes of a kind, drawn without repetition; all of them when there are not more."""
    with gzip.open(data / "human-eval-infilling" / FILES[kind], "rt", encoding="utf-8") as file:
        records = [json.loads(line) for line in file]
    items = [Item(kind, r["task_id"], r["prompt"], r["suffix"], r["canonical_solution"], r["test"], r["entry_point"]) for r in records]
    return items if len(items) <= count else random.Random(seed).sample(items, count)  # noqa: S311 - a choice of items
