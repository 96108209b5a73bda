"""The holes: in real statements, three for each chosen name, so that the offsets are compared on the same lines."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass

from tests.bench.sources.files import Source
from tests.bench.sources.parsed import Parsed

OFFSETS = ("inside", "end", "punctuation")
ABOVE = 10  # lines before a hole
SHORTEST = 5  # characters of a name
_BEHIND = re.compile(r"[^\w\s\\#\"'](?=.*\w)")


@dataclass(frozen=True, slots=True)
class Hole:
    """A cursor with nothing behind it on its line. truth: the rest of that line; offset: one of OFFSETS."""

    id: str
    offset: str
    package: str
    path: str
    prefix: str
    suffix: str
    truth: str

    @property
    def language(self) -> str:
        """LSP id."""
        return "python"


def choose(sources: list[Source], packages: list[str], names: int, seed: int) -> list[Hole]:
    """The holes of `names` names, in turn of all packages, one name of each file; fewer when there are no more."""
    turns = [_names([s for s in sources if s.package == package and not s.made], seed) for package in packages]
    found: list[Hole] = []
    while turns and len(found) < names * len(OFFSETS):
        holes = next(turns[0], None)
        turns = turns[1:] + (turns[:1] if holes else [])
        found += holes or []
    return found


def _names(sources: list[Source], seed: int) -> Iterator[list[Hole]]:
    for source in sources:
        p = Parsed(source)
        places = [
            (node.start_byte, node.end_byte)
            for node in p.nodes
            if node.type == "identifier"
            and node.end_byte - node.start_byte >= SHORTEST
            and node.start_point.row >= ABOVE
            and _BEHIND.match(p.text, node.end_byte, p.end(node.start_point.row))
            and p.statement(node) is not None
        ]
        if places:
            draw = random.Random(f"{seed} {source.id}")  # noqa: S311 - a choice of places
            start, end = draw.choice(places)
            stop = p.end(p.row(start))
            cuts = zip(OFFSETS, (draw.randrange(start + 1, end), end, end + 1), strict=True)
            yield [
                Hole(f"{offset} {source.id}:{at}", offset, source.package, source.path, p.text[:at], p.text[stop:], p.text[at:stop])
                for offset, at in cuts
            ]
