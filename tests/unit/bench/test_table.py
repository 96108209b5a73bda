"""Rows of the side-by-side table: which way round a ratio is, and when a row holds."""

from __future__ import annotations

import json

import pytest

from tests.bench.engine.scenario import Metric, Outcome, Results, Scenario, Visit
from tests.bench.engine.table import Row, as_json, rows, similarity, table


async def nothing(_: Visit) -> Outcome:
    return Outcome()


def results(**values: list[float]) -> Results:
    return Results({role: [Outcome({"x": [value]}) for value in found] for role, found in values.items()}, load=[0.1])


def row(metric: Metric, found: Results, *, peers: bool = True, base: bool = True) -> Row:
    return rows(Scenario("s", (metric,), nothing, peers=peers, base=base), found)[0]


def test_less_is_better_for_times() -> None:
    found = row(Metric("r", "x", "s", 4, 2), results(ours=[1, 1, 1], default=[4, 4, 4], tuned=[1.9, 1.9, 1.9]))
    assert (found.ratio_default, found.ratio_tuned) == (4, 1.9)
    assert not found.holds, "both bars count"


def test_more_is_better_for_speeds() -> None:
    found = row(Metric("r", "x", "tokens/s", 0.9, 0.9, less=False), results(ours=[95, 95], default=[100, 100], tuned=[100, 100]))
    assert found.ratio_default == pytest.approx(0.95)
    assert found.holds


def test_a_bar_on_the_lower_end_of_the_interval() -> None:
    noisy = results(ours=[100, 60, 100], default=[100, 100, 100])
    assert row(Metric("r", "x", "tokens/s", 0.9, less=False), noisy, peers=False).holds
    assert not row(Metric("r", "x", "tokens/s", 0.9, less=False, lower_bound=True), noisy, peers=False).holds


def test_without_a_base_the_value_is_held_against_the_bar() -> None:
    assert row(Metric("r", "x", "share", 1.0, less=False), results(ours=[1.0]), peers=False, base=False).holds
    assert not row(Metric("r", "x", "share", 1.0, less=False), results(ours=[0.9]), peers=False, base=False).holds


def test_a_scenario_that_failed_has_rows_that_do_not_hold() -> None:
    failed = results(ours=[], default=[], tuned=[])
    failed.failure = "ConnectionError: gone"
    found = row(Metric("r", "x", "s", 4, 2), failed)
    assert not found.holds
    assert "gone" in table([found])


def test_json_has_what_the_issue_asks_for() -> None:
    found = results(ours=[1], default=[4], tuned=[3])
    text = as_json([row(Metric("r", "x", "s", 4, 2), found)], {"s": found}, {"model": "m"})
    first = json.loads(text)["scenarios"][0]
    wanted = {"name", "ours", "peer_default", "peer_tuned", "ratio_default", "ratio_tuned", "bar_default", "bar_tuned", "holds"}
    assert wanted <= first.keys()
    assert first["holds"] is True


def test_texts_are_compared_pair_by_pair() -> None:
    found = Results({"ours": [Outcome(texts=["abcd", "xy"])], "default": [Outcome(texts=["abcd", "xy"])], "tuned": [Outcome(texts=["abzz", "xy"])]})
    assert similarity(found, "default") == 1
    assert 0.7 < similarity(found, "tuned") < 1
