from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from qwencoder_lsp.errors import GatewayError
from qwencoder_lsp.observe import log

OURS = logging.getLogger("qwencoder_lsp.test")
THEIRS = logging.getLogger("somebody.else")


@pytest.fixture(autouse=True)
def clean_logging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty home, and the root logger as it was."""
    monkeypatch.setenv("QWENCODER_HOME", str(tmp_path))
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    for handler in root.handlers[:]:
        handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("qwencoder_lsp").setLevel(logging.NOTSET)


def test_a_line_says_when_how_bad_which_process_and_who(tmp_path: Path) -> None:
    path = log.setup("test")
    OURS.info("three %s", "words")
    assert path == tmp_path / "log" / "test.log"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO \d+ qwencoder_lsp.test: three words\n", path.read_text("utf-8"))


def test_the_level_of_our_own_records_can_change_and_others_stay_at_warning() -> None:
    path = log.setup("test", "WARNING")
    OURS.info("too quiet")
    log.set_level("DEBUG")
    OURS.debug("now heard")
    THEIRS.info("chatter")
    assert "now heard" in path.read_text("utf-8")
    assert "too quiet" not in path.read_text("utf-8")
    assert "chatter" not in path.read_text("utf-8")


def test_arguments_of_other_packages_are_left_out_above_debug() -> None:
    path = log.setup("test")
    THEIRS.error("cannot handle %s", "secret_source")
    log.set_level("DEBUG")
    THEIRS.error("cannot handle %s", "public_source")
    assert "cannot handle %s\n" in path.read_text("utf-8")
    assert "secret_source" not in path.read_text("utf-8")
    assert "public_source" in path.read_text("utf-8")


def test_a_traceback_names_the_error_and_its_cause_without_their_messages() -> None:
    path = log.setup("test")
    try:
        try:
            raise KeyError("secret_source")
        except KeyError as cause:
            raise ValueError("secret_too") from cause
    except ValueError:
        OURS.exception("it failed")
    text = path.read_text("utf-8")
    assert "test_log.py" in text
    assert text.index("ValueError") < text.index("KeyError")
    assert "secret" not in re.sub(r"^ +.*$", "", text, flags=re.MULTILINE)  # the indented lines are this test's own code


def test_the_message_of_an_error_for_users_is_kept() -> None:
    path = log.setup("test")
    try:
        raise GatewayError("No gateway.", "Start it.")
    except GatewayError:
        OURS.exception("it failed")
    assert "GatewayError: No gateway. Start it." in path.read_text("utf-8")


def test_a_long_file_is_moved_away_and_a_new_one_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "MAX_BYTES", 100)
    path = log.setup("test")
    for number in range(4):
        OURS.info("record %d %s", number, "x" * 60)
    assert "record 3" in path.read_text("utf-8")
    assert "record 0" not in path.read_text("utf-8")
    assert "record" in path.with_name("test.log.1").read_text("utf-8")


def test_a_file_that_another_process_moved_is_begun_anew() -> None:
    path = log.setup("test")
    OURS.info("one")
    path.rename(path.with_name("elsewhere"))
    OURS.info("two")
    assert "two" in path.read_text("utf-8")


def test_text_that_no_encoding_holds_is_written_escaped() -> None:
    path = log.setup("test")
    OURS.info("lone \ud83d surrogate")
    assert r"lone \ud83d surrogate" in path.read_text("utf-8")


def test_without_a_directory_to_write_to_the_log_goes_to_standard_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "log").write_text("in the way")
    log.setup("test")
    OURS.info("still here")
    assert "still here" in capsys.readouterr().err
