"""The KV pool against a simple model of the memory that it drives."""

from __future__ import annotations

import json

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwencoder_lsp.engine.hosttier import BLOCK, HostTier
from qwencoder_lsp.engine.kvpool import KVPool, Sequence

Bytes = npt.NDArray[np.uint8]

N = 3
CELLS = 4096


class Cells:
    """A memory that remembers which token each sequence holds at each position, as llama.cpp does; `read` and `write` carry whole sequences."""

    def __init__(self) -> None:
        self.held: dict[int, dict[int, int]] = {i: {} for i in range(N + 1)}

    def add(self, sequence: int, tokens: list[int]) -> None:
        """The decode of `tokens` behind what is there."""
        start = self.length(sequence)
        self.held[sequence].update({start + i: token for i, token in enumerate(tokens)})

    def tokens(self, sequence: int) -> list[int]:
        held = self.held[sequence]
        assert sorted(held) == list(range(len(held))), "no position may be missing"
        return [held[i] for i in range(len(held))]

    def length(self, sequence: int) -> int:
        return max(self.held[sequence], default=-1) + 1

    def truncate(self, sequence: int, length: int) -> None:
        self.held[sequence] = {p: t for p, t in self.held[sequence].items() if p < length}

    def copy(self, source: int, target: int, start: int, end: int) -> None:
        part = {p: t for p, t in self.held[source].items() if start <= p < end}
        assert len(part) == end - start, "only what is there can be copied"
        assert not part.keys() & self.held[target].keys(), "the target must not have these positions"
        self.held[target].update(part)

    def read(self, sequence: int) -> Bytes:
        return np.frombuffer(json.dumps(self.held[sequence]).encode(), np.uint8)

    def write(self, sequence: int, data: Bytes) -> bool:
        self.held[sequence] = {int(p): t for p, t in json.loads(data.tobytes()).items()}
        return True


def run(pool: KVPool, cells: Cells, tokens: list[int], root: bytes = b"") -> tuple[Sequence | None, int]:
    """One request that computes all of its tokens; returns its sequence and how many were reused."""
    sequence = pool.acquire(tokens, root)
    if sequence is None:
        return None, 0
    reused = len(sequence.tokens)
    assert pool.make_room(len(tokens) - reused)
    cells.add(sequence.id, tokens[reused:])
    pool.extend(sequence, tokens[reused:])
    return sequence, reused


def done(pool: KVPool, cells: Cells, tokens: list[int], document: str | None = None, root: bytes = b"") -> int:
    """The same, and its end; returns how many were reused."""
    sequence, reused = run(pool, cells, tokens, root)
    assert sequence
    pool.release(sequence, document)
    return reused


def test_the_same_prompt_again_leaves_only_its_last_token_to_compute() -> None:
    cells = Cells()
    pool = KVPool(cells, N, CELLS)
    sequence, _ = run(pool, cells, [1, 2, 3, 4])
    assert sequence
    pool.release(sequence)
    assert run(pool, cells, [1, 2, 3, 4])[1] == 3


def test_a_prompt_shares_the_prefix_of_one_that_still_runs() -> None:
    cells = Cells()
    pool = KVPool(cells, N, CELLS)
    first, _ = run(pool, cells, [1, 2, 3, 4, 5])
    second, reused = run(pool, cells, [1, 2, 3, 9])
    assert first
    assert second
    assert (reused, first.id != second.id) == (3, True)


def test_another_document_does_not_push_out_a_warm_one_while_there_is_room() -> None:
    cells = Cells()
    pool = KVPool(cells, N, CELLS)
    for tokens in ([1] * 20, [2] * 20):
        sequence, _ = run(pool, cells, tokens)
        assert sequence
        pool.release(sequence)
    assert run(pool, cells, [1] * 20)[1] == 19


def test_a_short_common_start_is_shared_without_losing_the_longer_text() -> None:
    cells = Cells()
    pool = KVPool(cells, N, CELLS)
    long, _ = run(pool, cells, [7, *range(100, 150)])
    assert long
    pool.release(long)
    short, reused = run(pool, cells, [7, 1, 2])
    assert short
    pool.release(short)
    assert reused == 1
    assert run(pool, cells, [7, *range(100, 150)])[1] == 50


def test_all_sequences_busy_means_none() -> None:
    cells = Cells()
    pool = KVPool(cells, N, CELLS)
    for i in range(N):
        assert run(pool, cells, [i, i])[0]
    assert pool.acquire([9, 9]) is None


def test_what_a_request_needs_is_made_room_for_by_the_prefix_unused_for_longest() -> None:
    cells = Cells()
    pool = KVPool(cells, N, 100)
    done(pool, cells, [1] * 40)
    done(pool, cells, [2] * 40)
    assert pool.make_room(50)
    assert done(pool, cells, [2] * 40) == 39
    assert pool.match(np.full(40, 1, np.int32)) == 0


def test_the_prefix_of_an_open_document_goes_last() -> None:
    cells = Cells()
    pool = KVPool(cells, N, 100)
    done(pool, cells, [1] * 40, document="open.py")
    done(pool, cells, [2] * 40)
    assert pool.make_room(50)
    assert done(pool, cells, [1] * 40, document="open.py") == 39


def test_cells_of_a_request_that_runs_are_never_taken() -> None:
    cells = Cells()
    pool = KVPool(cells, N, 100)
    sequence, _ = run(pool, cells, [1] * 60)
    assert sequence
    assert not pool.make_room(50)
    assert cells.tokens(sequence.id) == [1] * 60


def test_shared_cells_count_once() -> None:
    cells = Cells()
    pool = KVPool(cells, N, 100)
    run(pool, cells, [1] * 60)
    run(pool, cells, [1] * 60 + [2] * 10)
    assert pool.free == 30


def test_of_two_idle_prefixes_of_which_one_begins_the_other_only_the_longer_is_kept() -> None:
    cells = Cells()
    pool = KVPool(cells, N, 100)
    short, _ = run(pool, cells, [1] * 20)
    long, _ = run(pool, cells, [1] * 30)
    assert short
    assert long
    pool.release(short, "doc")
    pool.release(long)
    assert sorted(len(cells.tokens(i)) for i in range(N)) == [0, 0, 30]
    assert pool.free == 70


def test_idle_prefixes_hold_at_most_their_share_of_the_cells() -> None:
    cells = Cells()
    pool = KVPool(cells, N, 1000, HostTier(1 << 20), idle_cells=200)
    done(pool, cells, [1] * 150)
    done(pool, cells, [2] * 150)
    assert pool.idle == 150


def test_an_evicted_prefix_comes_back_from_host_memory_in_whole_blocks() -> None:
    cells = Cells()
    pool = KVPool(cells, N, 1000, HostTier(1 << 20))
    prompt = list(range(3 * BLOCK + 5))
    sequence, _ = run(pool, cells, prompt)
    assert sequence
    pool.evict(sequence)
    pool.release(sequence)
    again, reused = run(pool, cells, prompt)
    assert again
    assert (reused, again.restored) == (3 * BLOCK, 3 * BLOCK)
    assert cells.tokens(again.id) == prompt


def test_what_was_spilled_serves_any_number_of_prompts_that_begin_alike() -> None:
    cells = Cells()
    pool = KVPool(cells, N, 1000, HostTier(1 << 20))
    done(pool, cells, [7] * (2 * BLOCK) + [8] * BLOCK)
    pool.spill()
    fresh = KVPool(cells_after_unload := Cells(), N, 1000, pool._tier)
    assert done(fresh, cells_after_unload, [7] * (2 * BLOCK) + [9] * 10) == 2 * BLOCK
    assert done(fresh, cells_after_unload, [7] * BLOCK + [5] * BLOCK) == BLOCK


def test_nothing_is_shared_between_roots_neither_in_memory_nor_from_the_host() -> None:
    cells = Cells()
    pool = KVPool(cells, N, 1000, HostTier(1 << 20))
    prompt = [3] * (2 * BLOCK)
    done(pool, cells, prompt, root=b"base")
    pool.spill()
    assert done(pool, cells, prompt, root=b"adapter") == 0
    assert done(pool, cells, prompt, root=b"base") > 0


def test_a_request_takes_over_what_another_has_computed_meanwhile() -> None:
    cells = Cells()
    pool = KVPool(cells, N, 1000)
    slow, fast = pool.acquire([4] * 200), pool.acquire([4] * 200)
    assert slow
    assert fast
    cells.add(fast.id, [4] * 100)
    pool.extend(fast, [4] * 100)
    assert pool.catch_up(slow, np.full(200, 4, np.int32))
    assert cells.tokens(slow.id) == [4] * 100
    assert not pool.catch_up(slow, np.full(200, 4, np.int32)), "there is nothing more to gain"


def test_an_injected_wrong_prefix_is_detected() -> None:
    cells = Cells()
    pool = KVPool(cells, N, 1000)
    sequence, _ = run(pool, cells, [1, 2, 3])
    assert sequence
    pool.check()
    cells.truncate(sequence.id, 2)
    with pytest.raises(AssertionError, match="sequence"):
        pool.check()


tokens = st.lists(st.integers(0, 1), min_size=1, max_size=5).map(lambda blocks: [b for b in blocks for _ in range(BLOCK // 2 + 3)])
operation = st.tuples(st.sampled_from(["run", "release", "evict", "room", "cut", "catch"]), tokens, st.integers(0, 99), st.sampled_from([b"a", b"b"]))


@settings(max_examples=150)
@given(st.lists(operation, max_size=60))
def test_after_any_operations_the_pool_knows_exactly_what_the_memory_holds(operations: list[tuple[str, list[int], int, bytes]]) -> None:
    cells = Cells()
    pool = KVPool(cells, N, 400, HostTier(6000), idle_cells=250)
    busy: list[Sequence] = []
    for name, prompt, number, root in operations:
        if name == "run":
            if pool.free + pool.idle < len(prompt) + BLOCK:
                continue
            sequence = pool.acquire(prompt, root)
            if sequence is None:
                assert len(busy) == N
                continue
            busy.append(sequence)
            reused = len(sequence.tokens)
            assert reused < len(prompt)
            assert cells.tokens(sequence.id) == prompt[:reused], "what was reused is really a prefix of the prompt"
            if pool.make_room(len(prompt) - reused):
                cells.add(sequence.id, prompt[reused:])
                pool.extend(sequence, prompt[reused:])
        elif name == "room":
            pool.make_room(number * 4)
        elif busy:
            sequence = busy[number % len(busy)]
            if name == "release":
                busy.remove(sequence)
                pool.release(sequence, f"doc{number % 4}" if number % 3 else None)
            elif name == "evict":
                pool.evict(sequence)
            elif name == "cut":
                pool.cut(sequence, number)
            elif len(prompt) > 1:
                pool.catch_up(sequence, np.asarray(prompt, np.int32))
        pool.check()
        for sequence in busy:
            assert sequence.tokens.tolist() == cells.tokens(sequence.id)
