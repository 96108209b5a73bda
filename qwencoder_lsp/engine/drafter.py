"""Speculation by prompt lookup: what followed the last occurrence of the text's end probably follows again.

How probable that is is learnt while the answer is made, also where nothing is drafted: each token shows whether copying.py had predicted it. A
draft is as long as the calibrated costs and these probabilities make worth while, and what wrong drafts have cost is kept in an account, so
that text with nothing to copy is never slowed down by more than a few per cent.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from itertools import islice, takewhile

from qwencoder_lsp.engine.copying import HINT_TRUSTED, Copier

ROWS = (4, 8, 12, 16, 24, 32, 48, 64)  # sizes of a step at which rows are cheapest: just above each of these they cost more than at the next one
RUNS = (1, 2, 3, 4, 6, 9, 17)  # lower ends of the classes of match lengths; below the first there is class 0
# (probability, weight in tokens) that a copy goes on, by class; the first row for a source that has proved itself. Between what was measured on
# edits (0.1 0.7 0.9 0.95 0.98 ...) and on new code (0.1 0.45 0.55 0.7 0.8 ...), the standard library through Qwen's tokenizer.
PRIOR = (
    ((0.1, 6), (0.6, 4), (0.8, 4), (0.87, 4), (0.93, 6), (0.95, 6), (0.97, 8), (0.985, 8)),
    ((0.1, 4), (0.3, 4), (0.5, 4), (0.65, 4), (0.78, 4), (0.8, 4), (0.82, 4), (0.9, 4)),
)
HINTED = (0.55, 0.95)  # the same for the first token of a place that the request named, and for the next ones
MEMORY = 40.0  # tokens after which an observation has lost two thirds of its weight
MARGIN = 1.1  # a draft has to promise so much more than none
# The account, in plain steps: what wrong drafts may cost at first, what each token adds, what each token adds that was predicted by a long match
# (both up to the first), and the most that right drafts can bring it to.
CREDIT, GROWTH, RECOVERY, MOST = 3.2, 0.02, 0.3, 20.0

_CLASS = [sum(run >= lower for lower in RUNS) for run in range(RUNS[-1] + 1)]


class Drafter:
    """One request's guesses. Give it every token of the answer through `extend`, and the fate of every draft through `observe`."""

    def __init__(self, tokens: Sequence[int], ends: Collection[int] = (), copies: int | None = None) -> None:
        """`tokens`: the prompt. ends: tokens that end the answer. copies: where in the prompt that begins which the answer may begin with."""
        self._copy = Copier(tokens, copies)
        self._ends = frozenset(ends)
        self._hits = [[p * w for p, w in row] for row in PRIOR]
        self._seen = [[float(w) for _, w in row] for row in PRIOR]
        self._credit = CREDIT
        self._price: Callable[[int], float] = float  # of the last draft, by its length: plain steps beyond the one that runs anyway

    def extend(self, tokens: Sequence[int]) -> None:
        """These tokens were added to the answer."""
        copy, earned = self._copy, GROWTH * len(tokens)
        for token in tokens:
            if copy.at < 0:
                copy.feed(token)
                continue
            row, column = int(not copy.trusted), _CLASS[min(copy.run, RUNS[-1])]
            hit = copy.feed(token)
            fade = 1 - 1 / MEMORY
            self._hits[row][column] = self._hits[row][column] * fade + hit
            self._seen[row][column] = self._seen[row][column] * fade + 1
            if hit and copy.run > 4:
                earned += RECOVERY
        self._credit = max(self._credit, min(CREDIT, self._credit + earned))

    def draft(self, cost: Callable[[int], float], base_rows: int = 1, limit: int = 31) -> list[int]:
        """Guesses for the next tokens, at most `limit`; empty where they would not pay. cost(rows): what a step of so many rows takes.

        base_rows: the rows that the step has anyway, this request's among them.
        """
        self._copy.seek()
        if self._copy.at < 0:
            return []
        plain = cost(base_rows)
        self._price = lambda drafted: cost(base_rows + drafted) / plain - 1
        guess = list(takewhile(lambda token: token not in self._ends, islice(self._copy.predicted(), limit)))  # behind the end nothing follows
        size, promise = 0, MARGIN * base_rows / plain
        expected, certain, run, row = 0.0, 1.0, self._copy.run, int(not self._copy.trusted)
        done = 0
        for k in (*(rows - base_rows for rows in ROWS if 0 < rows - base_rows < len(guess)), len(guess)):
            for _ in range(k - done):
                column = _CLASS[min(run, RUNS[-1])]
                certain *= HINTED[run > 0] if run < HINT_TRUSTED and self._copy.hinted else self._hits[row][column] / self._seen[row][column]
                expected += certain
                run += 1
            done = k
            price = cost(base_rows + k)
            if (base_rows + expected) / price > promise and price / plain - 1 <= self._credit:
                size, promise = k, (base_rows + expected) / price
        return guess[:size]

    def observe(self, drafted: int, accepted: int) -> None:
        """Of the last draft so many tokens were evaluated (it may have been shortened), and so many of them were right."""
        if drafted:
            self._credit = min(MOST, self._credit + accepted - self._price(drafted))
