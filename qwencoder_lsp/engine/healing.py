"""Token healing: the answer's bytes must begin with given bytes, in whatever tokens the model prefers.

The text before a cursor often ends in the middle of what would be one token. The renderer leaves that piece out of the prompt and asks for an
answer that begins with it. A step then allows exactly the tokens whose bytes begin with what is still missing, and those which are a part of it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from qwencoder_lsp.engine.sampler import Logits
from qwencoder_lsp.errors import RequestError

BYTE_PREFIX = frozenset({"prefix", "heal"})  # the kinds of constraints that this is about
CACHED = 32  # sets of allowed tokens that are kept; the largest, behind a single space, takes 0.2 MB


class VocabularyIndex:
    """All tokens of a vocabulary by their bytes. Building it takes about 0.1 s for 150,000 tokens; it may serve any number of matchers."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        """`pieces[token]` holds the token's bytes, empty for tokens that are not text; those are never allowed."""
        self._pieces = pieces
        ids = [i for i, piece in enumerate(pieces) if piece]
        ids.sort(key=pieces.__getitem__)
        self._ids = np.array(ids, np.int32)
        self._sorted = [pieces[i] for i in ids]
        self._longest = max(map(len, self._sorted), default=0)
        self._cache: OrderedDict[bytes, npt.NDArray[np.int32]] = OrderedDict()

    def piece(self, token: int) -> bytes:
        """The token's bytes; empty for an id that the vocabulary does not have."""
        return self._pieces[token] if 0 <= token < len(self._pieces) else b""

    def fitting(self, missing: bytes) -> npt.NDArray[np.int32]:
        """The ids, ascending, of all tokens that begin with `missing` or are a beginning of it. `missing` is not empty."""
        found = self._cache.get(missing)
        if found is None:
            parts = [self._range(missing, _after(missing))]
            for size in range(1, min(len(missing), self._longest + 1)):
                part = missing[:size]
                parts.append(self._range(part, part + b"\0"))  # a piece and its next possible neighbour: exactly this piece
            found = np.sort(np.concatenate(parts))
            self._cache[missing] = found
            if len(self._cache) > CACHED:
                self._cache.popitem(last=False)
        else:
            self._cache.move_to_end(missing)
        return found

    def _range(self, first: bytes, end: bytes | None) -> npt.NDArray[np.int32]:
        low = bisect_left(self._sorted, first)
        return self._ids[low : len(self._sorted) if end is None else bisect_left(self._sorted, end, low)]


class PrefixMatcher:
    """Follows one answer, as constraint.Matcher does. `done` once the bytes are there; from then on everything is allowed."""

    def __init__(self, index: VocabularyIndex, prefix: bytes) -> None:
        self._index = index
        self._missing = prefix
        self.done = not prefix

    def mask(self, logits: Logits, out: Logits | None = None) -> Logits:
        """`logits` with -inf for every token that does not fit, in `out` (which may be `logits`) or in a new array."""
        out = np.empty_like(logits) if out is None else out
        if self.done:
            np.copyto(out, logits)
            return out
        ids = self._index.fitting(self._missing)
        values = logits[ids]
        out.fill(-np.inf)
        out[ids] = values
        return out

    def log_total(self, logits: Logits) -> float | None:
        """log(sum(exp)) over the tokens that fit: the bytes are given, so their own probability says nothing of the answer."""
        if self.done:
            return None
        values = logits[self._index.fitting(self._missing)].astype(np.float64)
        top = values.max()
        return float(top + np.log(np.exp(values - top).sum()))

    def allows(self, token: int) -> bool:
        """Whether the token may come next."""
        return self.done or _fits(self._index.piece(token), self._missing)

    def accept(self, token: int) -> None:
        """The token was chosen. Raises RequestError when it does not fit."""
        if not self.allows(token):
            raise RequestError("The answer does not begin with the prefix.", "Report this: a forbidden token was chosen.")
        self._missing = self._missing[len(self._index.piece(token)) :]
        self.done = not self._missing

    def forced(self) -> list[int]:
        """The tokens that must come next, whatever the model says."""
        missing, forced = self._missing, []
        while missing and len(ids := self._index.fitting(missing)) == 1:
            forced.append(int(ids[0]))
            missing = missing[len(self._index.piece(forced[-1])) :]
        return forced

    def validate(self, tokens: Sequence[int]) -> int:
        """How many of the first of `tokens` may come next, one after the other. Consumes nothing."""
        missing = self._missing
        for count, token in enumerate(tokens):
            if not missing:
                return len(tokens)
            piece = self._index.piece(token)
            if not _fits(piece, missing):
                return count
            missing = missing[len(piece) :]
        return len(tokens)


def _fits(piece: bytes, missing: bytes) -> bool:
    return bool(piece) and (piece.startswith(missing) or missing.startswith(piece))


def _after(prefix: bytes) -> bytes | None:
    """The smallest bytes that are greater than everything that begins with `prefix`; None when there are none."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes([stem[-1] + 1]) if stem else None
