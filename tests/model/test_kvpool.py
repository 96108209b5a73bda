"""The KV pool on the real library: after any operations, what a sequence holds gives the logits of a fresh context."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from qwencoder_lsp.engine.binding import OK, Context, Model
from qwencoder_lsp.engine.hosttier import HostTier
from qwencoder_lsp.engine.kvpool import KVPool, Sequence

pytestmark = pytest.mark.model

CELLS, N_SEQ = 768, 6
TOLERANCE = 1.0  # the same prefix computed in other cells and batches differs by up to 0.35; a wrong one by several
TEXTS = [
    "import os\n\n\ndef read(path):\n    with open(path) as file:\n        return file.read()\n\n\n" * 16,
    "class Stack:\n    def __init__(self):\n        self.items = []\n\n    def push(self, item):\n        self.items.append(item)\n\n" * 16,
]


@pytest.fixture(scope="module")
def model(model_05b: Path) -> Iterator[Model]:
    loaded = Model(model_05b, 0)
    yield loaded
    loaded.close()


def context(model: Model, n_seq: int) -> Context:
    return Context(model, n_ctx=CELLS, n_seq=n_seq, n_threads=2, n_ubatch=128, n_outputs=8)


def logits(context: Context, tokens: list[int], position: int, sequence: int) -> npt.NDArray[np.float32]:
    """Of the last of `tokens`, which are computed at `position`."""
    context.batch.clear()
    start = context.batch.add(tokens, position, sequence, 1)
    assert context.decode() == OK
    return np.array(context.logits(start + len(tokens) - 1))


def difference(pool: KVPool, shared: Context, fresh: Context, sequence: Sequence) -> float:
    """Between the logits behind `sequence` and those of the same tokens computed alone."""
    tokens = sequence.tokens.tolist()
    last = len(tokens) - 1
    pool.cut(sequence, last)
    found = logits(shared, tokens[last:], last, sequence.id)
    pool.extend(sequence, tokens[last:])
    fresh.truncate(0, 0)
    return float(np.abs(found - logits(fresh, tokens, 0, 0)).max())


def prompts(model: Model, chance: random.Random) -> list[int]:
    """Prefixes of two texts with an end of their own, so that many begin alike."""
    tokens = model.vocabulary.tokenize(chance.choice(TEXTS))
    return tokens[: chance.randrange(2, 160)] + [chance.randrange(1000, 5000) for _ in range(chance.randrange(4))]


@pytest.mark.parametrize("seed", range(2))
def test_random_operations_leave_every_sequence_with_the_logits_of_its_tokens(model: Model, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - not for secrets
    shared, fresh = context(model, N_SEQ + 1), context(model, 1)
    tier = HostTier(6 << 20)
    pool = KVPool(shared, N_SEQ, CELLS, tier, idle_cells=400)
    busy: list[Sequence] = []
    restored = reused = 0
    for _ in range(40):
        what = chance.choice(["run", "run", "run", "release", "release", "evict", "room", "unload"])
        if what == "run":
            tokens = prompts(model, chance)
            sequence = pool.acquire(tokens) if len(busy) < N_SEQ - 1 else None
            if sequence is None:
                continue
            have = len(sequence.tokens)
            reused, restored = reused + have, restored + sequence.restored
            assert tokens[:have] == sequence.tokens.tolist()
            if not pool.make_room(len(tokens) - have):
                pool.release(sequence)
                continue
            logits(shared, tokens[have:], have, sequence.id)
            pool.extend(sequence, tokens[have:])
            busy.append(sequence)
        elif what == "room":
            pool.make_room(chance.randrange(CELLS))
        elif what == "unload" and not busy:
            pool.spill()
            shared.close()
            shared = context(model, N_SEQ + 1)
            pool = KVPool(shared, N_SEQ, CELLS, tier, idle_cells=400)
        elif busy:
            sequence = busy.pop(chance.randrange(len(busy)))
            if what == "evict":
                pool.evict(sequence)
            pool.release(sequence)
        pool.check()
        if busy and chance.random() < 0.3 and len((checked := chance.choice(busy)).tokens) > 1:
            assert difference(pool, shared, fresh, checked) < TOLERANCE
    assert reused > 0
    shared.close()
    fresh.close()


def test_a_prefix_that_came_back_from_host_memory_gives_the_very_same_logits(model: Model) -> None:
    shared = context(model, N_SEQ + 1)
    pool = KVPool(shared, N_SEQ, CELLS, HostTier(64 << 20))
    tokens = model.vocabulary.tokenize(TEXTS[0])[:193]
    owner = pool.acquire(tokens)
    assert owner
    logits(shared, tokens[:192], 0, owner.id)
    pool.extend(owner, tokens[:192])
    before = logits(shared, tokens[192:], 192, owner.id)
    shared.truncate(owner.id, 192)
    pool.evict(owner)
    pool.release(owner)
    back = pool.acquire(tokens)
    assert back
    assert back.restored == 192
    assert float(np.abs(logits(shared, tokens[192:], 192, back.id) - before).max()) == 0.0
    shared.close()


def test_an_injected_wrong_prefix_is_detected(model: Model) -> None:
    """The check above can fail: here the memory holds other tokens than the pool says."""
    shared, fresh = context(model, N_SEQ + 1), context(model, 1)
    pool = KVPool(shared, N_SEQ, CELLS)
    tokens = model.vocabulary.tokenize(TEXTS[1])[:80]
    sequence = pool.acquire(tokens)
    assert sequence
    logits(shared, tokens, 0, sequence.id)
    pool.extend(sequence, tokens[:40] + model.vocabulary.tokenize(TEXTS[0])[:40])
    assert difference(pool, shared, fresh, sequence) > TOLERANCE
    shared.close()
    fresh.close()
