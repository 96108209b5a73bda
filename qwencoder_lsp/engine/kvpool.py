"""Which tokens the KV memory holds, sequence by sequence, and which sequence a new prompt should continue.

Knows lengths and token ids only; `Memory` is the part of binding.Context that it drives.
"""

from __future__ import annotations

from collections.abc import Sequence as Tokens
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int32]


class Memory(Protocol):
    """The metadata operations of a KV memory; see binding.Context."""

    def truncate(self, sequence: int, length: int) -> None: ...

    def copy(self, source: int, target: int, length: int) -> None: ...


@dataclass(slots=True)
class Sequence:
    """One sequence id; `tokens` are exactly those that the memory holds for it."""

    id: int
    tokens: Ids = field(default_factory=lambda: np.empty(0, np.int32))
    busy: bool = False
    used: int = 0


class KVPool:
    """Hands out sequences. The cells of one prefix may belong to several sequences at once."""

    def __init__(self, memory: Memory, n_seq: int) -> None:
        self._memory = memory
        self._sequences = [Sequence(i) for i in range(n_seq)]
        self._clock = 0

    def acquire(self, tokens: Tokens[int]) -> Sequence | None:
        """A sequence that already holds the longest known prefix of `tokens`, or None when all are busy.

        At least one token is left to compute, since its logits are needed. A sequence with other text behind the prefix is continued in
        place when most of it is kept; otherwise the prefix is shared with another sequence, so that the older text stays warm.
        """
        wanted = np.asarray(tokens, np.int32)
        common = {s.id: min(_common(s.tokens, wanted), len(wanted) - 1) for s in self._sequences}
        best = max(self._sequences, key=lambda s: (common[s.id], not s.busy, -s.used))
        keep = common[best.id]
        if not best.busy and keep * 2 >= len(best.tokens):
            target = best
        else:
            idle = [s for s in self._sequences if not s.busy and s is not best]
            if not idle:
                if best.busy:
                    return None
                idle = [best]
            target = min(idle, key=lambda s: (len(s.tokens) > 0, s.used))
        if target is not best:
            self._memory.truncate(target.id, 0)
            if keep:
                self._memory.copy(best.id, target.id, keep)
            target.tokens = best.tokens[:keep].copy()
        self.cut(target, keep)
        target.busy = True
        self._touch(target)
        return target

    def extend(self, sequence: Sequence, tokens: Tokens[int]) -> None:
        """The memory now holds `tokens` behind what `sequence` had."""
        sequence.tokens = np.concatenate((sequence.tokens, np.asarray(tokens, np.int32)))

    def cut(self, sequence: Sequence, length: int) -> None:
        """Forget what `sequence` holds from `length` on."""
        if length < len(sequence.tokens):
            self._memory.truncate(sequence.id, length)
            sequence.tokens = sequence.tokens[:length].copy()

    def release(self, sequence: Sequence) -> None:
        """The request is over; its tokens stay for the next."""
        sequence.busy = False
        self._touch(sequence)

    def evict(self) -> bool:
        """Drop the idle sequence that was used longest ago. False when there is nothing to drop."""
        idle = [s for s in self._sequences if not s.busy and len(s.tokens)]
        if not idle:
            return False
        self.cut(min(idle, key=lambda s: s.used), 0)
        return True

    def _touch(self, sequence: Sequence) -> None:
        self._clock += 1
        sequence.used = self._clock


def _common(a: Ids, b: Ids) -> int:
    size = min(len(a), len(b))
    different = np.flatnonzero(a[:size] != b[:size])
    return int(different[0]) if len(different) else size
