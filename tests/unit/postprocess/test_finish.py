"""Finish: something worth showing, or the reason why not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwencoder_lsp.core.report import Reason, Step
from qwencoder_lsp.postprocess.finish import Finished, finish

TEXT = st.text(alphabet="ab (){}:,\"'\n", max_size=40)
ENDED = st.sampled_from(["stop_token", "length", "lines", "indent", "time"])


def shown(text: str, overwrite: int = 0) -> Finished:
    return Finished(text, overwrite, Reason.SHOWN)


def silent(reason: Reason) -> Finished:
    return Finished("", 0, reason)


@given(TEXT, TEXT, TEXT, ENDED)
def test_a_suggestion_is_never_blank_and_replaces_only_the_cursors_line(raw: str, prefix: str, suffix: str, ended: str) -> None:
    done = finish(raw, prefix, suffix, ended)
    assert bool(done.text.strip()) == bool(done.text) == (done.reason is Reason.SHOWN)
    assert 0 <= done.overwrite <= len(suffix.partition("\n")[0])


@given(TEXT, TEXT, TEXT, ENDED)
def test_at_a_line_end_no_blanks_are_left_at_the_end(raw: str, prefix: str, suffix: str, ended: str) -> None:
    text = finish(raw, prefix, "\n" + suffix, ended).text
    assert text == text.rstrip()


@given(
    st.lists(st.text(alphabet="abc ", min_size=1, max_size=8), min_size=1, max_size=4),
    st.lists(st.text(alphabet="xyz", min_size=3, max_size=8), min_size=1, max_size=4),
)
def test_accepting_never_duplicates_the_lines_that_follow(middle: list[str], following: list[str]) -> None:
    suffix = "".join(f"\n{line}" for line in following)
    raw = "".join(f"{line}q\n" for line in middle)[:-1] + suffix
    done = finish(raw, "start(", suffix, "stop_token")
    assert done.text + suffix == raw


def test_a_good_answer_is_left_alone() -> None:
    assert finish("a + b", "return ", "\n", "stop_token") == shown("a + b")
    assert finish("\n    return a\n", "def f():", "\n\nx = 1\n", "stop_token") == shown("\n    return a")
    assert finish("for x in ", "", "range(10):\n", "stop_token") == shown("for x in ")


def test_a_closer_that_the_editor_inserted_is_not_doubled() -> None:
    assert finish("a, b)", "f(", ")\n", "lines") == shown("a, b")
    assert finish("a, b):\n    pass", "def f(", ")\n", "stop_token") == shown("a, b):\n    pass", overwrite=1)


def test_an_unfinished_last_line_goes() -> None:
    assert finish("\n    a = 1\n    b = com", "def f():", "\n", "length") == shown("\n    a = 1")


def test_new_lines_in_front_of_code_get_their_line_end() -> None:
    assert finish("y = 1", "if x:\n    ", "return y\n", "lines") == shown("y = 1\n    ")
    assert finish("    y = 1\n", "if x:\n", "    return y\n", "stop_token") == shown("    y = 1\n")
    assert finish("    y = 1\n    return y", "if x:\n", "    return y\n", "stop_token") == shown("    y = 1\n")
    assert finish("y = 1\n    z = 2\n    w = 3 +", "if x:\n    ", "return y\n", "length") == shown("y = 1\n    z = 2\n    ")


@pytest.mark.parametrize(
    ("raw", "prefix", "suffix", "reason"),
    [
        (" \n", "a", "\n", Reason.EMPTY),
        ("", "a", "b\n", Reason.EMPTY),
        ("return b", "    ", "\n    return b\n", Reason.REPEATS_SUFFIX),
        (")", "f(", ")\n", Reason.REPEATS_SUFFIX),
        ("a = 1", "a = 1\n", "\n", Reason.REPEATS_PREFIX),
    ],
)
def test_silence_has_a_reason(raw: str, prefix: str, suffix: str, reason: Reason) -> None:
    assert finish(raw, prefix, suffix, "stop_token") == silent(reason)


def test_each_filter_that_changed_the_answer_is_noted_with_the_sizes() -> None:
    done = finish("a = 1\nb = 2\n\n", "", "\nb = 2\nc = 3\n", "stop_token")
    assert done.text == "a = 1"
    assert done.steps == (Step("blank end", 13, 11), Step("repeated lines", 11, 5))


def test_no_carriage_return_of_the_model_is_shown() -> None:
    assert finish("a\r\nb\rc", "", "", "stop_token").text == "a\nb"
