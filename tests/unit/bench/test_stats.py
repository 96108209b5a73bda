"""Medians, intervals and lines of the benchmarks."""

from __future__ import annotations

import pytest

from tests.bench.engine.stats import median, p90, p95, percentile, pooled, ratio_interval, slope


def test_a_percentile_lies_between_its_neighbours() -> None:
    assert percentile([4, 1, 3, 2], 0.5) == 2.5
    assert p90(list(range(11))) == 9
    assert p95([7]) == 7


def test_samples_of_all_repeats_are_one_pool() -> None:
    assert pooled([[1, 2], [3], [100]], median) == 2.5


def test_the_interval_contains_the_ratio_and_is_narrow_for_alike_repeats() -> None:
    low, high = ratio_interval([[20.0], [21.0], [19.0], [20.5], [19.5]], [[10.0], [10.5], [9.5], [10.2], [9.8]], median)
    assert 1.8 < low <= 2.0 <= high < 2.2


def test_the_interval_draws_both_sides_of_a_repeat_together() -> None:
    slow_and_fast = [1.0, 10.0, 3.0, 7.0, 5.0]
    low, high = ratio_interval([[2 * v] for v in slow_and_fast], [[v] for v in slow_and_fast], median)
    assert low == pytest.approx(2)
    assert high == pytest.approx(2), "a machine that is slow for a while slows both sides"


def test_a_line_through_points() -> None:
    assert slope([(0, 1), (1, 3), (2, 5)]) == pytest.approx(2)
    assert slope([(0, 1), (1, 3)]) == 0
    assert slope([(1, 1), (1, 2), (1, 3)]) == 0
