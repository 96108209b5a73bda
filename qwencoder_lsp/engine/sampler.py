"""Logits to a token: bias, penalties, constraint, then greedy or a draw after top-k, top-p, min-p and temperature. NumPy only; knows nothing of text.

The order is llama.cpp's (common/sampling.cpp: filters act on the distribution before temperature), the penalties' windows are those of vLLM for
presence and frequency and of llama.cpp for repetition. Logarithms reported are those of the distribution that the model gave, before all of this;
only where text was given that the answer has to begin with, they are those among the tokens that fit it.
"""

from __future__ import annotations

import math
import threading
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from qwencoder_lsp.engine.protocol import Sampling
from qwencoder_lsp.errors import RequestError

Logits = npt.NDArray[np.float32]
Ids = npt.NDArray[np.intp]

BLOCKS = 64  # columns over which maxima are taken when the best few are sought: the maximum of 64 rows at once is one pass at memory speed
COLDEST = 1e-4  # a temperature below this is greedy in effect, and would overflow float32
FEW = (128, 1024)  # how many of the best are sorted in the hope that top-p cuts inside them


class Filter(Protocol):
    """What may come next; constraint.Matcher and healing.PrefixMatcher are such."""

    done: bool

    def allows(self, token: int) -> bool:
        """Whether the token may come next."""
        ...

    def mask(self, logits: Logits, out: Logits | None = None) -> Logits:
        """`logits` with -inf for every forbidden token, in `out` (which may be `logits`) or in a new array."""
        ...

    def log_total(self, logits: Logits) -> float | None:
        """log(sum(exp)) of what may come next, where log-probabilities are to be given among that; None: among all tokens."""
        ...


@dataclass(frozen=True, slots=True)
class Pick:
    """One choice: the token, its natural log-probability (0 where nobody asked for it), the most probable (token, logprob) pairs that
    Sampling.top_logprobs asked for, and the log-probability of an end instead (-inf where none could come)."""

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()
    end: float = -math.inf


class Sampler:
    """One request's sampling state: its filters, its random generator and what its penalties count."""

    def __init__(self, sampling: Sampling, prompt: Sequence[int] = (), *, logprobs: bool = True, ends: Sequence[int] = ()) -> None:
        """logprobs: whether a Pick must tell its log-probability, and that of `ends`, the tokens that end an answer."""
        self._sampling = sampling
        self._logprobs = logprobs or sampling.top_logprobs > 0
        self._ends = np.array(ends, np.intp)
        self._random = np.random.default_rng(sampling.seed)
        self._greedy = sampling.temperature < COLDEST
        self._penalties = _Penalties(sampling, prompt) if _penalised(sampling) else None
        self._bias_ids = np.array([t for t, _ in sampling.logit_bias], np.intp)
        self._bias = np.array([b for _, b in sampling.logit_bias], np.float32)

    def pick(self, logits: Logits, matcher: Filter | None = None) -> Pick:
        """The next token. `logits` has shape (n_vocab,), -inf forbids; it is only read.

        Raises RequestError when a bias names a token that is not there, or when bias and constraint together leave nothing to choose from.
        """
        scratch = _scratch(len(logits))
        changed = self._adjust(logits, scratch.work)
        filtering = matcher is not None and not matcher.done
        if self._greedy:
            token = int(changed.argmax())
            if filtering and matcher is not None and not matcher.allows(token):
                changed = matcher.mask(changed, scratch.work)
                token = int(changed.argmax())
            log_total = _log_total(logits, scratch.exp)[0] if self._logprobs else 0.0
        else:
            if filtering and matcher is not None:
                changed = matcher.mask(changed, scratch.work)
            log_total, total = _log_total(logits, scratch.exp)
            token = self._draw(changed, scratch.exp, total if changed is logits else None)
        if filtering and matcher is not None and self._logprobs and (among := matcher.log_total(logits)) is not None:
            log_total = among
        if changed[token] == -math.inf:
            raise RequestError("The constraint leaves nothing to choose from.", "Loosen it, or drop logit_bias.")
        top = _most_probable(logits, self._sampling.top_logprobs, log_total)
        end = -math.inf
        if len(self._ends) and self._logprobs and not filtering:
            end = float(np.logaddexp.reduce(logits[self._ends])) - log_total
        return Pick(token, float(logits[token]) - log_total if self._logprobs else 0.0, top, end)

    def accept(self, token: int) -> None:
        """The token was taken into the answer: later penalties count it."""
        if self._penalties:
            self._penalties.accept(token)

    def _adjust(self, logits: Logits, work: Logits) -> Logits:
        """The logits after bias and penalties: `work` when any of them acts, otherwise `logits` itself."""
        if not len(self._bias_ids) and not self._penalties:
            return logits
        np.copyto(work, logits)
        if len(self._bias_ids):
            if self._bias_ids.min() < 0 or self._bias_ids.max() >= len(work):
                raise RequestError("logit_bias names a token that this model does not have.", f"Token ids go from 0 to {len(work) - 1}.")
            np.add.at(work, self._bias_ids, self._bias)
        if self._penalties:
            self._penalties.apply(work)
        return work

    def _draw(self, logits: Logits, weights: Logits, total: float | None) -> int:
        """A random token. `weights` holds exp(logits - max) with sum `total` if that is given; otherwise it is room to compute it in."""
        s = self._sampling
        top = logits.max()
        if top == -math.inf:
            return 0
        filtering = s.top_k > 0 or s.top_p < 1 or s.min_p > 0
        if filtering:
            if total is None and s.top_p < 1:
                _, total = _log_total(logits, weights)
            ids = survivors(logits, s, total)
            scaled = (logits[ids].astype(np.float64) - top) / s.temperature
            return int(ids[choose(np.exp(scaled), self._random.random())])
        if total is None or s.temperature != 1:
            np.subtract(logits, top, out=weights)
            np.divide(weights, np.float32(s.temperature), out=weights)
            np.exp(weights, out=weights)
        return choose(weights, self._random.random())


def survivors(logits: Logits, sampling: Sampling, total: float | None = None) -> Ids:
    """The ids that top-k, top-p and min-p leave of `logits`, in no particular order; one of them is finite at least.

    top-p keeps the smallest set of best tokens that reaches it, counted among those that top-k left; min-p is relative to the best. total:
    the sum of exp(logits - max), if the caller has it.
    """
    top = logits.max()
    if sampling.top_k > 0:
        ids = best(logits, sampling.top_k)
        if sampling.top_p < 1:
            p = np.exp(logits[ids].astype(np.float64) - top)
            ids = ids[: _reach(p, sampling.top_p * p.sum())]
    elif sampling.top_p < 1:
        total = float(np.exp(logits - top).sum()) if total is None else total
        ids = _nucleus(logits, sampling.top_p * total)
    else:
        return np.flatnonzero(logits >= top + math.log(min(sampling.min_p, 1.0)) if sampling.min_p > 0 else logits > -math.inf)
    if sampling.min_p > 0:
        ids = ids[np.exp(logits[ids].astype(np.float64) - top) >= min(sampling.min_p, 1.0)]
    return ids


def _nucleus(logits: Logits, mass: float) -> Ids:
    """The best tokens whose exp(logits - max) reach `mass`."""
    top = logits.max()
    for k in FEW:
        ids = best(logits, k)
        p = np.exp(logits[ids].astype(np.float64) - top)
        if (size := _reach(p, mass)) < len(ids):
            return ids[:size]
    # A flat distribution. Sorting all of it takes 30 ms; a histogram finds the few that have to be sorted.
    gap = top - logits
    column = np.minimum(gap * 64, 4095).astype(np.intp)
    reached = np.cumsum(np.bincount(column, np.exp(-gap), 4096))
    border = int(np.searchsorted(reached, min(mass, reached[-1])))
    edge = np.flatnonzero(column == border)
    edge = edge[np.argsort(gap[edge], kind="stable")]
    missing = mass - (reached[border - 1] if border else 0.0)
    return np.concatenate([np.flatnonzero(column < border), edge[: _reach(np.exp(-gap[edge].astype(np.float64)), missing)]])


def _reach(p: npt.NDArray[np.float64], mass: float) -> int:
    """How many of the first of `p` are needed to reach `mass`: at least one, at most all."""
    return min(len(p), int(np.searchsorted(np.cumsum(p), mass)) + 1)


class _Penalties:
    """What has been said, as arrays that grow with the answer."""

    def __init__(self, sampling: Sampling, prompt: Sequence[int]) -> None:
        self._s = sampling
        window = max(0, sampling.penalty_window)
        self._recent: deque[int] = deque(prompt[-window:] if window else (), maxlen=window)
        self._recent_count = Counter(self._recent)
        self._slot: dict[int, int] = {}
        self._ids = np.zeros(64, np.intp)
        self._counts = np.zeros(64, np.float32)

    def accept(self, token: int) -> None:
        if self._recent.maxlen:
            if len(self._recent) == self._recent.maxlen:
                oldest = self._recent[0]
                self._recent_count[oldest] -= 1
                if not self._recent_count[oldest]:
                    del self._recent_count[oldest]
            self._recent.append(token)
            self._recent_count[token] += 1
        slot = self._slot.setdefault(token, len(self._slot))
        if slot == len(self._ids):
            self._ids = np.concatenate([self._ids, np.zeros_like(self._ids)])
            self._counts = np.concatenate([self._counts, np.zeros_like(self._counts)])
        self._ids[slot] = token
        self._counts[slot] += 1

    def apply(self, work: Logits) -> None:
        s = self._s
        if s.repeat_penalty != 1 and self._recent_count:
            ids = np.fromiter(self._recent_count, np.intp, len(self._recent_count))
            ids = ids[(ids >= 0) & (ids < len(work))]
            values = work[ids]
            work[ids] = np.where(values > 0, values / np.float32(s.repeat_penalty), values * np.float32(s.repeat_penalty))
        if (s.presence_penalty or s.frequency_penalty) and self._slot:
            n = len(self._slot)
            work[self._ids[:n]] -= np.float32(s.presence_penalty) + np.float32(s.frequency_penalty) * self._counts[:n]


def _penalised(s: Sampling) -> bool:
    return s.repeat_penalty != 1 or s.presence_penalty != 0 or s.frequency_penalty != 0


def best(logits: Logits, k: int) -> Ids:
    """The ids of the k largest, largest first, the smaller id first among equals; fewer where -inf leaves fewer. A NaN is not looked for."""
    n = len(logits)
    k = min(k, n)
    width = n // BLOCKS
    if k < width:
        # The k-th largest of the columns' maxima is at most the k-th largest of all, and few values lie between the two.
        maxima = logits[: width * BLOCKS].reshape(BLOCKS, width).max(axis=0)
        floor = np.partition(maxima, width - k)[width - k]
        ids = np.flatnonzero(logits >= floor) if floor > -math.inf else np.flatnonzero(logits > floor)
    else:
        ids = np.flatnonzero(logits > -math.inf)
    return ids[np.argsort(-logits[ids], kind="stable")][:k]


def choose(weights: npt.NDArray[np.floating], share: float) -> int:
    """The index at which the running sum of `weights` passes `share` (0 <= share < 1) of their total; its weight is never 0."""
    if len(weights) > 4096:
        # Sums of blocks first: a running sum over the whole vocabulary in double precision takes three times as long.
        starts = np.arange(0, len(weights), 512)
        sums = np.add.reduceat(weights, starts).astype(np.float64)
        cumulative = np.cumsum(sums)
        at = min(share * cumulative[-1], np.nextafter(cumulative[-1], 0))
        block = int(np.searchsorted(cumulative, at, side="right"))
        share = (at - (cumulative[block - 1] if block else 0.0)) / sums[block]
        first = int(starts[block])
        return first + choose(weights[first : first + 512], share)
    cumulative = np.cumsum(weights, dtype=np.float64)
    return int(np.searchsorted(cumulative, min(share * cumulative[-1], np.nextafter(cumulative[-1], 0)), side="right"))


def _log_total(logits: Logits, out: Logits) -> tuple[float, float]:
    """log(sum(exp(logits))), and the sum of exp(logits - max), whose terms are left in `out`."""
    top = logits.max()
    np.subtract(logits, top, out=out)
    np.exp(out, out=out)
    total = float(out.sum())
    return float(top) + math.log(total), total


class _Scratch(threading.local):
    """Room for one vocabulary, per thread: fresh arrays of this size are new pages of memory each time, which costs more than the arithmetic."""

    def __init__(self) -> None:
        self.work: Logits = np.empty(0, np.float32)
        self.exp: Logits = np.empty(0, np.float32)


_room = _Scratch()


def _scratch(n: int) -> _Scratch:
    if len(_room.work) != n:
        _room.work, _room.exp = np.empty(n, np.float32), np.empty(n, np.float32)
    return _room


def score(logits: Logits, token: int, top: int) -> tuple[float, tuple[tuple[int, float], ...]]:
    """The natural log-probability of `token` under `logits`, shape (n_vocab,), and the `top` most probable tokens with theirs, best first."""
    log_total, _ = _log_total(logits, _scratch(len(logits)).exp)
    return float(logits[token]) - log_total, _most_probable(logits, top, log_total)


def logprob_of(logits: Logits, token: int) -> float:
    """The natural log-probability of `token` under `logits`, shape (n_vocab,)."""
    return score(logits, token, 0)[0]


def _most_probable(logits: Logits, count: int, log_total: float) -> tuple[tuple[int, float], ...]:
    return tuple((int(t), float(logits[t]) - log_total) for t in best(logits, count)) if count else ()
