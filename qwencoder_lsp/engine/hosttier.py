"""Computed prefixes in host memory: blocks of KV bytes, found by what led to them.

A block is the KV of BLOCK tokens; its key is a hash over the key of the block before it and its own tokens, beginning with a root that names
the model, adapter, KV type and rope setting. So equal keys mean equal tokens from position 0 on under equal settings, and two prompts with a
common prefix share its blocks. Knows nothing of llama.cpp; survives the unload of the model. What is not here may be on disk, see disktier.py.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

BLOCK = 32  # tokens; what is left of a prompt behind its last whole block is computed again

Ids = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Block:
    """The KV of some tokens at their place in a prompt."""

    tokens: Ids
    data: npt.NDArray[np.uint8]


class Saved(Protocol):
    """Where blocks may be that are not in memory; see disktier.DiskTier."""

    def __len__(self) -> int: ...

    def get(self, key: bytes, tokens: Ids) -> Block | None: ...


def chain(root: bytes, tokens: Ids) -> list[bytes]:
    """The keys of all whole blocks of `tokens`."""
    keys = []
    key = root
    for start in range(0, len(tokens) - BLOCK + 1, BLOCK):
        key = hashlib.blake2b(key + tokens[start : start + BLOCK].tobytes(), digest_size=16).digest()
        keys.append(key)
    return keys


class HostTier:
    """At most `budget` bytes of blocks; the ones unused for longest go first, and of one prompt the last block before the first.

    saved: where blocks are looked for that are not in memory.
    """

    def __init__(self, budget: int, saved: Saved | None = None) -> None:
        self.budget = budget
        self.used = 0
        self._blocks: OrderedDict[bytes, Block] = OrderedDict()
        self._saved = saved

    @property
    def empty(self) -> bool:
        """Whether nothing can be found here."""
        return not self._blocks and not self._saved

    def __len__(self) -> int:
        return len(self._blocks)

    def __contains__(self, key: bytes) -> bool:
        return key in self._blocks

    def get(self, key: bytes, tokens: Ids) -> Block | None:
        """The block, if it is there and really is that of `tokens`."""
        block = self._blocks.get(key)
        if block is None and self._saved and (block := self._saved.get(key, tokens)):
            self.put(key, block.tokens, block.data)
        return block if block is not None and np.array_equal(block.tokens, tokens) else None

    def put(self, key: bytes, tokens: Ids, data: npt.NDArray[np.uint8]) -> None:
        """Keep a block, as far as the budget allows."""
        old = self._blocks.pop(key, None)
        self.used -= old.data.nbytes if old else 0
        self._blocks[key] = Block(tokens.copy(), data)
        self.used += data.nbytes
        while self.used > self.budget and self._blocks:
            _, gone = self._blocks.popitem(last=False)
            self.used -= gone.data.nbytes

    def touch(self, keys: Iterable[bytes]) -> None:
        """The prompt of these keys, in order, was wanted now. A block is of no use without those before it, so they are to go last."""
        for key in reversed(list(keys)):
            if key in self._blocks:
                self._blocks.move_to_end(key)
