"""What a step costs: milliseconds of one decode by its number of rows. Measured at first load, refined by every step, scaled by the load of now."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

# Cost of a decode of n rows over that of one row, on two cores with a 0.5B model (November 2026); it fills the table until it is measured.
SHAPE = {1: 1.0, 2: 1.8, 4: 2.75, 8: 4.05, 12: 5.4, 16: 7.7, 24: 9.1, 32: 10.8, 48: 15.4, 64: 17.6, 128: 26.0, 256: 48.0, 512: 93.0}
SLOW, FAST = 1.0 / 8, 1.0 / 2  # how quickly the load estimate follows steps that took longer, and shorter, than it says
BETTER = 0.97  # of a point of the table; smaller gains are noise
MIN_LOAD, MAX_LOAD = 0.7, 20.0


class Costs:
    """The cost table. `load` is how much slower than in the table steps are now, because others use the cores or the context is long."""

    def __init__(self, points: Iterable[tuple[int, float]] = ()) -> None:
        self._ms: dict[int, float] = dict(points)
        self._rows: list[int] = []
        self._curve: list[float] = []
        self.load = 1.0
        self.changed = False
        self._refresh()

    @property
    def points(self) -> tuple[tuple[int, float], ...]:
        """What was measured, as (rows, ms)."""
        return tuple(sorted(self._ms.items()))

    def table(self, rows: int) -> float:
        """Milliseconds of a step of so many rows on a machine that does nothing else; linear between the points of the table."""
        at = bisect_left(self._rows, rows)
        if at == len(self._rows):
            return self._curve[-1] * rows / self._rows[-1]
        if self._rows[at] == rows or at == 0:
            return self._curve[at]
        low, high = self._rows[at - 1], self._rows[at]
        share = (rows - low) / (high - low)
        return self._curve[at - 1] * (1 - share) + self._curve[at] * share

    def now(self, rows: int) -> float:
        """Milliseconds that such a step is expected to take now."""
        return self.table(rows) * self.load

    def rows_within(self, budget_ms: float, most: int) -> int:
        """The most rows, up to `most`, that are expected to take at most `budget_ms` now; at least 1."""
        low, high = 1, max(1, most)
        while low < high:
            middle = (low + high + 1) // 2
            if self.now(middle) <= budget_ms:
                low = middle
            else:
                high = middle - 1
        return low

    def observe(self, rows: int, ms: float) -> None:
        """A step of `rows` rows took `ms`. The table keeps the best ever seen, since everything else that happens only makes steps slower."""
        ratio = ms / self.table(rows)
        weight = FAST if ratio < self.load else SLOW
        self.load = min(MAX_LOAD, max(MIN_LOAD, self.load + weight * (ratio - self.load)))
        if ratio < BETTER or (rows in SHAPE and rows not in self._ms):
            for point in self._around(rows):
                self._ms[point] = self.table(point) * min(ratio, 1.0)
            self.changed = True
            self._refresh()

    def measured(self, rows: int, ms: float) -> None:
        """Set a point of the table."""
        self._ms[rows] = ms
        self.changed = True
        self._refresh()

    def _around(self, rows: int) -> list[int]:
        """The point of the table, or the two on both sides."""
        at = min(bisect_left(self._rows, rows), len(self._rows) - 1)
        return [self._rows[at]] if self._rows[at] == rows or at == 0 else [self._rows[at - 1], self._rows[at]]

    def _refresh(self) -> None:
        """Known points as they are; between and beyond them the shape, scaled to the nearest known ones. Never falling."""
        known = sorted(self._ms) or [1]
        base = self._ms or {1: 25.0}
        self._rows = sorted(set(SHAPE) | set(known))
        self._curve = []
        for rows in self._rows:
            nearest = min(known, key=lambda k: abs(k - rows) / (k + rows))
            value = base[rows] if rows in base else base[nearest] * shape(rows) / shape(nearest)
            self._curve.append(max(value, self._curve[-1]) if self._curve else value)


def shape(rows: int) -> float:
    """The usual cost of a step over that of one row; linear between the points of SHAPE."""
    points = sorted(SHAPE)
    at = bisect_left(points, rows)
    if at == len(points):
        return SHAPE[points[-1]] * rows / points[-1]
    if points[at] == rows:
        return SHAPE[rows]
    low, high = points[at - 1], points[at]
    return SHAPE[low] + (SHAPE[high] - SHAPE[low]) * (rows - low) / (high - low)
