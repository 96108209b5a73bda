"""Figures with their bars: a table for people, JSON lines for programs."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field


@dataclass(frozen=True)
class Figure:
    """One result. direction: "max" when the value must not exceed the bar, "min" when it must reach it, "" when there is no bar. unmeasured: why
    there is no value, where there is none."""

    name: str
    value: float | None
    unit: str
    n: int
    bar: float | None = None
    direction: str = ""
    unmeasured: str = ""

    @property
    def verdict(self) -> str:
        """Whether the bar is met."""
        if self.value is None:
            return self.unmeasured
        if self.bar is None:
            return ""
        met = self.value <= self.bar if self.direction == "max" else self.value >= self.bar
        return "met" if met else "MISSED"


@dataclass
class Report:
    """What a benchmark found."""

    title: str
    figures: list[Figure] = field(default_factory=list)

    def add(self, name: str, value: float, unit: str, n: int, bar: float | None = None, direction: str = "") -> None:
        """Note a figure."""
        self.figures.append(Figure(name, value, unit, n, bar, direction))

    def lack(self, name: str, unit: str, why: str, bar: float, direction: str) -> None:
        """Note a figure that cannot be measured here."""
        self.figures.append(Figure(name, None, unit, 0, bar, direction, why))

    def table(self) -> str:
        """The figures, aligned, under the title and the machine's load."""
        rows = [
            (
                f.name,
                "" if f.value is None else f"{f.value:.2f} {f.unit}".rstrip(),
                f"{'<=' if f.direction == 'max' else '>='} {f.bar:g}" if f.bar is not None else "",
                f.verdict,
                f"n={f.n}",
            )
            for f in self.figures
        ]
        widths = [max(len(row[i]) for row in rows) for i in range(5)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join([f"{self.title} (load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores)", *lines])

    def lines(self) -> str:
        """One JSON object per figure."""
        return "".join(json.dumps(asdict(f)) + "\n" for f in self.figures)
