"""What a step costs: milliseconds of one decode by its rows, and by how many of them need logits.

Logits are a multiplication by the whole vocabulary: a draft, whose rows all need them, costs half as much again as a prompt of the same length.
Measured at first load, refined by every step, scaled by the load of now.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping

# Cost of a decode of n rows over that of one row, on two cores with a 0.5B model (November 2026); it fills the curves until they are measured.
PLAIN = {1: 1.0, 2: 1.46, 4: 1.95, 8: 3.3, 12: 4.2, 16: 4.9, 24: 6.8, 32: 8.3, 48: 12.6, 64: 14.5, 128: 26.0, 256: 52.0, 512: 102.0}
FULL = {1: 1.0, 2: 1.7, 4: 2.4, 8: 4.1, 12: 5.2, 16: 6.2, 24: 9.1, 32: 10.6, 48: 15.6, 64: 18.3}
SLOW, FAST = 1.0 / 8, 1.0 / 2  # how quickly the load estimate follows steps that took longer, and shorter, than it says
BETTER = 0.97  # of a point of a curve; smaller gains are noise
TRUST = 0.3  # how far one faster step moves a known point towards it: the best of many noisy steps would be too good
MIN_LOAD, MAX_LOAD = 0.7, 20.0
# Attention over what is in memory comes on top. On the CPU llama.cpp computes it row by row over each row's own sequence, or, from 64 rows on
# (GGML_FA_TILE_Q), in tiles of 64 rows over the cells of all sequences that have rows in the tile. Behind 1500 tokens 63 rows take 582 ms, 64 take
# 396, and 65 take 473. In units of a decode of one row:
TILE = 64
PER_ROW_AND_CELL, PER_TILE_AND_CELL = 1.7e-4, 4.4e-3

Point = tuple[int, int, float]  # rows, of them with logits, milliseconds


class Costs:
    """The two curves. `load` is how much slower than they say steps are now, because others use the cores or the context is long."""

    def __init__(self, points: Iterable[Point] = ()) -> None:
        self._plain, self._full = _Curve(PLAIN), _Curve(FULL)
        self.load = 1.0
        self.tiled = True  # whether the account of attention holds: not on a GPU
        self.changed = False
        for point in points:
            self.measured(*point)
        self.changed = False

    @property
    def points(self) -> tuple[Point, ...]:
        """What was measured."""
        full = ((rows, rows, ms) for rows, ms in self._full.known.items())
        plain = ((rows, 1, ms) for rows, ms in self._plain.known.items() if rows > 1)
        return tuple(sorted((*full, *plain)))

    def table(self, rows: int, outputs: int = 1) -> float:
        """Milliseconds of a step of so many rows, `outputs` of them with logits, on a machine that does nothing else."""
        if outputs >= rows:
            return self._full.at(rows)
        return self._plain.at(rows) + max(0.0, self._full.at(outputs) - self._plain.at(outputs) if outputs > 1 else 0.0)

    def draft(self, rows: int) -> float:
        """The same for a step in which all rows need logits."""
        return self._full.at(rows)

    def attention(self, rows: int, reach: float, cells: float, own: float | None = None) -> float:
        """Milliseconds to look at what is in memory. reach: tokens that the rows look at, summed over the rows; cells: tokens of their sequences.

        own: those of the sequence that has most of the rows. Rows of others are together in the first tile; the rest skips what only others hold.
        """
        if not self.tiled:
            return 0.0
        if rows < TILE:
            return self._full.at(1) * PER_ROW_AND_CELL * reach
        further = -(-rows // TILE) - 1
        return self._full.at(1) * PER_TILE_AND_CELL * (cells + further * (cells if own is None else own))

    def now(self, rows: int, outputs: int = 1, attention: float = 0.0) -> float:
        """Milliseconds that such a step is expected to take now."""
        return (self.table(rows, outputs) + attention) * self.load

    def observe(self, rows: int, outputs: int, ms: float, attention: float = 0.0) -> None:
        """A step took `ms`. The curves follow steps that were faster only, since everything else that happens makes them slower."""
        ratio = ms / (self.table(rows, outputs) + attention)
        weight = FAST if ratio < self.load else SLOW
        self.load = min(MAX_LOAD, max(MIN_LOAD, self.load + weight * (ratio - self.load)))
        curve = self._full if outputs >= rows else self._plain if outputs <= 1 else None
        if curve and (ratio < BETTER or not curve.knows(rows)):
            curve.correct(rows, 1 - TRUST * max(0.0, 1 - ratio))
            self.changed = True

    def measured(self, rows: int, outputs: int, ms: float) -> None:
        """Set a point."""
        if outputs >= rows:
            self._full.set(rows, ms)
        if outputs <= 1:
            self._plain.set(rows, ms)
        self.changed = True


class _Curve:
    """Milliseconds by rows: known points as they are, between and beyond them the shape scaled to the nearest known one. Never falling."""

    def __init__(self, shape: Mapping[int, float]) -> None:
        self.known: dict[int, float] = {}
        self._shape = shape
        self._rows: list[int] = []
        self._ms: list[float] = []
        self._refresh()

    def at(self, rows: int) -> float:
        """Linear between the points, proportional beyond the last."""
        return _between(self._rows, self._ms, rows)

    def knows(self, rows: int) -> bool:
        """Whether the points around it were measured."""
        return all(point in self.known for point in self._around(rows))

    def set(self, rows: int, ms: float) -> None:
        """A measured point."""
        self.known[rows] = ms
        self._refresh()

    def correct(self, rows: int, ratio: float) -> None:
        """Steps of so many rows take `ratio` times what the curve says: so do the points around."""
        self.known.update({point: self.at(point) * ratio for point in self._around(rows)})
        self._refresh()

    def _around(self, rows: int) -> list[int]:
        at = min(bisect_left(self._rows, rows), len(self._rows) - 1)
        return [self._rows[at]] if self._rows[at] == rows or at == 0 else [self._rows[at - 1], self._rows[at]]

    def _refresh(self) -> None:
        known = self.known or {1: 25.0}
        shape_rows, shape_ms = list(self._shape), list(self._shape.values())
        self._rows = sorted({*self._shape, *known})
        self._ms = []
        for rows in self._rows:
            nearest = min(known, key=lambda k: abs(k - rows) / (k + rows))
            scale = known[nearest] / _between(shape_rows, shape_ms, nearest)
            value = known[rows] if rows in known else scale * _between(shape_rows, shape_ms, rows)
            self._ms.append(max(value, self._ms[-1]) if self._ms else value)


def _between(xs: list[int], ys: list[float], x: int) -> float:
    at = bisect_left(xs, x)
    if at == len(xs):
        return ys[-1] * x / xs[-1]
    if xs[at] == x or at == 0:
        return ys[at]
    share = (x - xs[at - 1]) / (xs[at] - xs[at - 1])
    return ys[at - 1] * (1 - share) + ys[at] * share
