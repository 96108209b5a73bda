"""The snippets that a window's completions carry: found while nobody types, then kept as they are until something clearly better is known.

Documents and cursors go in, packs come out. A keystroke only reads what was chosen before (`current`); `look` does the work and may run in a thread of its
own; `adopt` is called once the model has read the new pack, so that no keystroke waits for that either.
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

from cachetools import LRUCache

from qwencoder_lsp.context.candidates import Candidate, Here
from qwencoder_lsp.context.pack import Pack, follow, pack
from qwencoder_lsp.context.reading import Index
from qwencoder_lsp.context.retrieve import Retrieval
from qwencoder_lsp.context.secrets import redact
from qwencoder_lsp.core.prompt import Snippet
from qwencoder_lsp.core.text import Snapshot

log = logging.getLogger(__name__)

DOCUMENTS = 32
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
    """The packs of one window's documents."""

    def __init__(self) -> None:
        self._packs: LRUCache[str, Pack] = LRUCache(DOCUMENTS)
        self._indexes: dict[str, Index] = {}
        self._one = threading.Lock()  # SQLite's connection and the packs are used from several threads, one after the other

    def current(self, uri: str) -> tuple[Snippet, ...]:
        """The snippets for a completion in this document now."""
        return self._packs.get(uri, Pack()).snippets

    def look(self, snapshot: Snapshot, offset: int, budget: int, edits: Sequence[Touched] = (), limit_s: float = math.inf) -> Look:
        """The pack that would be best at `offset`, in `budget` tokens; the old one while that is still good. edits: the latest first."""
        began = time.perf_counter()
        if snapshot.root is None or snapshot.path is None or not Path(snapshot.path).is_relative_to(snapshot.root):
            return Look(Pack(), ())
        here = here_at(snapshot, offset)
        with self._one:
            index = self._indexes.setdefault(snapshot.root, Index(Path(snapshot.root)))
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
            found.sort(key=lambda c: -c.score)
            chosen = follow(self._packs.get(snapshot.uri, Pack()), pack(found, budget), found)
        return Look(chosen, tuple(found), tuple(late), (time.perf_counter() - began) * 1000)

    def adopt(self, uri: str, chosen: Pack) -> None:
        """Use this pack from now on."""
        self._packs[uri] = chosen

    def forget(self, uri: str) -> None:
        """The document was closed."""
        self._packs.pop(uri, None)


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
