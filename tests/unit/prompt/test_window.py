"""Windows: never over budget, anchored at line starts, and an exact account of what was left out."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from qwencoder_lsp.engine.vocabulary import ByteTokenizer
from qwencoder_lsp.prompt.segments import SegmentTokenizer
from qwencoder_lsp.prompt.window import Window, prefix_window, suffix_window

TEXT = st.text(alphabet="ab1 \n😀é", max_size=300) | st.text(alphabet="ab \n", min_size=600, max_size=3000)
BUDGET = st.integers(0, 400)


def prefix(text: str, budget: int) -> Window:
    tokenizer = SegmentTokenizer(ByteTokenizer())
    return prefix_window(tokenizer.segments(text), budget, tokenizer.tokenize)


def suffix(text: str, budget: int) -> Window:
    tokenizer = SegmentTokenizer(ByteTokenizer())
    return suffix_window(tokenizer.segments(text), budget, tokenizer.tokenize)


def shown(window: Window) -> str:
    return ByteTokenizer().text(window.tokens)


@given(TEXT, BUDGET)
def test_the_prefix_is_an_end_of_the_text_within_budget_and_the_rest_is_counted(text: str, budget: int) -> None:
    window = prefix(text, budget)
    assert len(window.tokens) <= budget
    assert shown(window) == text[window.omitted :]


@given(TEXT, BUDGET)
def test_the_suffix_is_a_start_of_the_text_within_budget_and_the_rest_is_counted(text: str, budget: int) -> None:
    window = suffix(text, budget)
    assert len(window.tokens) <= budget
    assert shown(window) == text[: len(text) - window.omitted]


@given(TEXT, BUDGET)
def test_a_text_within_budget_stays_whole(text: str, budget: int) -> None:
    if len(text.encode()) <= budget:
        assert prefix(text, budget).omitted == suffix(text, budget).omitted == 0


@given(st.lists(st.text(alphabet="ab ", max_size=20), min_size=1, max_size=60), st.integers(90, 300))
def test_the_prefix_starts_at_a_line_start_and_keeps_at_least_a_quarter_of_the_budget(lines: list[str], budget: int) -> None:
    text = "\n".join(line + "x" for line in lines)
    window = prefix(text, budget)
    assert window.omitted == 0 or text[window.omitted - 1] == "\n"
    assert len(window.tokens) >= min(len(text), budget // 4)


def test_typing_moves_the_start_of_the_prefix_only_once_in_half_a_budget() -> None:
    line, budget = "x = 1234\n", 200
    starts = [prefix((line * 300)[:end], budget).omitted for end in range(1000, 2000)]
    moves = [b - a for a, b in pairwise(starts) if b != a]
    assert starts == sorted(starts)
    assert len(moves) == 10
    assert all(91 <= move <= 109 for move in moves)  # half of the budget, give or take a line


def test_typing_in_a_line_longer_than_the_budget_keeps_the_start_too() -> None:
    text = "z" * 2000
    starts = [prefix(text[:end], 200).omitted for end in range(600, 900)]
    assert len(set(starts)) <= 4


def test_a_single_line_longer_than_the_budget_is_cut_between_characters() -> None:
    assert shown(prefix("😀" * 50, 30)) == "😀" * 5
    assert shown(suffix("😀" * 50, 30)) == "😀" * 7


def test_the_suffix_ends_at_a_line_end_when_that_uses_half_of_the_budget() -> None:
    assert shown(suffix("one\ntwo\nthree\n", 10)) == "one\ntwo\n"
    assert shown(suffix(")\nthe second line is long\n", 12)) == ")\nthe second"


def test_a_budget_of_nothing_leaves_nothing() -> None:
    assert prefix("a\nb", 0) == suffix("a\nb", 0) == Window([], 3)
