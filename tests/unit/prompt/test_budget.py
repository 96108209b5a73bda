"""Budgets: what is re-read at each keystroke is short on a slow machine, and everything fits the context."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwencoder_lsp.errors import RequestError
from qwencoder_lsp.prompt.budget import LEAST, MARKUP, UNBOUNDED, Budget, answer_room, fim_budget


@given(
    st.floats(0, 1e5),
    st.integers(512, 40000),
    st.integers(1, 300),
    st.none() | st.integers(16, 32768),
    st.none() | st.integers(0, 8192),
)
def test_prompt_and_answer_always_fit_the_context(speed: float, n_ctx: int, max_tokens: int, max_prefix: int | None, max_suffix: int | None) -> None:
    budget = fim_budget(speed, n_ctx, max_tokens, max_prefix, max_suffix, snippets=True)
    assert budget.prefix + budget.suffix + budget.snippets + MARKUP + max_tokens <= n_ctx
    assert min(budget.prefix, budget.suffix + 1, budget.snippets + 1) > 0


def test_a_slow_machine_gets_the_least_useful_suffix_and_a_fast_one_more() -> None:
    assert fim_budget(90, 8192, 96, snippets=True) == Budget(prefix=900, suffix=64, snippets=450)
    assert fim_budget(0, 8192, 96, snippets=True) == Budget(prefix=512, suffix=64, snippets=256)
    assert fim_budget(1000, 32768, 96, snippets=True) == Budget(prefix=8192, suffix=500, snippets=4096)
    assert fim_budget(1e6, 32768, 96).suffix == 512


def test_snippets_have_room_beside_a_prefix_that_would_fill_the_context_and_without_them_it_is_the_prefixs() -> None:
    assert fim_budget(1e6, 8192, 96, snippets=True) == Budget(prefix=4971, suffix=512, snippets=2485)
    assert fim_budget(1e6, 8192, 96) == Budget(prefix=7456, suffix=512, snippets=0)


def test_settings_replace_the_computed_values() -> None:
    budget = fim_budget(90, 8192, 96, max_prefix=2000, max_suffix=0)
    assert (budget.prefix, budget.suffix) == (2000, 0)


def test_an_answer_that_nobody_limited_leaves_room_in_every_context() -> None:
    for n_ctx in (512, 4096, 32768):
        assert fim_budget(90, n_ctx, answer_room(None, n_ctx)).prefix > 0
    assert answer_room(None, 1 << 20) == UNBOUNDED
    assert answer_room(100, 512) == 100


def test_a_context_without_room_is_refused() -> None:
    with pytest.raises(RequestError, match="leave no room"):
        fim_budget(90, MARKUP + LEAST + 95, 96)
