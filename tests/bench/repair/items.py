"""The functions: HumanEvalPack's Python and JavaScript, each correct and with one bug (https://huggingface.co/datasets/bigcode/humanevalpack)."""

from __future__ import annotations

import gzip
import json
import random
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path

LANGUAGES = {"python": "python.jsonl.gz", "javascript": "js.jsonl.gz"}


@dataclass(frozen=True, slots=True)
class Item:
    """One function: `buggy` and `correct` are whole files with its documentation. `test` judges; no model ever sees it."""

    id: str
    language: str
    name: str
    buggy: str
    correct: str
    test: str

    def wrong_lines(self) -> set[int]:
        """The lines of `buggy`, from 0, that differ from `correct`; where only something is missing, the lines around the gap."""
        old, new = self.buggy.split("\n"), self.correct.split("\n")
        found: set[int] = set()
        for tag, i, j, _, _ in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
            if tag != "equal":
                found |= set(range(i, j)) or {max(i - 1, 0), i}
        return found


def load(data: Path, language: str, count: int, seed: int) -> list[Item]:
    """`count` functions, drawn without repetition; all of them when `count` is 0 or there are not more."""
    with gzip.open(data / "humanevalfix" / LANGUAGES[language], "rt", encoding="utf-8") as file:
        records = [json.loads(line) for line in file]
    items = [
        Item(r["task_id"], language, r["entry_point"], r["prompt"] + r["buggy_solution"], r["prompt"] + r["canonical_solution"], r["test"])
        for r in records
    ]
    return items if not count or len(items) <= count else random.Random(seed).sample(items, count)  # noqa: S311 - a choice of items
