"""The snippets that a window's completions carry, from its index and from what was edited lately.

A document, a cursor and the pack in use go in, the pack to use next comes out: the same one until something clearly better is known. Not for the
path of a keystroke: features.reader asks while nobody types, and uses the answer once the model has read it.
"""

from __future__ import annotations

import logging
import math
import sqlite3
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from qwencoder_lsp.context.candidates import Candidate, Here
from qwencoder_lsp.context.pack import Pack, follow, pack
from qwencoder_lsp.context.reading import Definition, Index
from qwencoder_lsp.context.retrieve import Retrieval
from qwencoder_lsp.context.secrets import redact
from qwencoder_lsp.context.unsaved import with_unsaved
from qwencoder_lsp.context.usage import usage
from qwencoder_lsp.core.text import Snapshot

log = logging.getLogger(__name__)

VISIBLE_ABOVE, VISIBLE_BELOW = 2500, 700  # code points around the cursor that every machine's prompt shows
EDIT_LINES = 7  # on both sides of an edit
EDIT_SCORE, EDIT_FADES = 0.8, 0.75  # of the latest edit, and for each one before it
EDITS = 4


@dataclass(frozen=True, slots=True)
class Touched:
    """A place in an open document that was edited."""

    snapshot: Snapshot
    offset: int


@dataclass(frozen=True, slots=True)
class Look:
    """What a search found. late: sources that were left out because the time was over; ms: how long it took."""

    pack: Pack
    candidates: tuple[Candidate, ...]
    late: tuple[str, ...] = ()
    ms: float = 0.0


class Surroundings:
    """The indexes of one window's folders."""

    def __init__(self) -> None:
        self._indexes: dict[str, Index] = {}
        self._one = threading.Lock()  # a connection to SQLite is used by one thread at a time

    def look(
        self, snapshot: Snapshot, offset: int, budget: int, old: Pack | None = None, edits: Sequence[Touched] = (), limit_s: float = math.inf
    ) -> Look:
        """The pack for a cursor at `offset`, in `budget` tokens: `old` while that is still good. edits: the latest first; the definitions in these
        documents are taken from their text and not from the index."""
        began = time.perf_counter()
        if snapshot.root is None or snapshot.path is None or not Path(snapshot.path).is_relative_to(snapshot.root):
            return Look(Pack(), ())
        here = here_at(snapshot, offset)
        with self._one:
            index = self.index(snapshot.root)
            late: list[str] = []
            found = [c for c in _edited(edits, snapshot) if not _seen(c, here)]
            try:
                retrieval = Retrieval(index, here, limit_s)
                found += retrieval.candidates()
                late = retrieval.late
            except sqlite3.Error as error:  # locked or damaged: the process that writes makes it new
                log.info("the index cannot be read (%s)", type(error).__name__)
                index.close()
                late = ["index"]
            found = with_unsaved(found, [t.snapshot for t in edits], snapshot, usage(here.text, here.offset).words)
            found.sort(key=lambda c: -c.score)
            chosen = follow(old or Pack(), pack(found, budget), found)
        return Look(chosen, tuple(found), tuple(late), (time.perf_counter() - began) * 1000)

    def index(self, root: str) -> Index:
        """The index of a workspace folder."""
        return self._indexes.setdefault(root, Index(Path(root)))

    def symbols(self, roots: Sequence[str], query: str, limit: int) -> list[tuple[str, Definition]]:
        """The symbols of these folders that fit `query` best, with their folders; none where an index cannot be read."""
        found: list[tuple[str, Definition]] = []
        with self._one:
            for root in roots:
                try:
                    found += [(root, symbol) for symbol in self.index(root).symbols(query, limit)]
                except sqlite3.Error as error:
                    log.info("the index cannot be read (%s)", type(error).__name__)
                    self.index(root).close()
        return found[:limit]


def here_at(snapshot: Snapshot, offset: int) -> Here:
    """The cursor as the retrieval wants it, with what its prompt shows anyway. The document must lie in its workspace folder."""
    assert snapshot.path is not None and snapshot.root is not None
    text = snapshot.text[:offset].replace("\r\n", "\n")
    at = len(text)
    text += snapshot.text[offset:].replace("\r\n", "\n")
    line = text.count("\n", 0, at)
    first = line - text.count("\n", max(0, at - VISIBLE_ABOVE), at)
    last = line + text.count("\n", at, at + VISIBLE_BELOW) + 1
    path = Path(snapshot.path).relative_to(snapshot.root).as_posix()
    return Here(path, snapshot.language, text, at, (first, last))


def _edited(edits: Sequence[Touched], here: Snapshot) -> list[Candidate]:
    """The lines around the latest edits, without secrets."""
    out = []
    for number, touched in enumerate(edits[:EDITS]):
        snapshot = touched.snapshot
        if snapshot.path is None or here.root is None or not Path(snapshot.path).is_relative_to(here.root):
            continue
        lines = redact(snapshot.text.replace("\r\n", "\n")).split("\n")
        line = snapshot.text.count("\n", 0, touched.offset)
        first, last = max(0, line - EDIT_LINES), min(len(lines), line + EDIT_LINES + 1)
        text = "\n".join(lines[first:last]).strip("\n") + "\n"
        if text.strip():
            path = Path(snapshot.path).relative_to(here.root).as_posix()
            out.append(Candidate(path, first, last, "edits", "edited lately", EDIT_SCORE * EDIT_FADES**number, text))
    return out


def _seen(candidate: Candidate, here: Here) -> bool:
    return candidate.path == here.path and candidate.line < here.visible[1] and candidate.end > here.visible[0]
