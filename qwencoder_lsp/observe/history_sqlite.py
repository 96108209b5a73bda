"""The history in an SQLite file, bounded in age and size. Several gateways may write at once while one takes over from another."""

# ruff: noqa: S608 - the queries are put together of our own words; values are bound

from __future__ import annotations

import logging
import math
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from qwencoder_lsp.core.outcome import ACCEPTED, ANSWERED, DISPLAYED, PARTLY, REJECTED, EngineRun, Outcome
from qwencoder_lsp.core.report import Reason
from qwencoder_lsp.errors import HistoryError
from qwencoder_lsp.observe.history import EDITOR_STAGES, ENGINE_STAGES, Bucket, Language, Record, Stage, Summary, Tokens

log = logging.getLogger(__name__)

BUSY_S = 5.0  # how long another gateway may hold the file
PRUNE_S = 600.0
DAY_S = 86400.0
OLDEST_SHARE = 10  # of the rows, one in so many goes when the file is too large
LANGUAGES = 40

MIGRATIONS = (
    """
    CREATE TABLE outcomes (
        at REAL NOT NULL, event TEXT NOT NULL, feature TEXT NOT NULL, language TEXT NOT NULL, reason TEXT NOT NULL, code TEXT NOT NULL,
        model TEXT NOT NULL, source TEXT NOT NULL, prompt INTEGER NOT NULL, reused INTEGER NOT NULL, generated INTEGER NOT NULL,
        gather_ms REAL NOT NULL, render_ms REAL NOT NULL, queue_ms REAL NOT NULL, prefill_ms REAL NOT NULL, first_token_ms REAL NOT NULL,
        generate_ms REAL NOT NULL, finish_ms REAL NOT NULL, total_ms REAL NOT NULL
    );
    CREATE INDEX outcomes_at ON outcomes (at);
    CREATE TABLE runs (
        at REAL NOT NULL, model TEXT NOT NULL, reason TEXT NOT NULL, failed INTEGER NOT NULL, prompt INTEGER NOT NULL, reused INTEGER NOT NULL,
        restored INTEGER NOT NULL, generated INTEGER NOT NULL, drafted INTEGER NOT NULL, accepted INTEGER NOT NULL, preempted INTEGER NOT NULL,
        queue_ms REAL NOT NULL, prefill_ms REAL NOT NULL, decode_ms REAL NOT NULL
    );
    CREATE INDEX runs_at ON runs (at);
    """,
)
"""Each is run once, in order; `user_version` counts them."""

_SHOWN = f"reason = '{Reason.SHOWN.value}'"
_OUTCOME = f"INSERT INTO outcomes VALUES ({', '.join('?' * 19)})"
_RUN = f"INSERT INTO runs VALUES ({', '.join('?' * 14)})"


class SqliteHistory:
    """An observe.history.History. path None: in memory, for as long as this object lives. A damaged file is put aside and begun anew."""

    def __init__(self, path: Path | None, days: float, max_mb: int) -> None:
        """days, max_mb: what is older, or too much for a file of that size, is forgotten. Raises HistoryError."""
        self._path = path
        self._days, self._max_bytes = days, max_mb << 20
        self._pruned = -math.inf  # the monotonic clock may have begun just now
        with self._reported("opened"):
            self._db = self._opened()

    def write(self, records: Sequence[Record]) -> None:
        """Keep the records, and forget what is too old or too much. Raises HistoryError."""
        with self._reported("written"):
            with self._db:
                self._db.executemany(_OUTCOME, [_outcome_row(r) for r in records if isinstance(r, Outcome)])
                self._db.executemany(_RUN, [_run_row(r) for r in records if isinstance(r, EngineRun)])
            if time.monotonic() - self._pruned > PRUNE_S:
                self.prune()

    def prune(self) -> None:
        """Forget what is too old or too much; write does it now and then."""
        self._pruned = time.monotonic()
        with self._db:
            for table in ("outcomes", "runs"):
                self._db.execute(f"DELETE FROM {table} WHERE at < ?", (time.time() - self._days * DAY_S,))
        while self._bytes() > self._max_bytes:
            with self._db:
                gone = 0
                for table in ("outcomes", "runs"):
                    oldest = f"SELECT rowid FROM {table} ORDER BY at LIMIT 1 + (SELECT count(*) FROM {table}) / {OLDEST_SHARE}"
                    gone += self._db.execute(f"DELETE FROM {table} WHERE rowid IN ({oldest})").rowcount
            if not gone:
                break
        self._db.executescript("PRAGMA incremental_vacuum")  # `execute` would take one step, which is one page

    def summary(self, since: float, until: float, buckets: int) -> Summary:
        """What the records between two times come to. Raises HistoryError."""
        with self._reported("read"):
            self._select(since, until)
            answers, shown = self._row(f"SELECT count(*), total({_SHOWN}) FROM answers")
            runs, failed = self._row("SELECT count(*), total(failed) FROM ran")
            last = self._db.execute("SELECT at, reason FROM ran WHERE failed ORDER BY at DESC LIMIT 1").fetchone()
            return Summary(
                since,
                until,
                answers,
                int(shown),
                runs,
                int(failed),
                tuple(self._stage(name, "answers WHERE source = 'asked'") for name in EDITOR_STAGES),
                tuple(self._stage(name, "ran WHERE NOT failed") for name in ENGINE_STAGES),
                self._languages(),
                self._counts("reason", f"answers WHERE NOT {_SHOWN}"),
                self._counts("source", "answers WHERE source <> ''"),
                self._counts("reason", "ran WHERE NOT failed"),
                self._counts("reason", "ran WHERE failed"),
                (last[0], last[1]) if last else None,
                self._tokens(),
                self._line(since, until, buckets),
            )

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _select(self, since: float, until: float) -> None:
        """Copy what a summary is about into memory, so that the file is gone through once: told, answers (part of it) and ran."""
        between = "FROM {} WHERE at >= ? AND at < ?"
        for table, query in (
            ("told", f"SELECT * {between.format('outcomes')} AND feature IN ('inline', 'menu')"),
            ("ran", f"SELECT *, queue_ms + prefill_ms + decode_ms AS total_ms {between.format('runs')}"),
        ):
            self._db.execute(f"DROP TABLE IF EXISTS temp.{table}")
            self._db.execute(f"CREATE TEMP TABLE {table} AS {query}", (since, until))
        self._db.execute(f"CREATE TEMP VIEW IF NOT EXISTS answers AS SELECT * FROM told WHERE event = '{ANSWERED}'")

    def _stage(self, name: str, source: str) -> Stage:
        (n,) = self._row(f"SELECT count(*) FROM {source}")
        ranks = [(n * percent + 99) // 100 for percent in (50, 90, 95, 99)]
        ranked = f"SELECT {name} AS value, row_number() OVER (ORDER BY {name}) AS rank FROM {source}"  # SQLite may be older than its percentiles
        found = dict(self._db.execute(f"SELECT rank, value FROM ({ranked}) WHERE rank IN (?, ?, ?, ?)", ranks))
        return Stage(name, n, *(round(found.get(rank, 0.0), 2) for rank in ranks))

    def _languages(self) -> tuple[Language, ...]:
        shown = f"event = '{ANSWERED}' AND {_SHOWN}"
        told = ", ".join(f"sum(event = '{event}')" for event in (DISPLAYED, ACCEPTED, PARTLY, REJECTED))
        rows = self._db.execute(
            f"SELECT language, sum(event = '{ANSWERED}') AS asked, sum({shown}), sum({shown} AND source <> 'memory'), {told} "
            f"FROM told GROUP BY language ORDER BY asked DESC LIMIT {LANGUAGES}"
        )
        return tuple(Language(*row) for row in rows)

    def _tokens(self) -> Tokens:
        names = ("prompt", "reused", "restored", "generated", "drafted", "accepted", "prefill_ms", "decode_ms")
        row = self._row(f"SELECT {', '.join(f'total({name})' for name in names)} FROM ran WHERE NOT failed")
        return Tokens(*(int(value) for value in row[:6]), *(round(value, 1) for value in row[6:]))

    def _line(self, since: float, until: float, buckets: int) -> tuple[Bucket, ...]:
        width = (until - since) / buckets
        number = f"min(CAST((at - {since}) / {width} AS INTEGER), {buckets - 1})"
        told = self._bars(f"SELECT {number}, count(*), sum({_SHOWN}) FROM answers GROUP BY 1")
        ran = self._bars(f"SELECT {number}, count(*), sum(failed) FROM ran GROUP BY 1")
        part = f"PARTITION BY {number}"
        ranked = (
            f"SELECT {number} AS bar, total_ms AS value, row_number() OVER ({part} ORDER BY total_ms) AS rank, count(*) OVER ({part}) AS n "
            "FROM answers WHERE source = 'asked'"
        )
        slow = dict(self._db.execute(f"SELECT bar, max(value) FROM ({ranked}) WHERE rank <= (n * 95 + 99) / 100 GROUP BY bar"))
        return tuple(Bucket(since + i * width, *told.get(i, (0, 0)), *ran.get(i, (0, 0)), round(slow.get(i, 0.0), 1)) for i in range(buckets))

    def _bars(self, query: str) -> dict[int, tuple[int, int]]:
        return {bar: (first, second) for bar, first, second in self._db.execute(query)}

    def _counts(self, column: str, source: str) -> dict[str, int]:
        return dict(self._db.execute(f"SELECT {column}, count(*) FROM {source} GROUP BY 1 ORDER BY 2 DESC"))

    def _row(self, query: str) -> tuple[int, ...]:
        row: tuple[int, ...] = self._db.execute(query).fetchone()
        return row

    def _bytes(self) -> int:
        pages, free, size = (self._db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size"))
        return int((pages - free) * size)

    def _opened(self) -> sqlite3.Connection:
        if self._path is None:
            return self._migrated(":memory:")
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
        try:
            return self._migrated(str(self._path))
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:
            log.warning("the history is damaged (%s); it is begun anew, and the old one is kept beside it", error)
            for end in ("", "-wal", "-shm"):
                file = self._path.with_name(self._path.name + end)
                if file.exists():
                    file.replace(self._path.with_name(f"{self._path.name}.damaged{end}"))
            return self._migrated(str(self._path))

    def _migrated(self, path: str) -> sqlite3.Connection:
        db = sqlite3.connect(path, timeout=BUSY_S, check_same_thread=False)
        try:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version > len(MIGRATIONS):
                raise HistoryError("The history was written by a newer qwencoder-lsp.", "Update this one; until then requests are counted in memory.")
            for pragma in (
                "auto_vacuum = INCREMENTAL",
                "journal_mode = WAL",
                "synchronous = NORMAL",
                "journal_size_limit = 4194304",
                "temp_store = MEMORY",
            ):
                _patiently(db, f"PRAGMA {pragma}")
            db.execute("BEGIN IMMEDIATE")
            version = db.execute("PRAGMA user_version").fetchone()[0]  # again: another gateway may have opened it meanwhile
            for statement in "".join(MIGRATIONS[version:]).split(";"):  # `executescript` would end the transaction
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
            db.commit()
            db.execute("SELECT (SELECT count(*) FROM outcomes WHERE rowid < 2) + (SELECT count(*) FROM runs WHERE rowid < 2)").fetchone()
        except BaseException:  # whatever it was, the file must not stay open: a damaged one is moved
            db.close()
            raise
        return db

    @contextmanager
    def _reported(self, what: str) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            raise HistoryError(
                f"The history {self._path or 'in memory'} cannot be {what} ({error}).", "Free the disk or correct its rights."
            ) from error


def _patiently(db: sqlite3.Connection, statement: str) -> None:
    """Run it; again while another gateway opens or closes the file. SQLite does not wait by itself where a journal's mode changes
    (https://sqlite.org/wal.html, "Sometimes Queries Return SQLITE_BUSY In WAL Mode")."""
    deadline = time.monotonic() + BUSY_S
    while True:
        try:
            db.execute(statement)
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def _outcome_row(o: Outcome) -> tuple[object, ...]:
    u, t = o.usage, o.timings
    words = (o.at, o.event, o.feature, o.language, o.reason, o.code, o.model, o.source)
    return (*words, u.prompt, u.reused, u.generated, t.gather, t.render, t.queue, t.prefill, t.first_token, t.generate, t.finish, o.total_ms)


def _run_row(r: EngineRun) -> tuple[object, ...]:
    tokens = (r.prompt, r.reused, r.restored, r.generated, r.drafted, r.accepted, r.preempted)
    return (r.at, r.model, r.reason, r.failed, *tokens, r.queue_ms, r.prefill_ms, r.decode_ms)
