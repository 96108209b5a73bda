from __future__ import annotations

import stat
from pathlib import Path

import pytest

from qwencoder_lsp import paths
from qwencoder_lsp.errors import GatewayError
from qwencoder_lsp.observe import saved
from qwencoder_lsp.observe.trace import Entry


def entry(number: int) -> Entry:
    return {"request": f"{number:08x}", "at": 1_000_000.0 + number, "record": {"text": "é😀"}}


def test_saved_traces_come_back_newest_first_and_nobody_else_can_read_them(home: Path) -> None:
    for number in range(3):
        saved.save(entry(number))
    assert list(saved.load()) == [entry(2), entry(1), entry(0)]
    assert list(saved.load("00000001")) == [entry(1)]
    folder = paths.traces_dir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}


def test_only_the_newest_are_kept_and_what_is_damaged_is_left_out(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved, "KEPT", 2)
    for number in range(4):
        saved.save(entry(number))
    (paths.traces_dir() / "999999999999999-ffffffff.json").write_text("{", "utf-8")
    assert list(saved.load()) == [entry(3), entry(2)]


def test_nothing_is_written_where_others_could_read_it(home: Path) -> None:
    paths.traces_dir().mkdir(mode=0o755)
    with pytest.raises(GatewayError, match="can be entered by others"):
        saved.save(entry(1))
    assert list(paths.traces_dir().iterdir()) == []


def test_without_any_there_are_none(home: Path) -> None:
    assert list(saved.load()) == []
