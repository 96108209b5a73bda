"""The memory of measured speeds."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from qwencoder_lsp.models import calibration
from qwencoder_lsp.models.calibration import Speed
from qwencoder_lsp.models.store import InstalledModel

MODEL = InstalledModel("m", Path("/somewhere/m.gguf"), 1000, None)


def cache_file(home: Path) -> Path:
    (path,) = (home / "cache" / "calibration").iterdir()
    return path


def test_a_saved_speed_comes_back_and_the_newest_counts(home: Path) -> None:
    calibration.save(MODEL, 2, Speed(80.5, 29.25))
    calibration.save(MODEL, 2, Speed(82.5, 28.75))
    assert calibration.load([MODEL], 2) == {"m": Speed(82.5, 28.75)}


def test_another_size_file_or_thread_count_has_no_speed(home: Path) -> None:
    calibration.save(MODEL, 2, Speed(80, 29))
    assert calibration.load([MODEL], 4) == {}
    assert calibration.load([replace(MODEL, size=1001)], 2) == {}
    assert calibration.load([replace(MODEL, path=Path("/somewhere/other.gguf"))], 2) == {}


def test_the_same_file_in_another_directory_keeps_its_speed(home: Path) -> None:
    calibration.save(MODEL, 2, Speed(80, 29))
    assert calibration.load([replace(MODEL, path=Path("/elsewhere/m.gguf"))], 2) == {"m": Speed(80, 29)}


def test_another_processor_has_no_speed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calibration.save(MODEL, 2, Speed(80, 29))
    monkeypatch.setattr(calibration, "cpu_model", lambda: "another processor")
    assert calibration.load([MODEL], 2) == {}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"speed": {"prefill": 1}}',
        b'{"speed": {"prefill": 0, "decode": 1}}',
        b'{"speed": {"prefill": NaN, "decode": 1}}',
    ],
)
def test_a_damaged_file_costs_a_log_line_and_nothing_else(home: Path, caplog: pytest.LogCaptureFixture, content: bytes) -> None:
    calibration.save(MODEL, 2, Speed(80, 29))
    cache_file(home).write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert calibration.load([MODEL], 2) == {}
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    calibration.save(MODEL, 2, Speed(80, 29))
    assert calibration.load([MODEL], 2) == {"m": Speed(80, 29)}


def test_a_cache_directory_that_cannot_be_written_costs_a_log_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("not a directory")
    monkeypatch.setenv("QWENCODER_HOME", str(tmp_path / "file"))
    with caplog.at_level(logging.WARNING):
        calibration.save(MODEL, 2, Speed(80, 29))
    assert "not remembered" in caplog.text


def test_nothing_saved_is_no_warning(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert calibration.load([MODEL], 2) == {}
    assert caplog.records == []


@pytest.mark.parametrize("wrong", [0.0, -1.0, float("nan"), float("inf")])
def test_an_impossible_speed_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="impossible"):
        Speed(wrong, 1)
    with pytest.raises(ValueError, match="impossible"):
        Speed(1, wrong)


def test_the_processor_has_a_name() -> None:
    assert calibration.cpu_model()
