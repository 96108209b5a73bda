from dataclasses import replace
from pathlib import Path

import pytest

from qwencoder_lsp.cli.files import write
from qwencoder_lsp.cli.reports import Reviewed, as_github, as_json, as_sarif, as_text, place
from qwencoder_lsp.core.results import Finding, Severity
from qwencoder_lsp.core.text import Span
from qwencoder_lsp.errors import RequestError


def test_a_file_that_is_not_as_expected_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("now", "utf-8")
    for over in ("before", None):
        with pytest.raises(RequestError, match="changed meanwhile"):
            write(path, "new", over=over)
    with pytest.raises(RequestError):
        write(tmp_path / "b", "new", over="was")
    assert path.read_text("utf-8") == "now"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_link_stays_a_link_and_missing_folders_are_made(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x", "utf-8")
    (tmp_path / "link").symlink_to("a")
    write(tmp_path / "link", "y", over="x")
    write(tmp_path / "new" / "b", "z", over=None)
    assert (tmp_path / "link").is_symlink()
    assert ((tmp_path / "a").read_text("utf-8"), (tmp_path / "new" / "b").read_text("utf-8")) == ("y", "z")


def test_what_cannot_be_written_is_an_error_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    with pytest.raises(RequestError, match="cannot be written"):
        write(tmp_path / "file" / "below", "x", over=None)


TEXT = "a = 1\r\nb = '😀' + c\nd"
FILE = Reviewed(
    "src/x, y.py",
    TEXT,
    (
        Finding("1", "logic", Severity.WARNING, "m\n2", "c\nd", Span(TEXT.index("c"), len(TEXT)), None),
        Finding("2", "crash", Severity.INFO, "n", "a", Span(0, 1), ""),
    ),
    {"refuted": 2},
)


def test_places_count_from_one_in_code_points() -> None:
    where = place(FILE, FILE.findings[0])
    assert (where.line, where.column, where.end_line, where.end_column) == (2, 11, 3, 2)


def test_every_format_shows_every_finding() -> None:
    assert as_text([FILE]).splitlines()[-1] == "2 findings in 1 file"
    assert '"refuted": 2' in as_json([FILE])
    assert as_github([FILE]).splitlines()[0] == ("::warning file=src/x%2C y.py,line=2,endLine=3,col=11,endColumn=2,title=Qwen-Coder%3A logic::m%0A2")
    assert '"uri": "src/x%2C%20y.py"' in as_sarif([FILE])
    assert as_text([]) == "no findings in 0 files"


def test_the_report_says_when_a_file_was_read_in_parts_and_what_was_not_judged_to_the_end() -> None:
    file = replace(FILE, parts=7, dropped={"answer cut off": 1, "line too long to review": 1})
    assert as_text([file]).endswith("2 findings in 1 file, read in 7 parts; 2 not judged to the end (raise review.max_tokens)")
    assert as_github([]) == ""
