"""Logits to tokens."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwencoder_lsp.engine.protocol import Sampling
from qwencoder_lsp.engine.sampler import Logits, Sampler, best, choose, survivors
from qwencoder_lsp.errors import RequestError

# Few different values, so that ties occur; multiples of 1/4 are exact in float32.
rows = st.lists(st.integers(-40, 40).map(lambda i: i / 4) | st.just(-math.inf), min_size=1, max_size=300).filter(lambda r: max(r) > -math.inf)
samplings = st.builds(
    Sampling,
    temperature=st.floats(0.1, 3),
    top_k=st.integers(0, 320),
    top_p=st.just(1.0) | st.floats(0, 1),
    min_p=st.just(0.0) | st.floats(0, 1.2),
    seed=st.integers(0, 100),
)


def logits(*values: float) -> Logits:
    return np.array(values, np.float32)


def drawn(sampling: Sampling, row: Logits, times: int = 300) -> set[int]:
    sampler = Sampler(sampling)
    return {sampler.pick(row).token for _ in range(times)}


class Only:
    """A constraint that allows some tokens, and counts how often its whole mask was asked for."""

    def __init__(self, *tokens: int) -> None:
        self.tokens = tokens
        self.done = False
        self.masks = 0

    def log_total(self, logits: Logits) -> float | None:
        return None

    def allows(self, token: int) -> bool:
        return token in self.tokens

    def mask(self, logits: Logits, out: Logits | None = None) -> Logits:
        self.masks += 1
        masked = np.full_like(logits, -np.inf)
        masked[list(self.tokens)] = logits[list(self.tokens)]
        if out is None:
            return masked
        np.copyto(out, masked)
        return out


def reference(row: Sequence[float], s: Sampling) -> list[int]:
    """Top-k, top-p and min-p as llama.cpp's samplers define them, one after the other on a sorted list."""
    order = sorted((i for i in range(len(row)) if row[i] > -math.inf), key=lambda i: -row[i])
    if s.top_k > 0:
        order = order[: s.top_k]
    top = max(row)
    p = [math.exp(row[i] - top) for i in order]
    if s.top_p < 1:
        total, reached, size = sum(p), 0.0, 0
        while size < len(p) and (size == 0 or reached < s.top_p * total):
            reached += p[size]
            size += 1
        order, p = order[:size], p[:size]
    return [i for i, q in zip(order, p, strict=True) if q >= min(s.min_p, 1)]


def test_greedy_takes_the_most_probable_token_and_its_log_probability() -> None:
    pick = Sampler(Sampling()).pick(logits(0.0, math.log(3), -math.inf))
    assert pick.token == 1
    assert pick.logprob == pytest.approx(math.log(0.75), abs=1e-5)


@given(rows, samplings)
def test_the_filters_leave_what_llama_cpp_would_leave(row: list[float], s: Sampling) -> None:
    kept, expected = survivors(logits(*row), s).tolist(), reference(row, s)
    if sorted(kept) != sorted(expected):  # a cut that falls within rounding of a sum may go either way
        assert abs(len(kept) - len(expected)) <= 1
        p = np.exp(np.array(row) - max(row))
        mass = s.top_p * p[best(logits(*row), s.top_k or len(row))].sum()
        assert min(p[kept].sum(), p[expected].sum()) == pytest.approx(mass, rel=1e-5)


@given(rows, samplings)
def test_only_what_the_filters_leave_is_drawn(row: list[float], s: Sampling) -> None:
    assert Sampler(s).pick(logits(*row)).token in survivors(logits(*row), s)


def test_top_p_of_a_flat_distribution_over_a_large_vocabulary_is_exact() -> None:
    row = np.random.default_rng(0).normal(size=20_000).astype(np.float32)
    s = Sampling(temperature=1, top_p=0.9)
    assert sorted(survivors(row, s).tolist()) == sorted(reference(row.astype(np.float64).tolist(), s))


@given(rows, st.integers(1, 400))
def test_the_best_are_those_of_a_full_sort(row: list[float], k: int) -> None:
    order = sorted((i for i in range(len(row)) if row[i] > -math.inf), key=lambda i: -row[i])
    assert best(logits(*row), k).tolist() == order[:k]


def test_the_best_of_a_large_vocabulary_are_those_of_a_full_sort() -> None:
    row = np.random.default_rng(1).normal(size=10_007).astype(np.float32)
    assert best(row, 50).tolist() == np.argsort(-row)[:50].tolist()


@given(st.lists(st.integers(0, 5), min_size=1, max_size=50).filter(any), st.floats(0, 1, exclude_max=True))
def test_a_share_falls_on_the_weight_that_it_reaches(weights: list[int], share: float) -> None:
    at = choose(np.array(weights, np.float32), share)
    assert weights[at] > 0
    assert sum(weights[:at]) <= share * sum(weights) + 1e-9
    assert share * sum(weights) <= sum(weights[: at + 1]) + 1e-9


def test_a_large_vocabulary_is_drawn_from_in_proportion() -> None:
    row = np.full(10_000, -math.inf, np.float32)
    row[[3, 5000, 9999]] = logits(math.log(0.5), math.log(0.3), math.log(0.2))
    sampler = Sampler(Sampling(temperature=1, seed=1))
    picks = [sampler.pick(row).token for _ in range(3000)]
    assert [picks.count(t) / 3000 for t in (3, 5000, 9999)] == pytest.approx([0.5, 0.3, 0.2], abs=0.05)


def test_the_same_seed_draws_the_same_tokens() -> None:
    row = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    one, two = Sampler(Sampling(temperature=1, seed=5)), Sampler(Sampling(temperature=1, seed=5))
    assert [one.pick(row) for _ in range(20)] == [two.pick(row) for _ in range(20)]


@pytest.mark.parametrize(("temperature", "expected"), [(1.0, 0.7), (0.5, 0.845), (2.0, 0.604)])
def test_temperature_draws_in_proportion_to_the_sharpened_probabilities(temperature: float, expected: float) -> None:
    row = logits(math.log(0.7), math.log(0.3), -math.inf)
    for filters in (Sampling(temperature=temperature, seed=1), Sampling(temperature=temperature, seed=1, top_k=3)):
        sampler = Sampler(filters)
        share = sum(sampler.pick(row).token == 0 for _ in range(4000)) / 4000
        assert share == pytest.approx(expected, abs=0.04)


def test_top_k_keeps_the_k_best() -> None:
    assert drawn(Sampling(temperature=5, top_k=2, seed=1), logits(1, 0.9, 0.8, 0.7)) == {0, 1}


def test_top_p_keeps_the_smallest_set_that_reaches_p_before_temperature_flattens_it() -> None:
    row = logits(*(math.log(p) for p in (0.5, 0.3, 0.15, 0.05)))
    assert drawn(Sampling(temperature=3, top_p=0.75, seed=1), row) == {0, 1}


def test_min_p_drops_what_is_far_below_the_best() -> None:
    row = logits(*(math.log(p) for p in (0.6, 0.35, 0.05)))
    assert drawn(Sampling(temperature=3, min_p=0.2, seed=1), row) == {0, 1}


def test_forbidden_tokens_are_never_drawn() -> None:
    assert drawn(Sampling(temperature=100, seed=1), logits(0, -math.inf, 0, -math.inf)) == {0, 2}


@given(rows, samplings | st.just(Sampling(repeat_penalty=1.3, presence_penalty=0.5, logit_bias=((0, 2.0),))))
def test_the_logits_are_not_written_to(row: list[float], s: Sampling) -> None:
    given_row = logits(*row)
    given_row.flags.writeable = False
    sampler = Sampler(s, [0])
    sampler.accept(0)
    matcher = Only(int(np.argmax(row)))
    sampler.pick(given_row)
    sampler.pick(given_row, matcher)
    assert given_row.tolist() == logits(*row).tolist()


def test_a_bias_changes_the_choice_but_not_the_reported_probability() -> None:
    pick = Sampler(Sampling(logit_bias=((0, 5.0),))).pick(logits(0, math.log(3)))
    assert pick.token == 0
    assert pick.logprob == pytest.approx(math.log(0.25), abs=1e-5)


def test_a_bias_of_minus_infinity_forbids_a_token() -> None:
    assert Sampler(Sampling(logit_bias=((1, -math.inf),))).pick(logits(0, 3, 2)).token == 2


def test_biases_of_one_token_add_up() -> None:
    assert Sampler(Sampling(logit_bias=((0, 2.0), (0, 2.0)))).pick(logits(0, 3)).token == 0


@pytest.mark.parametrize("token", [-1, 2])
def test_a_bias_for_a_token_that_is_not_there_is_refused(token: int) -> None:
    with pytest.raises(RequestError):
        Sampler(Sampling(logit_bias=((token, 1.0),))).pick(logits(0, 3))


def test_repetition_divides_positive_and_multiplies_negative_logits_of_prompt_and_answer() -> None:
    sampler = Sampler(Sampling(repeat_penalty=2.0), [0])
    assert sampler.pick(logits(4, 2.5, 1)).token == 1
    sampler.accept(1)
    assert sampler.pick(logits(4, 2.5, 2.1)).token == 2
    assert sampler.pick(logits(-2, -3, -3.9)).token == 2


def test_repetition_forgets_what_has_left_its_window() -> None:
    sampler = Sampler(Sampling(repeat_penalty=2.0, penalty_window=2), [0, 0, 1])
    assert sampler.pick(logits(4, 0, 0, 3)).token == 3
    sampler.accept(2)
    assert sampler.pick(logits(4, 0, 0, 3)).token == 0


def test_a_window_of_nothing_penalises_nothing() -> None:
    sampler = Sampler(Sampling(repeat_penalty=2.0, penalty_window=0), [0])
    sampler.accept(0)
    assert sampler.pick(logits(4, 3)).token == 0


def test_presence_and_frequency_count_the_answer_only() -> None:
    row = logits(3, 2, 0)
    presence, frequency = Sampler(Sampling(presence_penalty=1.5), [0]), Sampler(Sampling(frequency_penalty=0.6), [0])
    assert presence.pick(row).token == frequency.pick(row).token == 0
    presence.accept(0)
    assert presence.pick(row).token == 1
    frequency.accept(0)
    assert frequency.pick(row).token == 0
    frequency.accept(0)
    assert frequency.pick(row).token == 1


def test_penalties_follow_an_answer_of_many_different_tokens() -> None:
    sampler = Sampler(Sampling(presence_penalty=5.0))
    for token in range(200):
        sampler.accept(token)
    row = np.zeros(300, np.float32)
    row[:200] = 4
    assert sampler.pick(row).token == 200


def test_alternatives_are_the_most_probable_of_the_unfiltered_distribution() -> None:
    row = logits(*(math.log(p) for p in (0.1, 0.6, 0.3)))
    pick = Sampler(Sampling(temperature=1, top_k=1, top_logprobs=2, logit_bias=((0, 9.0),), seed=1)).pick(row)
    assert pick.token == 0
    assert [t for t, _ in pick.top] == [1, 2]
    assert [p for _, p in pick.top] == pytest.approx([math.log(0.6), math.log(0.3)], abs=1e-5)


def test_log_probabilities_are_exact_where_exponentials_would_overflow() -> None:
    assert Sampler(Sampling()).pick(logits(1000, 1000 + math.log(3))).logprob == pytest.approx(math.log(0.75), abs=1e-4)


def test_greedy_asks_for_the_whole_mask_only_where_the_best_token_is_forbidden() -> None:
    matcher = Only(1, 2)
    assert Sampler(Sampling()).pick(logits(0, 3, 1), matcher).token == 1
    assert matcher.masks == 0
    assert Sampler(Sampling()).pick(logits(9, 1, 3), matcher).token == 2
    assert matcher.masks == 1


def test_a_draw_keeps_to_the_constraint_and_filters_among_what_it_allows() -> None:
    sampler = Sampler(Sampling(temperature=1, top_k=2, seed=1))
    assert {sampler.pick(logits(9, 1, 1, 0), Only(1, 2, 3)).token for _ in range(200)} == {1, 2}


def test_a_constraint_that_is_met_is_not_asked() -> None:
    matcher = Only(1)
    matcher.done = True
    assert Sampler(Sampling()).pick(logits(3, 0), matcher).token == 0


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_constraint_and_a_bias_that_exclude_each_other_are_an_error(temperature: float) -> None:
    with pytest.raises(RequestError):
        Sampler(Sampling(temperature=temperature, logit_bias=((1, -math.inf),))).pick(logits(3, 0), Only(1))


def test_samplers_of_different_vocabularies_take_turns() -> None:
    one, two = Sampler(Sampling(temperature=0.5, seed=1)), Sampler(Sampling(temperature=0.5, seed=1))
    for _ in range(3):
        assert one.pick(logits(0, 50)).token == 1
        assert two.pick(logits(0, 0, 50)).token == 2
