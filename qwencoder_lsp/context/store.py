"""The index of a workspace folder on disk: one SQLite file in the cache directory, never in the folder itself.

Parsed files go in. One process writes (context.indexer holds the lock), any number read (context.reading). All text in it went through the secret
guard. Nothing in it is precious: a file that is damaged is deleted and made again.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from qwencoder_lsp import paths
from qwencoder_lsp.context.imports import key
from qwencoder_lsp.context.parse import Parsed, words
from qwencoder_lsp.errors import IndexUnavailable

log = logging.getLogger(__name__)

MIGRATIONS = (
    """
    CREATE TABLE files (
        id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, key TEXT NOT NULL, size INTEGER NOT NULL, mtime INTEGER NOT NULL, digest BLOB NOT NULL,
        language TEXT NOT NULL, lines INTEGER NOT NULL, skip TEXT NOT NULL
    );
    CREATE INDEX files_key ON files (key);
    CREATE TABLE chunks (id INTEGER PRIMARY KEY, file INTEGER NOT NULL, line INTEGER NOT NULL, "end" INTEGER NOT NULL, text TEXT NOT NULL);
    CREATE INDEX chunks_file ON chunks (file, line);
    CREATE TABLE symbols (
        id INTEGER PRIMARY KEY, file INTEGER NOT NULL, name TEXT NOT NULL, kind TEXT NOT NULL, container TEXT NOT NULL, line INTEGER NOT NULL,
        "end" INTEGER NOT NULL, signature TEXT NOT NULL, doc TEXT NOT NULL
    );
    CREATE INDEX symbols_name ON symbols (name);
    CREATE INDEX symbols_file ON symbols (file, line);
    CREATE TABLE imports (file INTEGER NOT NULL, key TEXT NOT NULL, ends TEXT NOT NULL);
    CREATE INDEX imports_key ON imports (key);
    CREATE INDEX imports_file ON imports (file);
    CREATE VIRTUAL TABLE terms USING fts5 (words, content='', detail=none, columnsize=0, tokenize="ascii tokenchars '_'");
    CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    """,
)
"""Each is run once, in order; `user_version` counts them."""


@dataclass(frozen=True, slots=True)
class Known:
    """What the index knows of a file."""

    id: int
    size: int
    mtime: int
    digest: bytes


def location(root: Path) -> Path:
    """The file that holds the index of a workspace folder."""
    name = hashlib.sha256(os.fsencode(root)).hexdigest()[:16]
    return paths.cache_dir() / "index" / f"{root.name[:40] or 'root'}-{name}.sqlite"


class Store:
    """The index, open for writing."""

    def __init__(self, root: Path) -> None:
        self.path = location(root)
        self._root = root
        self._db = self._opened()

    def known(self) -> dict[str, Known]:
        """Every file of the index, also those without content."""
        rows = self._db.execute("SELECT path, id, size, mtime, digest FROM files")
        return {path: Known(id_, size, mtime, digest) for path, id_, size, mtime, digest in rows}

    def known_file(self, path: str) -> Known | None:
        """What the index knows of one file."""
        row = self._db.execute("SELECT id, size, mtime, digest FROM files WHERE path = ?", (path,)).fetchone()
        return Known(*row) if row else None

    def put(self, files: Iterable[Parsed]) -> None:
        """Add files or replace what is known of them, in one transaction."""
        with self._db:
            for parsed in files:
                self._remove(parsed.entry.path)
                self._insert(parsed)

    def touch(self, files: Iterable[tuple[str, int, int]]) -> None:
        """These paths have another size and time, but the same text."""
        with self._db:
            self._db.executemany("UPDATE files SET size = ?2, mtime = ?3 WHERE path = ?1", files)

    def remove(self, gone: Iterable[str]) -> None:
        """Forget files."""
        with self._db:
            for path in gone:
                self._remove(path)

    def note(self, name: str, value: str) -> None:
        """Keep a word about the index itself."""
        with self._db:
            self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

    def under(self, directory: str) -> list[str]:
        """The known paths in a directory and below it."""
        start = directory.rstrip("/") + "/"
        return [p for (p,) in self._db.execute("SELECT path FROM files WHERE path >= ? AND path < ?", (start, start[:-1] + "0"))]

    def is_sound(self) -> bool:
        """Whether SQLite finds no damage; reads the whole file."""
        try:
            return bool(self._db.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok")
        except sqlite3.DatabaseError:
            return False

    def settle(self) -> None:
        """Work that makes reading faster, once much was written."""
        self._db.execute("PRAGMA optimize")
        self._db.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def rebuild(self) -> None:
        """Forget everything."""
        self._db.close()
        _delete(self.path)
        self._db = self._opened()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _insert(self, parsed: Parsed) -> None:
        entry = parsed.entry
        row = (
            entry.path,
            key(entry.path),
            entry.size,
            entry.mtime,
            parsed.digest,
            parsed.language,
            parsed.lines,
            parsed.skip.value if parsed.skip else "",
        )
        file = self._db.execute("INSERT INTO files VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?)", row).lastrowid
        for chunk in parsed.chunks:
            id_ = self._db.execute("INSERT INTO chunks VALUES (NULL, ?, ?, ?, ?)", (file, chunk.line, chunk.end, chunk.text)).lastrowid
            self._db.execute("INSERT INTO terms (rowid, words) VALUES (?, ?)", (id_, words(chunk.text)))
        self._db.executemany(
            "INSERT INTO symbols VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?)",
            [(file, s.name, s.kind, s.container, s.line, s.end, s.signature, s.doc) for s in parsed.symbols],
        )
        self._db.executemany("INSERT INTO imports VALUES (?, ?, ?)", [(file, *i) for i in parsed.imports])

    def _remove(self, path: str) -> None:
        row = self._db.execute("SELECT id FROM files WHERE path = ?", (path,)).fetchone()
        if row is None:
            return
        for id_, text in self._db.execute("SELECT id, text FROM chunks WHERE file = ?", row).fetchall():
            self._db.execute("INSERT INTO terms (terms, rowid, words) VALUES ('delete', ?, ?)", (id_, words(text)))  # FTS5 keeps no text of its own
        for table in ("chunks", "symbols", "imports"):
            self._db.execute(f"DELETE FROM {table} WHERE file = ?", row)  # noqa: S608 - one of three words above
        self._db.execute("DELETE FROM files WHERE id = ?", row)

    def _opened(self) -> sqlite3.Connection:
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
            try:
                return self._migrated()
            except sqlite3.OperationalError:
                raise
            except sqlite3.DatabaseError as error:
                log.warning("the index %s is damaged (%s); it is made again", self.path.name, error)
                _delete(self.path)
                return self._migrated()
        except (OSError, sqlite3.Error) as error:
            raise IndexUnavailable(
                f"The index {self.path} cannot be opened ({error}).", "Free the disk or correct its rights; typing goes on without it."
            ) from error

    def _migrated(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, timeout=10)
        try:
            for pragma in (
                "journal_mode = WAL",
                "synchronous = NORMAL",
                "cache_size = -16000",
                "temp_store = MEMORY",
                "journal_size_limit = 67108864",
            ):
                db.execute(f"PRAGMA {pragma}")
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version > len(MIGRATIONS):
                raise IndexUnavailable("The index was made by a newer qwencoder-lsp.", "Update this one, or run: qwencoder-lsp index --rebuild")
            for number, script in enumerate(MIGRATIONS[version:], version + 1):
                db.executescript(f"BEGIN; {script}; PRAGMA user_version = {number}; COMMIT;")
            db.execute("SELECT count(*) FROM files WHERE id < 2").fetchone()
        except BaseException:  # whatever it was, the file must not stay open: a damaged one is deleted
            db.close()
            raise
        return db


def _delete(path: Path) -> None:
    for end in ("", "-wal", "-shm"):
        path.with_name(path.name + end).unlink(missing_ok=True)
