"""Questions to the index of a workspace folder. Reads beside the process that writes; opens the file again when that made it anew.

Names, words and paths go in, rows come out. A method raises sqlite3.Error when the file is damaged or locked; `Index.close` then lets the next
question open it again. Not for several threads at once.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

from qwencoder_lsp.context.imports import key
from qwencoder_lsp.context.store import MIGRATIONS, location

LOOK_S = 0.2  # so often it is looked whether the file is still the same one
_DEFINITION = 'SELECT s.file, f.path, s.name, s.kind, s.container, s.line, s."end", s.signature, s.doc FROM symbols s JOIN files f ON f.id = s.file'


@dataclass(frozen=True, slots=True)
class Definition:
    """A symbol and its file. Lines count from 0, `end` is exclusive."""

    file: int
    path: str
    name: str
    kind: str
    container: str
    line: int
    end: int
    signature: str
    doc: str


@dataclass(frozen=True, slots=True)
class Hit:
    """A line that holds what was searched for; `line` counts from 0."""

    path: str
    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Found:
    """A chunk."""

    id: int
    path: str
    line: int
    end: int
    text: str


class Index:
    """The index of one folder, which need not exist (yet): then every answer is empty."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._path = location(root)
        self._db: sqlite3.Connection | None = None
        self._inode = 0
        self._look_again = 0.0

    def definitions(self, name: str, limit: int) -> list[Definition]:
        """Where `name` is defined, in any file."""
        return [Definition(*row) for row in self._rows(f"{_DEFINITION} WHERE s.name = ? LIMIT ?", (name, limit))]

    def definitions_in(self, file: int, name: str | None = None, container: str | None = None, limit: int = 200) -> list[Definition]:
        """What a file defines, in its order: everything, or under a name, or directly in a container ("" for the top level)."""
        where, values = "s.file = ?", [file]
        more: list[Any] = []
        if name is not None:
            where, more = where + " AND s.name = ?", [*more, name]
        if container is not None:
            where, more = where + " AND s.container = ?", [*more, container]
        return [Definition(*row) for row in self._rows(f"{_DEFINITION} WHERE {where} ORDER BY s.line LIMIT ?", (*values, *more, limit))]

    def file(self, path: str) -> int | None:
        """The number of the file at `path`."""
        for (id_,) in self._rows("SELECT id FROM files WHERE path = ?", (path,)):
            return int(id_)
        return None

    def imported(self, ends: Sequence[str], near: str) -> int | None:
        """The number of the file whose path has one of these ends (context.imports); of several the one nearest to the file `near`."""
        for end in ends:
            if end.endswith("/*.go"):
                folder = end[: -len("/*.go")]
                rows = self._rows(r"SELECT id, path FROM files WHERE language = 'go' AND path LIKE ? ESCAPE '\' LIMIT 8", (f"%{_like(folder)}/%.go",))
            else:
                rows = self._rows("SELECT id, path FROM files WHERE key = ?", (key(end),))
            fit = [(id_, path) for id_, path in rows if end.endswith("*.go") or path == end or path.endswith("/" + end)]
            if fit:
                return int(min(fit, key=lambda f: (-_shared(f[1], near), len(f[1])))[0])
        return None

    def importers(self, path: str, limit: int) -> list[tuple[int, str]]:
        """Files that import the one at `path`, with their paths."""
        rows = self._rows("SELECT i.file, f.path, i.ends FROM imports i JOIN files f ON f.id = i.file WHERE i.key = ? LIMIT 200", (key(path),))
        fit = [(file, by) for file, by, ends in rows if any(path == end or path.endswith("/" + end) for end in ends.split("\n"))]
        return fit[:limit]

    def named(self, keys: Iterable[str]) -> list[tuple[int, str]]:
        """Files of these names (context.imports.key), with their paths."""
        wanted = list(keys)
        marks = ", ".join("?" * len(wanted))
        return [(id_, path) for id_, path in self._rows(f"SELECT id, path FROM files WHERE key IN ({marks}) AND lines > 0 LIMIT 40", wanted)]  # noqa: S608

    def text(self, file: int, line: int, end: int) -> str:
        """Lines of a file."""
        rows = self._rows('SELECT line, text FROM chunks WHERE file = ? AND line < ? AND "end" > ? ORDER BY line', (file, end, line))
        lines: list[str] = []
        first = line
        for at, text in rows:
            if not lines:
                first = at
            lines += text.split("\n")[:-1]
        return "".join(f"{text}\n" for text in lines[line - first : end - first])

    def with_word(self, word: str, limit: int) -> list[int]:
        """The numbers of chunks that have this word, in any case; at most `limit`."""
        return [row[0] for row in self._rows("SELECT rowid FROM terms WHERE terms MATCH ? LIMIT ?", (f'"{word}"', limit))]

    def chunks(self, ids: Sequence[int]) -> list[Found]:
        """Chunks by their numbers."""
        marks = ", ".join("?" * len(ids))
        query = f'SELECT c.id, f.path, c.line, c."end", c.text FROM chunks c JOIN files f ON f.id = c.file WHERE c.id IN ({marks})'  # noqa: S608
        return [Found(*row) for row in self._rows(query, ids)]

    def count(self) -> int:
        """About how many chunks there are."""
        row = next(iter(self._rows("SELECT max(id) FROM chunks", ())), None)
        return (row[0] or 0) if row else 0

    def search(self, text: str, limit: int) -> list[Hit]:
        """The lines that hold `text`, letter by letter; without regard to case when it has no capital."""
        small = text == text.lower()
        field = "lower(c.text)" if small else "c.text"
        query = f"SELECT f.path, c.line, c.text FROM chunks c JOIN files f ON f.id = c.file WHERE instr({field}, ?) ORDER BY f.path, c.line"  # noqa: S608
        hits: list[Hit] = []
        for path, line, chunk in self._rows(query, (text,)):
            hits += [Hit(path, line + i, row) for i, row in enumerate(chunk.split("\n")) if text in (row.lower() if small else row)]
            if len(hits) >= limit:
                break
        return hits[:limit]

    def symbols(self, query: str, limit: int) -> list[Definition]:
        """The symbols whose name has the letters of `query` in this order: equal names first, then beginnings, parts, and the rest, short ones
        first."""
        pattern = "%" + "%".join(_like(c) for c in query) + "%"
        part = f"%{_like(query)}%"
        order = r"ORDER BY s.name <> ?1 COLLATE NOCASE, s.name NOT LIKE ?2 ESCAPE '\', s.name NOT LIKE ?3 ESCAPE '\', length(s.name), f.path, s.line"
        rows = self._rows(rf"{_DEFINITION} WHERE s.name LIKE ?4 ESCAPE '\' {order} LIMIT ?5", (query, part[1:], part, pattern, limit))
        return [Definition(*row) for row in rows]

    def status(self) -> dict[str, Any]:
        """Counts, for people."""
        counts = next(iter(self._rows("SELECT count(*), coalesce(sum(lines), 0), coalesce(sum(skip <> ''), 0) FROM files", ())), (0, 0, 0))
        symbols = next(iter(self._rows("SELECT count(*) FROM symbols", ())), (0,))[0]
        languages = dict(self._rows("SELECT language, sum(lines) FROM files WHERE skip = '' GROUP BY language ORDER BY 2 DESC", ()))
        skipped = dict(self._rows("SELECT skip, count(*) FROM files WHERE skip <> '' GROUP BY skip", ()))
        scanned = next(iter(self._rows("SELECT value FROM meta WHERE name = 'scanned'", ())), (None,))[0]
        size = self._path.stat().st_size if self._path.exists() else 0
        return {
            "folder": str(self.root), "file": str(self._path), "bytes": size, "files": counts[0] - counts[2], "lines": counts[1], "symbols": symbols,
            "languages": languages, "skipped": skipped, "scanned": float(scanned) if scanned else None,
        }  # fmt: skip

    def close(self) -> None:
        """Close the file; the next question opens it again."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def _rows(self, query: str, values: Sequence[Any]) -> Iterable[Any]:
        db = self._opened()
        return db.execute(query, values) if db is not None else ()

    def _opened(self) -> sqlite3.Connection | None:
        if self._db is not None and monotonic() < self._look_again:
            return self._db
        self._look_again = monotonic() + LOOK_S
        try:
            inode = self._path.stat().st_ino
        except OSError:
            self.close()
            return None
        if self._db is None or inode != self._inode:
            self.close()
            db = sqlite3.connect(f"{self._path.as_uri()}?mode=ro", uri=True, timeout=0.5, check_same_thread=False)
            if db.execute("PRAGMA user_version").fetchone()[0] != len(MIGRATIONS):  # being made, or a newer version's
                db.close()
                return None
            db.execute("PRAGMA mmap_size = 268435456")
            self._db, self._inode = db, inode
        return self._db


def _like(text: str) -> str:
    return text.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")


def _shared(a: str, b: str) -> int:
    """How many leading directories two paths share."""
    return next((i for i, (x, y) in enumerate(zip(a.split("/"), b.split("/"), strict=False)) if x != y), 99)
