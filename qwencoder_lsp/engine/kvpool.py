"""Which tokens the KV memory holds, sequence by sequence, and where a new prompt can continue.

A prefix that was computed once is shared by any number of sequences, also with a request that still runs. What does not fit any more moves to
host memory block by block and comes back from there. Knows lengths and token ids only; `Memory` is the part of binding.Context that it drives.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Sequence as Tokens
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from qwencoder_lsp.engine.hosttier import BLOCK, HostTier, chain

log = logging.getLogger(__name__)

Ids = npt.NDArray[np.int32]
PINS = 16  # documents whose last prefix is evicted after everything else


class Memory(Protocol):
    """The operations of a KV memory; see binding.Context. Sequence `n_seq` is the pool's own scratch sequence."""

    def truncate(self, sequence: int, length: int) -> None: ...

    def copy(self, source: int, target: int, start: int, end: int) -> None: ...

    def read(self, sequence: int) -> npt.NDArray[np.uint8]: ...

    def write(self, sequence: int, data: npt.NDArray[np.uint8]) -> bool: ...

    def length(self, sequence: int) -> int: ...


def _empty() -> Ids:
    return np.empty(0, np.int32)


@dataclass(slots=True, eq=False)
class Sequence:
    """One sequence id; `tokens` are exactly those that the memory holds for it, `cells` the pool's numbers of the cells that hold them.

    root: what the KV was made under; it is never shared with another root. restored: tokens that came from host memory at the last `acquire`.
    """

    id: int
    tokens: Ids = field(default_factory=_empty)
    cells: Ids = field(default_factory=_empty)
    _room: tuple[Ids, Ids] = field(default_factory=lambda: (_empty(), _empty()))  # arrays of which tokens and cells are the beginning
    root: bytes = b""
    busy: bool = False
    used: int = 0
    restored: int = 0

    def append(self, tokens: Ids, cells: Ids) -> None:
        """The memory holds these too. Token after token this copies nothing but them."""
        start, end = len(self.tokens), len(self.tokens) + len(tokens)
        if self.tokens.base is not self._room[0] or end > len(self._room[0]):
            room = np.empty(2 * end + 64, np.int32), np.empty(2 * end + 64, np.int32)
            room[0][:start], room[1][:start] = self.tokens, self.cells
            self._room = room
        self._room[0][start:end], self._room[1][start:end] = tokens, cells
        self.tokens, self.cells = self._room[0][:end], self._room[1][:end]


class KVPool:
    """Hands out sequences over `n_cells` cells. The cells of one prefix may belong to several sequences at once.

    tier: where evicted prefixes go; None forgets them. idle_cells: how many cells sequences without a request may hold, since attention runs
    over all cells up to the highest used one (4096 foreign cells cost 9 % of decode and 24 % of prefill on a CPU).
    """

    def __init__(self, memory: Memory, n_seq: int, n_cells: int, tier: HostTier | None = None, idle_cells: int | None = None) -> None:
        self._memory = memory
        self._sequences = [Sequence(i) for i in range(n_seq)]
        self.scratch = n_seq
        self._owners = np.zeros(n_cells, np.int32)  # how many sequences own each cell
        self._tier = tier
        self._idle_cells = n_cells if idle_cells is None else idle_cells
        self._pins: OrderedDict[str, Sequence] = OrderedDict()
        self._clock = 0

    @property
    def free(self) -> int:
        """Cells that nobody owns."""
        return int(np.count_nonzero(self._owners == 0))

    @property
    def idle(self) -> int:
        """Cells that only sequences without a request own."""
        return int(np.count_nonzero(self._owners)) - self._owned(s for s in self._sequences if s.busy)

    def match(self, tokens: Ids, root: bytes = b"") -> int:
        """How many of the first tokens some sequence holds already."""
        return max((common(s.tokens, tokens) for s in self._sequences if s.root == root), default=0)

    def may_fit(self, tokens: Ids, root: bytes, more: int) -> bool:
        """Whether a request for `tokens` and `more` after them could have its cells, if everything idle went."""
        return self.free + self.idle + self.match(tokens, root) >= len(tokens) + more

    def acquire(self, tokens: Tokens[int] | Ids, root: bytes = b"") -> Sequence | None:
        """A sequence that already holds the longest known prefix of `tokens`, or None when all are busy.

        At least one token is left to compute, since its logits are needed. A sequence with other text behind the prefix is continued in
        place when most of it is kept; otherwise the prefix is shared with another sequence, so that the older text stays warm.
        """
        wanted = np.asarray(tokens, np.int32)
        limit = len(wanted) - 1
        shared = {s.id: min(common(s.tokens, wanted), limit) if s.root == root else 0 for s in self._sequences}
        best = max(self._sequences, key=lambda s: (shared[s.id], not s.busy, -s.used))
        keep = shared[best.id]
        if not best.busy and keep * 2 >= len(best.tokens):
            target = best
        else:
            idle = [s for s in self._sequences if not s.busy and s is not best]
            if not idle:
                if best.busy:
                    return None
                idle = [best]
            target = min(idle, key=lambda s: (len(s.tokens) > 0, s in self._pins.values(), s.used))
            self._spill(target)
        if target is not best:
            self._drop(target)
            if keep:
                self._memory.copy(best.id, target.id, 0, keep)
                self._own(target, best.tokens[:keep], best.cells[:keep])
        self.cut(target, keep)
        target.busy, target.root, target.restored = True, root, 0
        self._touch(target)
        self._restore(target, wanted[:limit])
        return target

    def catch_up(self, sequence: Sequence, tokens: Ids) -> bool:
        """Another request has meanwhile computed more of `tokens`: share that. False when there is nothing to gain."""
        others = [s for s in self._sequences if s is not sequence and s.root == sequence.root]
        if not others:
            return False
        best = max(others, key=lambda s: common(s.tokens, tokens))
        keep = min(common(best.tokens, tokens), len(tokens) - 1)
        if keep < len(sequence.tokens) + BLOCK // 4:
            return False
        self.cut(sequence, 0)
        self._memory.copy(best.id, sequence.id, 0, keep)
        self._own(sequence, best.tokens[:keep], best.cells[:keep])
        return True

    def extend(self, sequence: Sequence, tokens: Tokens[int] | Ids) -> None:
        """The memory now holds `tokens` behind what `sequence` had. There must be as many free cells."""
        new = np.asarray(tokens, np.int32)
        if len(new) == 1:  # token after token: the first free cell, without a list of all
            first = self._owners.argmin()
            cells = np.array([first] if self._owners[first] == 0 else [], np.int32)
        else:
            cells = np.flatnonzero(self._owners == 0)[: len(new)].astype(np.int32)
        self._own(sequence, new, cells)

    def cut(self, sequence: Sequence, length: int) -> None:
        """Forget what `sequence` holds from `length` on."""
        if length < len(sequence.tokens):
            self._memory.truncate(sequence.id, length)
            self._owners[sequence.cells[length:]] -= 1
            sequence.tokens, sequence.cells = sequence.tokens[:length].copy(), sequence.cells[:length].copy()

    def release(self, sequence: Sequence, document: str | None = None) -> None:
        """The request is over; its tokens stay for the next, as long as anything for `document`'s latest request."""
        sequence.busy = False
        self._touch(sequence)
        if document is not None:
            self._pins[document] = sequence
            self._pins.move_to_end(document)
            if len(self._pins) > PINS:
                self._pins.popitem(last=False)
        self._coalesce(sequence)
        while self.idle > self._idle_cells and self._evict_one(sequence):
            pass

    def make_room(self, cells: int) -> bool:
        """Move idle prefixes out until so many cells are free. False when they are not."""
        while self.free < cells:
            if not self._evict_one(None):
                return False
        return True

    def evict(self, sequence: Sequence) -> None:
        """Move what `sequence` holds out to host memory, and free it."""
        self._spill(sequence)
        self._drop(sequence)

    def store(self, tokens: Ids, root: bytes) -> None:
        """Copy what is held of the first whole blocks of `tokens` to host memory."""
        held = [s for s in self._sequences if s.root == root]
        if held:
            best = max(held, key=lambda s: common(s.tokens, tokens))
            self._copy_out(best, common(best.tokens, tokens))

    def spill(self) -> None:
        """Copy everything to host memory, before the memory goes."""
        for sequence in sorted(self._sequences, key=lambda s: s.used):
            self._spill(sequence)

    def check(self) -> None:
        """Raises AssertionError unless the memory holds what the pool says."""
        owners = np.zeros_like(self._owners)
        for s in self._sequences:
            assert self._memory.length(s.id) == len(s.tokens) == len(s.cells), f"sequence {s.id}"
            np.add.at(owners, s.cells, 1)
        assert np.array_equal(owners, self._owners), "owners of cells"

    def _evict_one(self, keep: Sequence | None) -> bool:
        """Evict the idle sequence that is the least loss: unused for long, cheap to compute again, of no open document."""
        idle = [s for s in self._sequences if not s.busy and s is not keep and len(s.tokens)]
        if not idle:
            return False
        pinned = set(map(id, self._pins.values()))

        def loss(s: Sequence) -> tuple[bool, float]:
            alone = int(np.count_nonzero(self._owners[s.cells] == 1))  # shared cells stay with their other owners
            return id(s) in pinned, alone / (1 + self._clock - s.used)

        self.evict(min(idle, key=loss))
        return True

    def _coalesce(self, new: Sequence) -> None:
        """Of two idle sequences of which one is the beginning of the other, keep the longer."""
        for s in self._sequences:
            if s is new or s.busy or s.root != new.root or not len(s.tokens):
                continue
            shared = common(s.tokens, new.tokens)
            if shared == len(s.tokens):
                self._replace(s, new)
            elif shared == len(new.tokens):
                s.used = new.used
                self._replace(new, s)
                return

    def _replace(self, gone: Sequence, by: Sequence) -> None:
        for document, sequence in self._pins.items():
            if sequence is gone:
                self._pins[document] = by
        self._drop(gone)

    def _restore(self, sequence: Sequence, wanted: Ids) -> None:
        """Continue `sequence` along `wanted` with blocks from host memory."""
        if self._tier is None or self._tier.empty:
            return
        have = len(sequence.tokens)
        first = have // BLOCK
        keys = chain(sequence.root, wanted)
        blocks = []
        for i in range(first, len(keys)):
            block = self._tier.get(keys[i], wanted[i * BLOCK : (i + 1) * BLOCK])
            if block is None:
                break
            blocks.append(block)
        if (first + len(blocks)) * BLOCK <= have or not self.make_room(len(blocks) * BLOCK):
            return
        self.cut(sequence, first * BLOCK)
        for block in blocks:
            start = len(sequence.tokens)
            if not self._memory.write(self.scratch, block.data):
                log.warning("a block of %d tokens could not be restored", len(block.tokens))
                break
            self._memory.copy(self.scratch, sequence.id, start, start + BLOCK)
            self._memory.truncate(self.scratch, 0)
            self.extend(sequence, block.tokens)
        sequence.restored = max(0, len(sequence.tokens) - have)
        self._tier.touch(keys[: first + len(blocks)])

    def _spill(self, sequence: Sequence) -> None:
        self._copy_out(sequence, len(sequence.tokens))

    def _copy_out(self, sequence: Sequence, length: int) -> None:
        if self._tier is None:
            return
        keys = chain(sequence.root, sequence.tokens[:length])
        for i, key in enumerate(keys):
            if key not in self._tier:
                start = i * BLOCK
                self._memory.copy(sequence.id, self.scratch, start, start + BLOCK)
                data = self._memory.read(self.scratch)
                self._memory.truncate(self.scratch, 0)
                self._tier.put(key, sequence.tokens[start : start + BLOCK], data)
        self._tier.touch(keys)

    def _drop(self, sequence: Sequence) -> None:
        self.cut(sequence, 0)
        for document in [d for d, s in self._pins.items() if s is sequence]:
            del self._pins[document]

    def _own(self, sequence: Sequence, tokens: Ids, cells: Ids) -> None:
        assert len(tokens) == len(cells), "no free cells"
        sequence.append(tokens, cells)
        self._owners[cells] += 1

    def _owned(self, sequences: object) -> int:
        held = [s.cells for s in sequences]  # type: ignore[attr-defined]
        return len(np.unique(np.concatenate(held))) if held else 0

    def _touch(self, sequence: Sequence) -> None:
        self._clock += 1
        sequence.used = self._clock


def common(a: Ids, b: Ids) -> int:
    """How many first tokens are equal."""
    size = min(len(a), len(b))
    if size and a[0] != b[0]:
        return 0
    different = np.flatnonzero(a[:size] != b[:size])
    return int(different[0]) if len(different) else size
