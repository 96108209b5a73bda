"""Logits to a token: greedy, or temperature with top-k, top-p and min-p. NumPy only; knows nothing of text."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from qwencoder_lsp.engine.protocol import Sampling

Logits = npt.NDArray[np.float32]


class Sampler:
    """One request's sampling state: its filters and its random generator."""

    def __init__(self, sampling: Sampling) -> None:
        self._sampling = sampling
        self._random = np.random.default_rng(sampling.seed)

    def pick(self, logits: Logits) -> tuple[int, float]:
        """The next token and its natural log-probability under the unfiltered distribution. `logits` has shape (n_vocab,); -inf forbids."""
        token = int(logits.argmax()) if self._sampling.temperature <= 0 else self._draw(logits)
        top = logits.max()
        return token, float(logits[token] - top - np.log(np.exp(logits - top).sum()))

    def _draw(self, logits: Logits) -> int:
        s = self._sampling
        keep = s.top_k if 0 < s.top_k < len(logits) else min(len(logits), 4096)  # the mass beyond 4096 candidates is negligible
        candidates = np.argpartition(logits, -keep)[-keep:]
        candidates = candidates[np.argsort(-logits[candidates])]
        scaled = logits[candidates].astype(np.float64) / s.temperature
        p = np.exp(scaled - scaled[0])
        p /= p.sum()
        size = int(np.searchsorted(np.cumsum(p), s.top_p)) + 1 if s.top_p < 1 else keep
        if s.min_p > 0:
            size = min(size, int(np.count_nonzero(p >= s.min_p * p[0])))
        p = p[:size]
        return int(candidates[self._random.choice(len(p), p=p / p.sum())])
