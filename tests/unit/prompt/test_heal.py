"""What is taken back before the cursor."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwencoder_lsp.prompt.heal import LONGEST, taken_back


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("    ret", " ret"),
        ("return", "return"),
        ("x = ", " "),
        ("    ", "    "),
        ("self.fo", ".fo"),
        ("foo((bar", "((bar"),
        ("f(", "("),
        ("  ))", " ))"),
        ("my_var2", "my_var2"),
        ("naïve", "naïve"),
        ("", ""),
    ],
)
def test_the_word_or_the_white_space_or_the_punctuation_at_the_end_is_taken_back(text: str, end: str) -> None:
    assert text[len(text) - taken_back(text) :] == end


def test_a_word_that_is_too_long_is_left() -> None:
    assert taken_back("a" * (LONGEST + 1)) == 0
    assert taken_back("x = " + "a" * LONGEST) == LONGEST + 1


@given(st.text(max_size=200))
def test_no_more_is_taken_back_than_is_there(text: str) -> None:
    assert 0 <= taken_back(text) <= min(len(text), 2 * LONGEST)
