"""The recorder: requests are noted without waiting, and a history that fails is said and costs nobody anything."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from qwencoder_lsp.core.outcome import EngineRun
from qwencoder_lsp.errors import HistoryError
from qwencoder_lsp.observe import recorder
from qwencoder_lsp.observe.history import Record, Summary
from qwencoder_lsp.observe.history_sqlite import SqliteHistory
from qwencoder_lsp.observe.recorder import Recorder
from qwencoder_lsp.settings import History as Limits

RUN = EngineRun(1.0, "m", "stop_token")


class Slow:
    """A history whose disk hangs until `go`, and then takes everything."""

    def __init__(self) -> None:
        self.go, self.begun = threading.Event(), threading.Event()
        self.written: list[Record] = []

    def write(self, records: Sequence[Record]) -> None:
        self.begun.set()
        assert self.go.wait(10)
        self.written += records

    def summary(self, since: float, until: float, buckets: int) -> Summary:
        return Summary(since, until, runs=len(self.written))

    def close(self) -> None:
        pass


class Full(Slow):
    """A full disk."""

    def write(self, records: Sequence[Record]) -> None:
        raise HistoryError("The history cannot be written (disk full).")


async def test_a_summary_holds_what_was_just_noted() -> None:
    record = Recorder(lambda: SqliteHistory(None, 100_000, 64))
    record.note(RUN)
    assert (await record.summary(0, 2, 1)).runs == 1
    await record.close()


async def test_the_last_records_are_written_when_it_closes(home: Path) -> None:
    limits = Limits(days=3650, max_mb=64)
    record = Recorder.of(limits)
    record.note(EngineRun(2e9, "m", "stop_token"))
    await record.close()
    again = Recorder.of(limits)
    assert (await again.summary(0, 3e9, 1)).runs == 1
    await again.close()


async def test_switched_off_it_writes_no_file(home: Path) -> None:
    record = Recorder.of(Limits(enabled=False, days=3650))
    record.note(EngineRun(2e9, "m", "stop_token"))
    assert (await record.summary(0, 3e9, 1)).runs == 1
    await record.close()
    assert not list(home.rglob("history*"))  # noqa: ASYNC240 - a look at a directory


async def test_while_the_disk_hangs_notes_take_no_time_and_no_more_than_so_much_memory() -> None:
    history = Slow()
    record = Recorder(lambda: history)
    record.note(RUN)
    record._flush()
    while not history.begun.is_set():
        pass
    for _ in range(recorder.WAITING + 5):
        record.note(RUN)
    record._flush()
    assert len(record._waiting) == recorder.WAITING
    history.go.set()
    await record.close()
    assert len(history.written) == recorder.WAITING + 1


async def test_a_full_disk_is_said_and_stops_nothing() -> None:
    record = Recorder(Full)
    record.note(RUN)
    assert (await record.summary(0, 1, 1)).runs == 0
    assert record.problem == "The history cannot be written (disk full)."
    await record.close()


async def test_a_history_that_cannot_be_opened_is_kept_in_memory_and_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    record = Recorder(lambda: SqliteHistory(tmp_path / "file" / "h.sqlite", 1, 1))
    record.note(EngineRun(2e9, "m", "stop_token"))
    assert (await record.summary(0, 3e9, 1)).runs == 1
    assert "cannot be opened" in record.problem
    await record.close()
