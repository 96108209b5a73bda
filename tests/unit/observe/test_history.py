"""The history: what goes in comes out as figures, nothing but words and numbers is kept, and it never grows beyond its bounds."""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from qwencoder_lsp.core.outcome import ACCEPTED, ANSWERED, REJECTED, EngineRun, Outcome
from qwencoder_lsp.core.report import Reason, Timings, Usage
from qwencoder_lsp.errors import HistoryError
from qwencoder_lsp.observe.history import OTHER, clean
from qwencoder_lsp.observe.history_sqlite import MIGRATIONS, SqliteHistory

NOW = 1_000_000_000.0


def answer(reason: Reason = Reason.SHOWN, language: str = "python", total_ms: float = 100.0, source: str = "asked", at: float = NOW) -> Outcome:
    return Outcome(at, ANSWERED, "inline", language, reason.value, "", "m", source, Usage(10, 8, 2), Timings(gather=1, generate=90), total_ms)


def told(event: str, language: str = "python") -> Outcome:
    return Outcome(NOW, event, "inline", language)


def run(reason: str = "stop_token", *, failed: bool = False, at: float = NOW) -> EngineRun:
    return EngineRun(at, "" if failed else "m", reason, failed, 100, 60, 20, 30, 8, 6, 0, 1.0, 20.0, 300.0)


def memory() -> SqliteHistory:
    return SqliteHistory(None, 100_000, 64)


def test_rates_by_language_count_each_suggestion_once_however_long_it_is_typed_along() -> None:
    history = memory()
    history.write(
        [
            answer(),
            answer(source="memory"),
            answer(source="ahead"),
            answer(Reason.UNSURE),
            told(ACCEPTED),
            told(REJECTED),
            answer(Reason.DISABLED, "go", source=""),
        ]
    )
    found = history.summary(NOW - 10, NOW + 10, 4)
    python, go = found.languages
    assert (python.name, python.asked, python.shown, python.offered, python.accepted, python.rejected) == ("python", 4, 3, 2, 1, 1)
    assert (go.name, go.asked, go.shown, go.offered) == ("go", 1, 0, 0)
    assert (found.answers, found.shown) == (5, 3)
    assert found.silence == {"model not sure enough": 1, "switched off": 1}
    assert found.sources == {"asked": 2, "memory": 1, "ahead": 1}


def test_percentiles_are_nearest_rank_over_what_the_model_was_asked_for() -> None:
    history = memory()
    history.write([answer(total_ms=float(ms)) for ms in range(1, 101)] + [answer(total_ms=9999.0, source="memory")])
    total = next(stage for stage in history.summary(NOW - 1, NOW + 1, 1).editor if stage.name == "total_ms")
    assert (total.n, total.p50, total.p90, total.p95, total.p99) == (100, 50.0, 90.0, 95.0, 99.0)


def test_of_no_requests_there_are_zeros() -> None:
    found = memory().summary(NOW, NOW + 1, 3)
    assert (found.answers, found.runs, found.failed, found.languages, found.last_failure) == (0, 0, 0, (), None)
    assert [stage.n for stage in found.editor + found.engine] == [0] * 12
    assert [bucket.answers for bucket in found.line] == [0, 0, 0]


def test_engine_requests_give_tokens_ends_and_failures() -> None:
    history = memory()
    history.write([run(), run("length"), run("engine_crashed", failed=True)])
    found = history.summary(NOW - 1, NOW + 1, 1)
    assert (found.runs, found.failed, found.last_failure) == (3, 1, (NOW, "engine_crashed"))
    assert (found.ends, found.failures) == ({"stop_token": 1, "length": 1}, {"engine_crashed": 1})
    assert (found.tokens.prompt, found.tokens.reused, found.tokens.generated) == (200, 120, 60)
    assert next(stage for stage in found.engine if stage.name == "total_ms").p50 == 321.0


def test_the_time_line_puts_each_request_into_its_bar() -> None:
    history = memory()
    history.write([answer(at=NOW), answer(Reason.EMPTY, at=NOW + 5.5, total_ms=7.0), run(at=NOW + 9.99), run("engine", failed=True, at=NOW + 9.5)])
    line = history.summary(NOW, NOW + 10, 2).line
    assert [(b.at, b.answers, b.shown, b.runs, b.failed, b.p95_ms) for b in line] == [(NOW, 1, 1, 0, 0, 100.0), (NOW + 5, 1, 0, 2, 1, 7.0)]


def test_records_outlive_the_process_in_a_file_that_nobody_else_reads(tmp_path: Path) -> None:
    path = tmp_path / "data" / "history.sqlite"
    first = SqliteHistory(path, 100_000, 64)
    first.write([answer()])
    first.close()
    assert SqliteHistory(path, 100_000, 64).summary(0, NOW + 1, 1).answers == 1
    if os.name == "posix":
        assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}


def test_what_is_too_old_goes_even_where_the_machine_has_just_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.monotonic", lambda: 1.0)
    history = SqliteHistory(tmp_path / "h.sqlite", 30, 64)
    now = time.time()
    history.write([answer(at=now - 31 * 86400), answer(at=now - 29 * 86400), run(at=now - 31 * 86400)])
    found = history.summary(0, now + 1, 1)
    assert (found.answers, found.runs) == (1, 0)


def test_the_oldest_go_when_the_file_is_too_large(tmp_path: Path) -> None:
    history = SqliteHistory(tmp_path / "h.sqlite", 100_000, 1)
    history.write([answer(at=NOW + i) for i in range(8000)] + [run(at=NOW + i) for i in range(8000)])
    history.prune()
    found = history.summary(0, NOW + 10_000, 1)
    assert 0 < found.answers < 8000
    assert history.summary(NOW + 7900, NOW + 8000, 1).answers == 100
    history.close()
    assert (tmp_path / "h.sqlite").stat().st_size <= 1 << 20


def test_a_damaged_file_is_put_aside_and_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "h.sqlite"
    path.write_bytes(b"no database at all" * 1000)
    history = SqliteHistory(path, 100_000, 64)
    history.write([answer()])
    assert history.summary(0, NOW + 1, 1).answers == 1
    assert (tmp_path / "h.sqlite.damaged").read_bytes().startswith(b"no database")


def test_the_file_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "h.sqlite"
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    db.close()
    before = path.read_bytes()
    with pytest.raises(HistoryError, match="newer"):
        SqliteHistory(path, 1, 1)
    assert path.read_bytes() == before


def test_gateways_that_open_it_at_the_same_moment_do_not_trip_over_each_other(tmp_path: Path) -> None:
    def opened(_: int) -> int:
        history = SqliteHistory(tmp_path / "h.sqlite", 100_000, 64)
        history.write([answer()])
        history.close()
        return 1

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(opened, range(8))) == 8
    assert SqliteHistory(tmp_path / "h.sqlite", 100_000, 64).summary(0, NOW + 1, 1).answers == 8


def test_a_place_that_cannot_be_used_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(HistoryError, match="cannot be opened"):
        SqliteHistory(tmp_path / "file" / "h.sqlite", 1, 1)


def test_no_text_of_a_client_comes_into_the_history() -> None:
    kept = clean(replace(answer(), language="def secret():\n    pass", code="x" * 100, model="my/../model"))
    assert kept is not None
    assert (kept.language, kept.code, kept.model, kept.feature) == (OTHER, OTHER, OTHER, "inline")
    assert clean(replace(answer(), reason="return password")) is None
    assert clean(replace(answer(), event="def f")) is None
