"""What of the answers is shown to somebody who did not ask: numbers in, a reason for silence out."""

from __future__ import annotations

import pytest

from qwencoder_lsp.core.report import Reason
from qwencoder_lsp.core.results import Signals
from qwencoder_lsp.core.text import Snapshot
from qwencoder_lsp.features.ask import Answer
from qwencoder_lsp.features.gate import hidden, signals, silent_in
from qwencoder_lsp.postprocess.scope import Scope


def seen(marked: str, text: str = "value", logprobs: tuple[float, ...] = (), end: float | None = None, scope: Scope = Scope.CODE) -> Signals:
    snapshot = Snapshot("file:///a", marked.replace("|", "", 1), "python")
    answer = Answer(text, "stop_token", logprobs=logprobs, cuts=() if end is None else ((0, end), (3, -0.1)))
    return signals(snapshot, marked.index("|"), answer, text, scope)


@pytest.mark.parametrize(
    ("marked", "eagerness", "confidence", "reason"),
    [
        ("x = |", "balanced", -0.9, None),
        ("x = |", "balanced", -1.1, Reason.UNSURE),
        ("x = |", "quiet", -0.5, Reason.UNSURE),
        ("x = |", "eager", -3.0, None),
        ("f(|)", "balanced", -0.9, None),
        ("f(|b)", "balanced", -0.9, Reason.UNSURE),
        ("|return x", "balanced", -0.9, None),
    ],
)
def test_an_answer_the_model_is_not_sure_of_is_not_shown(marked: str, eagerness: str, confidence: float, reason: Reason | None) -> None:
    assert hidden(seen(marked, logprobs=(confidence, confidence)), eagerness) is reason


def test_an_answer_without_numbers_is_shown() -> None:
    assert hidden(seen("x = |"), "quiet") is None


def test_on_an_empty_line_behind_all_code_the_model_must_be_surer() -> None:
    assert hidden(seen("x = 1\n|\n", logprobs=(-0.5,)), "balanced") is Reason.UNSURE
    assert hidden(seen("x = 1\n|\n", logprobs=(-0.3,)), "balanced") is None
    assert hidden(seen("x = 1\n|\ny = 2\n", logprobs=(-0.5,)), "balanced") is None
    assert hidden(seen("|", logprobs=(-0.5,)), "balanced") is None


def test_in_a_string_the_model_must_be_surer() -> None:
    assert hidden(seen("x = '|", logprobs=(-0.8,)), "balanced") is None
    assert hidden(seen("x = '|", logprobs=(-0.8,), scope=Scope.STRING), "balanced") is Reason.UNSURE


@pytest.mark.parametrize(
    ("marked", "text", "below"),
    [
        ("    total = 1|\n", "\n    return total", True),
        ("    return x|\n", "\n\ndef f():", True),
        ("    if x:|\n", "\n        return", False),
        ("    call(a,|\n", "\n         b)", False),
        ("use a::b;|\n", "\nuse a::c;", True),
        ("    x = a +|\n", "\n    b", False),
        ("  def name|\n", "\n    body\n  end", False),
        ("    total|\n", " = 1\n    return", False),
        ("    |\n", "\n    return", False),
        ("f(|)\n", "\n    a,\n", False),
    ],
)
def test_what_begins_on_the_next_line_behind_a_finished_one_is_known(marked: str, text: str, below: bool) -> None:
    assert seen(marked, text).below is below


def test_the_next_line_is_offered_where_something_is_missing_or_the_last_suggestion_was_taken() -> None:
    sure, doubtful = (-0.1, -0.1), (-0.5, -0.5)
    finished = "    total = 1|\n"
    below = "\n    return total"
    assert hidden(seen(finished, below, sure, end=-6.0), "balanced") is None
    assert hidden(seen(finished, below, sure, end=-1.0), "balanced") is Reason.NEXT_LINE
    assert hidden(seen(finished, below, doubtful, end=-6.0), "balanced") is Reason.NEXT_LINE
    assert hidden(seen(finished, below, sure, end=-1.0), "balanced", accepted=True) is None
    assert hidden(seen(finished, below, doubtful), "eager") is None


def test_the_numbers_are_those_of_the_answer() -> None:
    found = seen("x = f(|b)", "a,\nc", (-0.5, -1.5), end=-2.0, scope=Scope.STRING)
    assert found == Signals(2, -1.0, -0.5, -1.5, -2.0, 4, 2, "string", between=True, below=False)


def test_comments_are_left_alone_unless_the_user_is_eager() -> None:
    assert silent_in(Scope.PROSE, "balanced") is Reason.IN_PROSE
    assert silent_in(Scope.PROSE, "eager") is None
    assert silent_in(Scope.STRING, "quiet") is None
