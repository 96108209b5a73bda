"""The cost table."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwencoder_lsp.engine.costs import FULL, MAX_LOAD, PLAIN, Costs, Point

points = st.lists(st.tuples(st.sampled_from([1, 2, 8, 48, 64, 128]), st.booleans(), st.floats(1, 2000)), min_size=1).map(
    lambda found: [(rows, rows if full else 1, ms) for rows, full, ms in found]
)


@given(points, st.integers(1, 3000))
def test_more_rows_never_cost_less(known: list[Point], rows: int) -> None:
    costs = Costs(known)
    assert costs.table(rows) <= costs.table(rows + 1) * (1 + 1e-9) or rows == 1
    assert costs.draft(rows) <= costs.draft(rows + 1) * (1 + 1e-9)


def test_one_measured_point_scales_the_whole_curve() -> None:
    costs = Costs([(1, 1, 50.0)])
    assert costs.table(1) == 50.0
    assert costs.table(32) == pytest.approx(50.0 * PLAIN[32])
    assert costs.draft(32) == pytest.approx(50.0 * FULL[32])


def test_measured_points_count_as_they_are_and_others_lie_between_them() -> None:
    costs = Costs([(8, 1, 100.0), (12, 1, 140.0)])
    assert costs.table(8) == 100.0
    assert costs.table(10) == pytest.approx(120.0)


def test_rows_with_logits_come_on_top_of_a_prompts_rows() -> None:
    costs = Costs([(8, 8, 100.0), (8, 1, 70.0), (64, 1, 300.0)])
    assert costs.table(64, 8) == pytest.approx(330.0)
    assert costs.table(8, 8) == costs.draft(8) == 100.0


def test_attention_is_by_row_below_a_tile_and_by_tile_above() -> None:
    costs = Costs([(1, 1, 20.0)])
    assert costs.attention(64, 64 * 1500, 1500) < costs.attention(63, 63 * 1500, 1500)  # one long sequence
    assert costs.attention(63, 63 * 200, 2400) < costs.attention(64, 64 * 200, 2400)  # many short ones
    assert costs.attention(128, 0, 1000) == 2 * costs.attention(64, 0, 1000)
    assert costs.attention(128, 0, 1000, 200) < costs.attention(128, 0, 1000)  # the second tile holds rows of one sequence only
    costs.tiled = False
    assert costs.attention(64, 64 * 1500, 1500) == 0.0


def test_steps_that_take_longer_raise_the_load_and_leave_the_curve() -> None:
    costs = Costs([(1, 1, 25.0)])
    for _ in range(50):
        costs.observe(1, 1, 100.0)
    assert costs.table(1) == 25.0
    assert costs.now(1) == pytest.approx(100.0, rel=0.05)
    assert not costs.changed


def test_the_load_falls_faster_than_it_rises_and_has_a_limit() -> None:
    costs = Costs([(1, 1, 25.0)])
    costs.observe(1, 1, 50.0)
    risen = costs.load
    costs.observe(1, 1, 25.0)
    assert 1 < costs.load < 1 + (risen - 1) * 0.6
    for _ in range(200):
        costs.observe(1, 1, 1e6)
    assert costs.load == MAX_LOAD


def test_a_faster_step_corrects_the_curve_and_says_so() -> None:
    costs = Costs([(1, 1, 100.0)])
    costs.observe(1, 1, 30.0)
    assert 30.0 < costs.table(1) < 100.0
    assert costs.changed
    for _ in range(50):
        costs.observe(1, 1, 30.0)
    assert costs.table(1) == pytest.approx(30.0, rel=0.05)


def test_a_faster_step_between_two_points_corrects_both() -> None:
    costs = Costs([(48, 1, 800.0), (64, 1, 1000.0)])
    costs.observe(56, 1, 450.0)
    assert costs.table(48) / 800 == costs.table(64) / 1000 < 1


def test_a_prompts_step_teaches_nothing_about_drafts() -> None:
    costs = Costs([(32, 32, 250.0), (32, 1, 250.0)])
    costs.observe(32, 1, 170.0)
    assert costs.table(32) < 250.0
    assert costs.draft(32) == 250.0


def test_noise_is_not_worth_a_correction() -> None:
    costs = Costs([(1, 1, 100.0)])
    costs.observe(1, 1, 99.0)
    assert not costs.changed


def test_points_survive_being_stored() -> None:
    known = ((1, 1, 20.0), (8, 1, 70.0), (8, 8, 84.0), (64, 1, 280.0))
    assert Costs(known).points == known
