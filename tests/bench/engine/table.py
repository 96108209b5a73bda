"""Results as rows: ratios the way round in which more is better, their intervals, and whether they hold."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tests.bench.engine.scenario import Metric, Outcome, Results, Scenario
from tests.bench.engine.stats import Interval, median, p95, pooled, ratio_interval


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the report. The values are the row's statistic over all samples; n counts repeats."""

    name: str
    unit: str
    ours: float | None = None
    peer_default: float | None = None
    peer_tuned: float | None = None
    ratio_default: float | None = None
    ratio_tuned: float | None = None
    bar_default: float | None = None
    bar_tuned: float | None = None
    holds: bool = False
    interval_default: Interval | None = None
    interval_tuned: Interval | None = None
    p95: dict[str, float] | None = None
    n: int = 0
    facts: dict[str, Any] | None = None
    note: str = ""


def rows(scenario: Scenario, results: Results) -> list[Row]:
    """The scenario's rows; without figures where it failed."""
    return [_row(scenario, metric, results) for metric in scenario.rows]


def _row(scenario: Scenario, metric: Metric, results: Results) -> Row:
    if results.failure:
        return Row(metric.row, metric.unit, bar_default=metric.bar_default, bar_tuned=metric.bar_tuned, note=results.failure)
    samples = {role: [o.samples[metric.name] for o in outcomes] for role, outcomes in results.outcomes.items()}
    values = {role: pooled(found, metric.statistic) for role, found in samples.items()}
    ratios: dict[str, float] = {}
    intervals: dict[str, Interval] = {}
    for role in samples.keys() - {"ours"}:
        above, below = (samples[role], samples["ours"]) if metric.less else (samples["ours"], samples[role])
        ratios[role] = pooled(above, metric.statistic) / (pooled(below, metric.statistic) or 1e-9)
        intervals[role] = ratio_interval(above, below, metric.statistic)
    bars = {"default": metric.bar_default, "tuned": metric.bar_tuned}
    if not ratios:  # no base: the value itself is held against the bar
        ratios = {"default": values["ours"]} if not metric.less else {}
    judged = {role: intervals[role][0] if metric.lower_bound and role in intervals else value for role, value in ratios.items()}
    return Row(
        metric.row,
        metric.unit,
        values["ours"],
        values.get("default"),
        values.get("tuned"),
        ratios.get("default"),
        ratios.get("tuned"),
        metric.bar_default,
        metric.bar_tuned,
        all(role in judged and judged[role] >= bar for role, bar in bars.items() if bar is not None),
        intervals.get("default"),
        intervals.get("tuned"),
        {role: pooled(found, p95) for role, found in samples.items()},
        len(samples["ours"]),
        {role: _facts(outcomes) for role, outcomes in results.outcomes.items()},
        _note(scenario, results),
    )


def _facts(outcomes: Sequence[Outcome]) -> dict[str, float]:
    names = dict.fromkeys(name for outcome in outcomes for name in outcome.facts)
    return {name: median([value for o in outcomes for value in o.facts.get(name, [])]) for name in names}


def _note(scenario: Scenario, results: Results) -> str:
    parts = [f"tuned: {' '.join(scenario.tuned)}"] if scenario.peers and scenario.tuned else []
    parts += [f"both: {' '.join(scenario.both)}"] if scenario.both else []
    parts += [f"ours: {name}={value}" for name, value in scenario.env.items()]
    for role in ("default", "tuned"):
        if likeness := similarity(results, role):
            parts.append(f"text as {role}'s: {likeness:.0%}")
    read = {role: _facts(outcomes).get("prompt_tokens", 0) for role, outcomes in results.outcomes.items()}
    if all(read.values()) and max(read.values()) > 1.02 * min(read.values()):  # a server reads only a part of what it is sent
        parts.append("tokens read: " + ", ".join(f"{role} {count:.0f}" for role, count in read.items()))
    parts += [f"{results.voids} void" if results.voids else ""]
    if not scenario.peers and not scenario.base:
        parts += [f"{name} {value:.3g}" for name, value in _facts(results.outcomes["ours"]).items()]
    return "; ".join(filter(None, parts))


def similarity(results: Results, role: str) -> float:
    """How alike the texts of both sides are (1: equal); 0 when there are none."""
    pairs = [
        (mine, theirs)
        for ours, peer in zip(results.outcomes["ours"], results.outcomes.get(role, []), strict=False)
        for mine, theirs in zip(ours.texts, peer.texts, strict=False)
    ]
    return median([difflib.SequenceMatcher(None, mine, theirs, autojunk=False).ratio() for mine, theirs in pairs]) if pairs else 0.0


def table(found: Sequence[Row]) -> str:
    """For people."""
    head = ("scenario", "unit", "ours", "default", "tuned", "over default", "bar", "over tuned", "bar", "", "p95", "note")
    lines = [head, *(_line(row) for row in found)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines)


def _line(row: Row) -> tuple[str, ...]:
    return (
        row.name,
        row.unit,
        *(_number(value) for value in (row.ours, row.peer_default, row.peer_tuned)),
        _ratio(row.ratio_default, row.interval_default),
        _number(row.bar_default),
        _ratio(row.ratio_tuned, row.interval_tuned),
        _number(row.bar_tuned),
        "holds" if row.holds else "MISSED",
        " / ".join(_number(value) for value in (row.p95 or {}).values()),
        row.note,
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _ratio(value: float | None, interval: Interval | None) -> str:
    between = f" [{interval[0]:.2f}, {interval[1]:.2f}]" if interval else ""
    return "" if value is None else f"{value:.2f}{between}"


def as_json(found: Sequence[Row], raw: dict[str, Results], about: dict[str, Any]) -> str:
    """For programs: the rows, what they were measured on, and every sample."""
    samples = {
        name: {role: [asdict(outcome) for outcome in outcomes] for role, outcomes in results.outcomes.items()} for name, results in raw.items()
    }
    load = {name: {"strangers_median": median(results.load), "strangers_max": max(results.load)} for name, results in raw.items() if results.load}
    return json.dumps({"scenarios": [asdict(row) for row in found], "about": about, "load": load, "raw": samples}, indent=1) + "\n"
