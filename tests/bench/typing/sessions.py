"""What is typed, and when: pieces of a real editing trace with its own gaps, and real source files typed with the gaps of that trace.

The trace is `json-crdt-patch`, a specification in Markdown, of https://github.com/josephg/editing-traces (CC-BY-4.0), which alone has real times.
"""

from __future__ import annotations

import gzip
import itertools
import json
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

TRACE = "editing-traces/json-crdt-patch.json.gz"
PAUSE_S = 2.0  # somebody who does nothing for longer has stopped to think; the bench does not wait with them
KEYS = 120  # of a session


@dataclass(frozen=True, slots=True)
class Key:
    """After `gap` seconds `deleted` characters at `offset` are replaced by `inserted`."""

    gap: float
    offset: int
    deleted: int
    inserted: str

    def apply(self, text: str) -> str:
        """The text with this edit."""
        return text[: self.offset] + self.inserted + text[self.offset + self.deleted :]

    @property
    def cursor(self) -> int:
        """Where the cursor is then."""
        return self.offset + len(self.inserted)


@dataclass(frozen=True, slots=True)
class Session:
    """A document and the keys that change it."""

    name: str
    language: str
    text: str
    keys: tuple[Key, ...]


def load(data: Path, count: int, seed: int) -> list[Session]:
    """`count` sessions, the two kinds in turn."""
    with gzip.open(data / TRACE, "rt", encoding="utf-8") as file:
        trace = json.load(file)
    steps = [(datetime.fromisoformat(t["time"].replace("Z", "+00:00")).timestamp(), t["patches"]) for t in trace["txns"]]
    draw = random.Random(seed)  # noqa: S311 - a choice of places
    gaps = [b[0] - a[0] for a, b in itertools.pairwise(steps) if 0.01 < b[0] - a[0] < PAUSE_S]
    return [_replayed(steps, draw) if i % 2 else _source(draw, gaps) for i in range(count)]


def _replayed(steps: Sequence[tuple[float, list[Any]]], draw: random.Random) -> Session:
    """A stretch of the trace in which mostly single characters are typed."""
    while True:
        start = draw.randrange(len(steps) // 10, len(steps) - KEYS)
        stretch = steps[start : start + KEYS]
        if sum(len(p) == 1 and p[0][1] == 0 and len(p[0][2]) == 1 for _, p in stretch) < 0.8 * KEYS:
            continue
        text = ""
        for _, patches in steps[:start]:
            for offset, deleted, inserted in patches:
                text = text[:offset] + inserted + text[offset + deleted :]
        keys = []
        before = steps[start - 1][0]
        for at, patches in stretch:
            for offset, deleted, inserted in patches:
                keys.append(Key(min(max(0.0, at - before), PAUSE_S), offset, deleted, inserted))
                before = at
        return Session(f"trace {start}", "markdown", text, tuple(keys))


def _source(draw: random.Random, gaps: Sequence[float]) -> Session:
    """Consecutive lines of a standard library file, typed where they stand; an editor indents new lines by itself."""
    root = Path(os.__file__).parent
    files = sorted(p for p in root.glob("*.py") if p.stat().st_size > 20_000)
    while True:
        path = draw.choice(files)
        text = path.read_text("utf-8", "replace")
        lines = text.splitlines(keepends=True)
        first = draw.randrange(len(lines) // 4, len(lines) - 40)
        start, end = sum(map(len, lines[:first])), sum(map(len, lines[: first + 12]))
        hole = text[start:end]
        if (
            not text.isascii()
            or '"""' in hole
            or hole.count("\n\n") > 2
            or sum(line.lstrip().startswith("#") for line in lines[first : first + 12]) > 2
        ):
            continue
        keys: list[Key] = []
        at, i = start, 0
        while i < len(hole) - 1 and len(keys) < KEYS:
            size = 1
            if hole[i] == "\n":  # the indentation comes with the line break
                while i + size < len(hole) and hole[i + size] in " \t":
                    size += 1
            keys.append(Key(draw.choice(gaps), at, 0, hole[i : i + size]))
            at += size
            i += size
        return Session(f"{path.name}:{first + 1}", "python", text[:start] + text[end - 1 :], tuple(keys))
