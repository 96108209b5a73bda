"""Items of BFCL v4 (Apache-2.0), as OpenAI's API wants them, and whether an answer is right.

Scored as BFCL's own checker scores Python: the one right function, every required argument, no argument that was not declared, each value one of the
allowed ones; text without regard to case, blanks and punctuation. See bfcl_eval/eval_checker/ast_eval/ast_checker.py in ShishirPatil/gorilla.
"""

from __future__ import annotations

import json
import random
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILES = {"simple": "BFCL_v4_simple_python.json", "irrelevance": "BFCL_v4_irrelevance.json"}
DEFAULT = {"simple": 150, "irrelevance": 80}
TYPES = {"dict": "object", "float": "number", "tuple": "array", "any": None}


@dataclass(frozen=True)
class Item:
    """One question. allowed: function name and, for each argument, the values that are right; empty where no call is."""

    id: str
    kind: str
    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]]
    allowed: dict[str, dict[str, list[Any]]]

    def right(self, calls: list[tuple[str, Any]]) -> bool:
        """Whether these calls, (name, arguments), are what was wanted."""
        if not self.allowed:
            return not calls
        if len(calls) != 1:
            return False
        (name, wanted), (called, arguments) = next(iter(self.allowed.items())), calls[0]
        if called != name or not isinstance(arguments, dict) or set(arguments) - set(wanted):
            return False
        return all(_one_of(arguments[key], values) if key in arguments else "" in values for key, values in wanted.items())


def load(data: Path, kind: str, count: int, seed: int) -> list[Item]:
    """`count` items of one kind."""
    rows = [json.loads(line) for line in (data / "bfcl" / FILES[kind]).read_text("utf-8").splitlines()]
    answers: dict[str, Any] = {}
    if kind == "simple":
        lines = (data / "bfcl" / "possible_answer" / FILES[kind]).read_text("utf-8").splitlines()
        answers = {row["id"]: row["ground_truth"][0] for row in map(json.loads, lines)}
    chosen = random.Random(f"{seed} {kind}").sample(rows, min(count, len(rows)))  # noqa: S311 - a choice of items
    return [_item(row, kind, answers.get(row["id"], {})) for row in chosen]


def _item(row: dict[str, Any], kind: str, truth: dict[str, Any]) -> Item:
    tools = [
        {"type": "function", "function": {"name": _name(f["name"]), "description": f["description"], "parameters": _schema(f["parameters"])}}
        for f in row["function"]
    ]
    return Item(row["id"], kind, row["question"][0], tools, {_name(name): wanted for name, wanted in truth.items()})


def _name(name: str) -> str:
    return re.sub(r"[^a-zA-Z0-9_-]", "_", name)


def _schema(value: Any) -> Any:
    if isinstance(value, list):
        return [_schema(v) for v in value]
    if not isinstance(value, dict):
        return value
    found = {k: _schema(v) for k, v in value.items()}
    if isinstance(found.get("type"), str):
        kind = TYPES.get(found["type"], found["type"])
        found = {k: v for k, v in found.items() if k != "type"} | ({"type": kind} if kind else {})
    if isinstance(found.get("default"), str) and found.get("type") not in (None, "string"):
        del found["default"]
    return found


def _one_of(value: Any, allowed: list[Any]) -> bool:
    return any(_equal(value, one) for one in allowed)


def _equal(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, str) and isinstance(value, str):
        return _plain(value) == _plain(wanted)
    if isinstance(wanted, dict) and isinstance(value, dict):  # of an object's members, too, the allowed values are listed
        return not set(value) - set(wanted) and all(_one_of(value[k], w) if k in value else "" in w for k, w in wanted.items())
    if isinstance(wanted, list) and isinstance(value, list):
        return len(value) == len(wanted) and all(_equal(v, w) for v, w in zip(value, wanted, strict=True))
    return bool(value == wanted) and isinstance(value, bool) == isinstance(wanted, bool)


def _plain(text: str) -> str:
    return re.sub(r"[ ,./\-_*^'\"]", "", text).lower()
