"""Medians, percentiles, intervals by bootstrap, and a straight line through points."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Sequence

Statistic = Callable[[Sequence[float]], float]
Interval = tuple[float, float]

RESAMPLES = 2000
COVERAGE = 0.95


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of the values lie, interpolated between neighbours."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def p90(values: Sequence[float]) -> float:
    """The 90th percentile."""
    return percentile(values, 0.90)


def p95(values: Sequence[float]) -> float:
    """The 95th percentile."""
    return percentile(values, 0.95)


def median(values: Sequence[float]) -> float:
    """The median."""
    return statistics.median(values)


def pooled(repeats: Sequence[Sequence[float]], statistic: Statistic) -> float:
    """The statistic of the samples of all repeats together."""
    return statistic([value for repeat in repeats for value in repeat])


def ratio_interval(above: Sequence[Sequence[float]], below: Sequence[Sequence[float]], statistic: Statistic, seed: int = 0) -> Interval:
    """The 95 % bootstrap interval of statistic(above) / statistic(below).

    Whole repeats are drawn, because samples of one repeat are alike; the same ones on both sides, because neighbours in time met the same
    machine load and the same prompts.
    """
    count = min(len(above), len(below))
    draw = random.Random(seed)  # noqa: S311 - statistics, not secrets
    found = []
    for _ in range(RESAMPLES):
        chosen = [draw.randrange(count) for _ in range(count)]
        found.append(pooled([above[i] for i in chosen], statistic) / (pooled([below[i] for i in chosen], statistic) or 1e-9))
    return percentile(found, (1 - COVERAGE) / 2), percentile(found, (1 + COVERAGE) / 2)


def slope(points: Sequence[tuple[float, float]]) -> float:
    """How much y grows per unit of x, by least squares; 0 for fewer than three points."""
    if len(points) < 3:
        return 0.0
    mean_x = statistics.fmean(x for x, _ in points)
    mean_y = statistics.fmean(y for _, y in points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0
