"""Trimming: whole lines, no blanks at the end, and a line of its own in front of code."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwencoder_lsp.postprocess.trim import drop_open_end, drop_unfinished_line, open_line, trim_end

TEXT = st.text(alphabet="ab \n", max_size=40)


@pytest.mark.parametrize(
    ("text", "kept"),
    [("a\nb\nunfini", "a\nb"), ("only line", "only line"), ("\n    only line", "\n    only line"), ("a\n", "a"), ("", "")],
)
def test_the_last_of_several_lines_goes_when_the_token_limit_cut_it(text: str, kept: str) -> None:
    assert drop_unfinished_line(text) == kept


@given(TEXT)
def test_dropping_a_line_never_leaves_nothing_of_something(text: str) -> None:
    assert bool(drop_unfinished_line(text).strip()) == bool(text.strip())
    assert text.startswith(drop_unfinished_line(text))


def test_blanks_at_the_end_go_at_a_line_end_and_stay_in_front_of_code() -> None:
    assert trim_end("a  \n\n  ", "  ") == "a"
    assert trim_end("for x in ", "items:") == "for x in "


@pytest.mark.parametrize(
    ("before", "rest", "opened"),
    [("    ", "return x", "y = 1\n    "), ("", "return x", "y = 1\n"), ("x = ", "return x", "y = 1"), ("    ", "", "y = 1"), ("    ", "  ", "y = 1")],
)
def test_lines_put_in_front_of_code_end_with_a_newline_and_its_indentation(before: str, rest: str, opened: str) -> None:
    assert open_line("y = 1", before, rest) == opened


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("a = 1\nfor x in y:\n    if x:", "a = 1"),
        ("a = 1\n\nif (b) {", "a = 1"),
        ("for x in y:", "for x in y:"),
        ("a = [\n    1,\n", "a = ["),
        ("a = 1\nb = 2", "a = 1\nb = 2"),
    ],
)
def test_lines_that_only_open_something_go_from_the_end(text: str, kept: str) -> None:
    assert drop_open_end(text) == kept
