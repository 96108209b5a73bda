"""Logits to tokens."""

from __future__ import annotations

import math

import numpy as np
import pytest

from qwencoder_lsp.engine.protocol import Sampling
from qwencoder_lsp.engine.sampler import Logits, Sampler


def logits(*values: float) -> Logits:
    return np.array(values, np.float32)


def drawn(sampling: Sampling, row: Logits, times: int = 300) -> set[int]:
    sampler = Sampler(sampling)
    return {sampler.pick(row).token for _ in range(times)}


def test_greedy_takes_the_most_probable_token_and_its_log_probability() -> None:
    token, logprob = Sampler(Sampling()).pick(logits(0.0, math.log(3), -math.inf))
    assert token == 1
    assert logprob == pytest.approx(math.log(0.75), abs=1e-5)


def test_the_same_seed_draws_the_same_tokens() -> None:
    row = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    one, two = Sampler(Sampling(temperature=1, seed=5)), Sampler(Sampling(temperature=1, seed=5))
    assert [one.pick(row) for _ in range(20)] == [two.pick(row) for _ in range(20)]


def test_temperature_draws_in_proportion_to_the_probabilities() -> None:
    sampler = Sampler(Sampling(temperature=1, seed=1))
    row = logits(math.log(0.7), math.log(0.3), -math.inf)
    share = sum(sampler.pick(row).token == 0 for _ in range(4000)) / 4000
    assert 0.65 < share < 0.75


def test_top_k_keeps_the_k_best() -> None:
    assert drawn(Sampling(temperature=5, top_k=2, seed=1), logits(1, 0.9, 0.8, 0.7)) == {0, 1}


def test_top_p_keeps_the_smallest_set_that_reaches_p() -> None:
    row = logits(*(math.log(p) for p in (0.5, 0.3, 0.15, 0.05)))
    assert drawn(Sampling(temperature=1, top_p=0.75, seed=1), row) == {0, 1}


def test_min_p_drops_what_is_far_below_the_best() -> None:
    row = logits(*(math.log(p) for p in (0.6, 0.35, 0.05)))
    assert drawn(Sampling(temperature=1, min_p=0.2, seed=1), row) == {0, 1}


def test_forbidden_tokens_are_never_drawn() -> None:
    assert drawn(Sampling(temperature=100, seed=1), logits(0, -math.inf, 0, -math.inf)) == {0, 2}
