"""When two engines agree, and what a soak's report calls a failure."""

from __future__ import annotations

from tests.bench.engine.agreement import Step, compare, steps
from tests.bench.engine.traffic import Tally
from tests.bench.soak import JUDGED_MINUTES, Memory, Report


def path(*tokens: tuple[str, float, float]) -> list[Step]:
    return [Step(*token) for token in tokens]


def test_the_same_text_with_small_differences_agrees() -> None:
    found = compare(path(("a", -0.1, 3), ("b", -0.5, 2)), path(("a", -0.2, 3), ("b", -0.4, 2)))
    assert (found.problem, found.compared) == ("", 2)
    assert 0.09 < found.difference < 0.11


def test_behind_a_near_tie_nothing_is_compared() -> None:
    found = compare(path(("a", -0.1, 3), ("b", -0.9, 0.1), ("x", -5, 1)), path(("a", -0.1, 3), ("c", -0.9, 0.1), ("y", -0.1, 1)))
    assert (found.problem, found.compared) == ("", 1)


def test_another_token_with_a_clear_margin_is_a_problem() -> None:
    assert "token 1" in compare(path(("a", -0.1, 3), ("b", -0.1, 4)), path(("a", -0.1, 3), ("c", -0.1, 4))).problem


def test_another_log_probability_is_a_problem() -> None:
    assert "log-probabilities" in compare(path(("a", -0.1, 3)), path(("a", -0.9, 3))).problem


def test_steps_of_a_table_of_log_probabilities() -> None:
    table = {"tokens": ["a"], "token_logprobs": [-0.5], "top_logprobs": [{"b": -2.5, "a": -0.5, "c": -4.0}]}
    assert steps(table) == [Step("a", -0.5, 2.0)]


def test_growth_is_judged_only_in_a_long_run() -> None:
    memory = {"gateway": Memory(100, 80, 40, 16)}
    assert not Report(JUDGED_MINUTES / 2, memory=memory).failures
    assert Report(JUDGED_MINUTES, memory=memory).failures == ["gateway grew by 40 MB, more than 16"]


def test_stuck_and_unexpected_requests_are_failures() -> None:
    tally = Tally(stuck=["chat for 240 s"], unexpected=["fill: failed: 500"])
    report = Report(1, tally)
    assert len(report.failures) == 2
    assert "FAILED stuck: chat" in report.table()
