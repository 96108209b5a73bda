"""Speculation by prompt lookup: what followed the last occurrence of the text's end probably follows again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

LENGTHS = (3, 7, 11, 15, 23, 31)


class Drafter:
    """One request's guesses. Interim form: longest suffix of 5..2 tokens, fixed acceptance."""

    def __init__(self, tokens: Sequence[int]) -> None:
        self._tokens = list(tokens)
        self._last: dict[tuple[int, ...], int] = {}
        self._rate = 0.8
        self._indexed = 0

    def extend(self, tokens: Sequence[int]) -> None:
        """These tokens were added to the answer."""
        self._tokens += tokens

    def draft(self, cost: Callable[[int], float], base_rows: int = 1, limit: int = 31) -> list[int]:
        """Guesses for the next tokens, at most `limit`; empty where they would not pay. cost(rows): what a step of so many rows takes."""
        at = self._find()
        if at is None:
            return []
        gain, size = max(
            ((1 + self._rate * (1 - self._rate**k) / (1 - self._rate)) / cost(base_rows + k), k) for k in (0, *(n for n in LENGTHS if n <= limit))
        )
        return self._tokens[at : at + size] if gain > 1 / cost(base_rows) else []

    def observe(self, drafted: int, accepted: int) -> None:
        """So many of the drafted tokens were right."""
        if drafted:
            self._rate = min(0.97, max(0.3, 0.8 * self._rate + 0.2 * accepted / drafted))

    def _find(self) -> int | None:
        t = self._tokens
        for end in range(max(self._indexed, 2), len(t)):  # not the very end: it would be found as its own last occurrence
            for n in (2, 3, 4, 5):
                self._last[tuple(t[max(0, end - n) : end])] = end
        self._indexed = max(self._indexed, len(t))
        for n in (5, 4, 3, 2):
            if (at := self._last.get(tuple(t[-n:]))) is not None:
                return at
        return None
