"""The KV pool against a simple model of the memory that it drives."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from qwencoder_lsp.engine.kvpool import KVPool, Sequence

N = 3


class Cells:
    """A memory that remembers which tokens each sequence holds."""

    def __init__(self) -> None:
        self.held: dict[int, list[int]] = {i: [] for i in range(N)}

    def truncate(self, sequence: int, length: int) -> None:
        del self.held[sequence][length:]

    def copy(self, source: int, target: int, length: int) -> None:
        assert not self.held[target], "the target of a copy must be empty"
        assert length <= len(self.held[source])
        self.held[target] = self.held[source][:length]


def run(pool: KVPool, cells: Cells, tokens: list[int]) -> tuple[Sequence | None, int]:
    """One request that computes all of its tokens; returns its sequence and how many were reused."""
    sequence = pool.acquire(tokens)
    if sequence is None:
        return None, 0
    reused = len(sequence.tokens)
    cells.held[sequence.id] += tokens[reused:]
    pool.extend(sequence, tokens[reused:])
    return sequence, reused


def test_the_same_prompt_again_leaves_only_its_last_token_to_compute() -> None:
    cells = Cells()
    pool = KVPool(cells, N)
    sequence, _ = run(pool, cells, [1, 2, 3, 4])
    assert sequence
    pool.release(sequence)
    assert run(pool, cells, [1, 2, 3, 4])[1] == 3


def test_a_prompt_shares_the_prefix_of_one_that_still_runs() -> None:
    cells = Cells()
    pool = KVPool(cells, N)
    first, _ = run(pool, cells, [1, 2, 3, 4, 5])
    second, reused = run(pool, cells, [1, 2, 3, 9])
    assert first
    assert second
    assert (reused, first.id != second.id) == (3, True)


def test_another_document_does_not_push_out_a_warm_one_while_there_is_room() -> None:
    cells = Cells()
    pool = KVPool(cells, N)
    for tokens in ([1] * 20, [2] * 20):
        sequence, _ = run(pool, cells, tokens)
        assert sequence
        pool.release(sequence)
    assert run(pool, cells, [1] * 20)[1] == 19


def test_a_short_common_start_is_shared_without_losing_the_longer_text() -> None:
    cells = Cells()
    pool = KVPool(cells, N)
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
    pool = KVPool(cells, N)
    for i in range(N):
        assert run(pool, cells, [i, i])[0]
    assert pool.acquire([9, 9]) is None


def test_evict_drops_the_one_used_longest_ago_and_never_a_busy_one() -> None:
    cells = Cells()
    pool = KVPool(cells, N)
    old, _ = run(pool, cells, [1, 1])
    young, _ = run(pool, cells, [2, 2])
    assert old
    assert young
    pool.release(old)
    pool.release(young)
    busy, _ = run(pool, cells, [3, 3])
    assert busy
    assert pool.evict()
    assert not cells.held[old.id]
    assert cells.held[young.id]
    assert pool.evict()
    assert not pool.evict()
    assert cells.held[busy.id] == [3, 3]


tokens = st.lists(st.integers(0, 2), min_size=1, max_size=12)
operations = st.lists(st.tuples(st.sampled_from(["run", "release", "evict", "cut"]), tokens, st.integers(0, 12)), max_size=60)


@given(operations)
def test_after_any_operations_the_pool_knows_exactly_what_the_memory_holds(operations: list[tuple[str, list[int], int]]) -> None:
    cells = Cells()
    pool = KVPool(cells, N)
    busy: list[Sequence] = []
    for name, prompt, number in operations:
        if name == "run":
            sequence, reused = run(pool, cells, prompt)
            if sequence is None:
                assert len(busy) == N
                continue
            busy.append(sequence)
            assert reused < len(prompt)
            assert cells.held[sequence.id] == prompt, "what was reused is really a prefix of the prompt"
        elif name == "release" and busy:
            pool.release(busy.pop(number % len(busy)))
        elif name == "evict":
            pool.evict()
        elif name == "cut" and busy:
            pool.cut(busy[number % len(busy)], number)
        for sequence in busy:
            assert sequence.tokens.tolist() == cells.held[sequence.id]
