"""Reading the logs: times, tails, what was written since."""

from __future__ import annotations

import logging
from datetime import datetime, timezone
from pathlib import Path

import pytest

from qwencoder_lsp.errors import RequestError
from qwencoder_lsp.observe import lines, log

NOON = datetime(2026, 5, 1, 12, tzinfo=timezone.utc).timestamp()
TEXT = """native output before anything
2026-05-01T11:00:00.000Z INFO 1 qwencoder_lsp.a: first
2026-05-01T11:58:00.500Z ERROR 1 qwencoder_lsp.a: second
Traceback, which belongs to it
2026-05-01T11:59:00.000Z INFO 1 qwencoder_lsp.a: third
"""


@pytest.fixture
def file(home: Path) -> Path:
    path = home / "log" / "gateway.log"
    path.parent.mkdir()
    path.write_text(TEXT)
    return path


def test_a_line_without_a_time_has_that_of_the_line_before(file: Path) -> None:
    found, _ = lines.tail(file, None)
    assert [round(NOON - line.at) if line.at else None for line in found] == [None, 3600, 120, 120, 60]
    assert [line.level for line in found] == ["", "INFO", "ERROR", "", "INFO"]


def test_a_tail_is_the_last_lines_and_not_older_than_asked(file: Path) -> None:
    assert [line.text[-5:] for line in lines.tail(file, 2)[0]] == ["to it", "third"]
    assert [line.text[-6:] for line in lines.tail(file, None, lines.since("5m", NOON))[0]] == ["second", " to it", " third"]
    assert lines.tail(file, 0)[0] == []
    assert lines.tail(file.with_name("gone.log"), 5) == ([], 0)


@pytest.mark.parametrize(
    ("text", "ago"), [("90s", 90), ("10m", 600), ("2h", 7200), ("3 d", 259200), ("2026-05-01T11:59:00Z", 60), ("2026-05-01T14:00+02:00", 0)]
)
def test_times_are_read(text: str, ago: int) -> None:
    assert lines.since(text, NOON) == NOON - ago


@pytest.mark.parametrize("text", ["", "10", "m", "10y", "yesterday", "2026-13-01"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match="is not a time"):
        lines.since(text, NOON)


def test_what_is_written_later_is_followed_also_after_a_rotation(file: Path) -> None:
    _, offset = lines.tail(file, 0)
    with file.open("a") as more:
        more.write("new\n")
    text, offset = lines.more(file, offset)
    assert text == "new\n"
    file.replace(file.with_name("gateway.log.1"))
    assert lines.more(file, offset) == ("", 0)
    file.write_text("again\n")
    assert lines.more(file, offset)[0] == "again\n"


def test_the_latest_error_of_all_logs_is_found(file: Path) -> None:
    file.with_name("engine.log").write_text("2026-05-01T11:58:01.000Z ERROR 2 qwencoder_lsp.b: later\n")
    found = lines.last_error()
    assert found
    assert (found[0], found[1].text[-5:]) == ("engine", "later")


def test_without_an_error_there_is_none(home: Path) -> None:
    assert lines.last_error() is None


def test_a_log_that_has_grown_is_moved_and_a_small_one_is_not(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log.rotate(file)
    assert file.exists()
    monkeypatch.setattr(log, "MAX_BYTES", 10)
    log.rotate(file)
    assert not file.exists()
    assert file.with_name("gateway.log.1").read_text() == TEXT
    log.rotate(file)


def test_what_we_write_is_read_back(home: Path) -> None:
    before = logging.getLogger().handlers[:]
    path = log.setup("service")
    logging.getLogger("qwencoder_lsp.x").error("it broke")
    logging.basicConfig(handlers=before, force=True)
    assert lines.tail(path, 1)[0][0].level == "ERROR"
