"""Measures at first load what steps cost on this machine, for the choice of models, the prompt budgets, the scheduler and the drafts."""

from __future__ import annotations

import time

from qwencoder_lsp.engine.binding import Context
from qwencoder_lsp.engine.costs import Costs, shape

ENOUGH_S = 4.0  # the order is by use; what is not measured in this time is filled in from the shape of the curve, and by later steps
STEEPEST = 1.5  # times the usual shape
ROWS = (1, 1, 1, 1, 1, 1, 48, 4, 8, 16, 2, 32, 64, 12, 24, 128, 1, 1, 1, 1, 8, 16, 32, 4, 256)


def measure(context: Context, costs: Costs) -> None:
    """Fill the table with the best of each, after a short warm-up. Leaves the memory empty."""
    text = context.vocabulary.tokenize("def add(left, right):\n    return left + right\n\n\n" * 24)
    text = (text * (1 + max(ROWS) // len(text)))[: max(ROWS)]
    _run(context, text, 8)
    best: dict[int, float] = {}
    deadline = time.perf_counter() + ENOUGH_S
    for rows in ROWS:
        if time.perf_counter() > deadline and {1, 48} <= best.keys():
            break
        best[rows] = min(_run(context, text, rows), best.get(rows, float("inf")))
    for rows, ms in best.items():  # others may have used the cores in just this step; the curve is nowhere much steeper than its shape
        costs.measured(rows, min(ms, STEEPEST * best[1] * shape(rows)))


def _run(context: Context, text: list[int], rows: int) -> float:
    """Milliseconds of one step."""
    context.batch.clear()
    context.batch.add(text[:rows], 0, 0, min(rows, context.n_outputs))
    start = time.perf_counter()
    context.decode()
    elapsed = (time.perf_counter() - start) * 1000
    context.truncate(0, 0)
    return elapsed
