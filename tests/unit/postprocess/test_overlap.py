"""Overlap: what an answer repeats of the text around the cursor, and what only looks like it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwencoder_lsp.postprocess.overlap import closes, covered_closers, repeated_lines, repeated_tail, repeats_lines_above


@pytest.mark.parametrize(
    ("text", "suffix", "kept"),
    [
        ("a, b)", ")\n", "a, b"),
        ("x, bar, baz)", "bar, baz)\n", "x, "),
        ('hello")', '")', "hello"),
        ("a\n    return b", "\n    return b\n", "a"),
        ("bar(x)", ")", "bar(x)"),  # this bracket closes the answer's own
        ("bar(x))", ")", "bar(x)"),
        ("if a {\n}", "\n}", "if a {\n}"),
        ("ta", "a)", "ta"),  # not in mid-word
        ("data", "data_2", "data"),
        ("encode(", "encode(s))", "encode("),  # stops on purpose behind the bracket
        ("a =", "= b", "a ="),
        ("a", "b", "a"),
        ("", "b", ""),
    ],
)
def test_the_end_that_the_suffix_begins_with_is_found(text: str, suffix: str, kept: str) -> None:
    assert text[: repeated_tail(text, suffix)] == kept


@given(st.text(alphabet="xy, ", max_size=12), st.text(alphabet="uv ,;)\n", min_size=1, max_size=20), st.text(alphabet="uv ", max_size=5))
def test_an_answer_that_runs_on_into_the_suffix_is_cut_where_the_suffix_begins(middle: str, repeated: str, more: str) -> None:
    tail = f" {repeated};"
    assert middle.startswith((middle + tail)[: repeated_tail(middle + tail, tail + more)])


@given(st.text(alphabet="ab( )\n", max_size=30), st.text(alphabet="ab( )\n", max_size=30))
def test_what_is_cut_off_is_always_the_start_of_the_suffix(text: str, suffix: str) -> None:
    assert suffix.startswith(text[repeated_tail(text, suffix) :])


@pytest.mark.parametrize(
    ("text", "before", "suffix", "kept"),
    [
        ("a = 1\n    b = 2\n\n    c = 3", "    ", "\n    b = 2\n    c = 3\n", "a = 1"),  # blank lines do not matter
        ("a = 1\n    b = 2\n    c =", "    ", "\n    b = 2\n    c = 3\n", "a = 1"),  # nor an incomplete last line
        ("return first", "    ", "\n    return first\n", ""),
        ("    x = 1\n    return 2", "", "    return 2\n", "    x = 1"),  # the cursor is at the start of a full line
        ("a\n    return function(argument)\n    other()", "    ", "\n    return function(argument)\n", "a"),  # a long line tells by itself
        ("a\n    b\n    c\n    d", "    ", "\n    b\n    c\n    e\n", "a"),
    ],
)
def test_lines_that_are_written_again_are_found(text: str, before: str, suffix: str, kept: str) -> None:
    cut = repeated_lines(text, before, suffix)
    assert cut is not None
    assert text[:cut] == kept


@pytest.mark.parametrize(
    ("text", "before", "suffix"),
    [
        ("if a:\n        pass\n    else:\n        b()", "    ", "\n    else:\n        c()\n"),  # one short line, then something else
        ("if (a) {\n  b()\n}", "", "\n}\n"),  # closes what the answer opened
        ("x\n        b = 2", "    ", "\n    b = 2\n"),  # another indentation
        ("x", "    ", "\n\n"),
        ("x", "call(", ", y)\n"),
    ],
)
def test_lines_that_only_look_alike_stay(text: str, before: str, suffix: str) -> None:
    assert repeated_lines(text, before, suffix) is None


@pytest.mark.parametrize(
    ("text", "rest", "covered"),
    [
        ("a, b):\n    pass", ")", 1),
        ('hello", x)\nnext', '")', 2),
        ("'k'] = (1)", "]  ", 1),
        ("a, b", ")", 0),
        ("f(a)", ")", 0),
        ("a)", "))", 0),
        ("'a)'", ")", 0),  # inside the answer's own string
        ("it\\'s'", "'", 1),  # an escaped quote does not close
        ("x)", ") + y", 0),
        ("x)", "", 0),
    ],
)
def test_closers_behind_the_cursor_are_covered_when_the_answer_writes_them_itself(text: str, rest: str, covered: int) -> None:
    assert covered_closers(text, rest) == covered


@pytest.mark.parametrize(
    ("text", "prefix", "repeats"),
    [
        ("x = 1", "    x = 1\n    ", True),
        ("\n    x = 1", "    x = 1", True),
        ("a()\nb()", "a()\n\nb()\n", True),
        ("= 1", "x = 1\nx ", True),
        ("x = 2", "    x = 1\n    ", False),
        ("x = 1", "    x = 1\n", False),  # another indentation
        ("b()\na()", "a()\nb()\n", False),
        ("}", "}\n", False),
        ("a()", "", False),
    ],
)
def test_an_answer_that_is_only_the_lines_above_is_recognised(text: str, prefix: str, repeats: bool) -> None:
    assert repeats_lines_above(text, prefix) is repeats


def test_a_bracket_closes_the_answers_own_only_when_one_is_open() -> None:
    assert closes("f(a", ")")
    assert closes("f(a", " + g(b))")
    assert not closes("f(a)", ")")
    assert not closes("f(a", " + g(b)")


@pytest.mark.parametrize(
    ("text", "suffix", "cut"),
    [
        ("x = 1\n    log.info('%s was done', name)\n    y", '\n    log.info( "%s was done",name );\n', 5),
        ("x = 1\n    log.info('%s was done', name)", "\n        log.info('%s was done', name)\n", None),
        ("x = 1\n    a = b", "\n    a  = b;\n", None),
    ],
)
def test_a_line_that_the_model_varies_is_the_same_line(text: str, suffix: str, cut: int | None) -> None:
    assert repeated_lines(text, "    ", suffix) == cut
