"""Blocks of computed prefixes in host memory."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from qwencoder_lsp.engine.hosttier import BLOCK, HostTier, Ids, chain

SIZE = 100  # bytes of a block's data


def prompt(*blocks: int) -> Ids:
    return np.repeat(np.asarray(blocks, np.int32), BLOCK)


def put(tier: HostTier, tokens: Ids, root: bytes = b"") -> list[bytes]:
    keys = chain(root, tokens)
    for i, key in enumerate(keys):
        tier.put(key, tokens[i * BLOCK : (i + 1) * BLOCK], np.zeros(SIZE, np.uint8))
    tier.touch(keys)
    return keys


def known(tier: HostTier, tokens: Ids) -> int:
    """Blocks from the start that are there."""
    count = 0
    for i, key in enumerate(chain(b"", tokens)):
        if tier.get(key, tokens[i * BLOCK : (i + 1) * BLOCK]) is None:
            break
        count += 1
    return count


def test_keys_depend_on_everything_before_and_on_the_root() -> None:
    one, two = chain(b"", prompt(1, 2)), chain(b"", prompt(3, 2))
    assert one[0] != two[0]
    assert one[1] != two[1], "equal tokens behind another prefix are another block"
    assert chain(b"adapter", prompt(1, 2))[0] != one[0]


def test_only_whole_blocks_have_keys() -> None:
    assert len(chain(b"", prompt(1, 2)[:-1])) == 1
    assert chain(b"", prompt(1)[:-1]) == []


def test_a_block_whose_tokens_differ_is_not_taken_for_the_one_that_is_asked_for() -> None:
    tier = HostTier(10 * SIZE)
    (key,) = put(tier, prompt(1))
    assert tier.get(key, prompt(2)) is None


def test_the_last_block_of_a_prompt_goes_before_its_first() -> None:
    tier = HostTier(3 * SIZE)
    put(tier, prompt(1, 2, 3))
    put(tier, prompt(9))
    assert known(tier, prompt(1, 2, 3)) == 2


def test_the_prompt_unused_for_longest_goes_first() -> None:
    tier = HostTier(4 * SIZE)
    old, young = prompt(1, 1), prompt(2, 2)
    keys = put(tier, old)
    put(tier, young)
    tier.touch(keys)
    put(tier, prompt(3))
    assert (known(tier, old), known(tier, young)) == (2, 1)


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=5), max_size=30), st.integers(0, 8))
def test_the_budget_is_never_exceeded_and_the_account_is_right(prompts: list[list[int]], blocks: int) -> None:
    tier = HostTier(blocks * SIZE)
    for p in prompts:
        put(tier, prompt(*p))
        assert tier.used == len(tier) * SIZE <= tier.budget
