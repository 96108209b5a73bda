"""Measures at first load what steps cost on this machine, for the choice of models, the prompt budgets, the scheduler and the drafts."""

from __future__ import annotations

import time

from qwencoder_lsp.engine.binding import Context
from qwencoder_lsp.engine.costs import Costs

ENOUGH_S = 4.0  # the order is by use; what is not measured in this time is filled in from the shapes of the curves, and by later steps
ROWS = (
    *((1, 1), (1, 1), (1, 1), (1, 1), (48, 1), (8, 8), (32, 32), (16, 16), (64, 64), (4, 4), (128, 1)),
    *((8, 8), (32, 32), (16, 16), (64, 64), (4, 4), (128, 1), (1, 1), (1, 1), (16, 1), (32, 1), (2, 2)),
)  # drafts twice: one disturbed step would keep a size from ever being tried, and so from being corrected
STEEPEST = 1.3  # times the usual shape


def measure(context: Context, costs: Costs) -> None:
    """Fill the curves with the best of each, after a short warm-up. Leaves the memory empty."""
    most = max(rows for rows, _ in ROWS)
    text = context.vocabulary.tokenize("def add(left, right):\n    return left + right\n\n\n" * 24)
    text = (text * (1 + most // len(text)))[:most]
    _run(context, text, context.n_outputs, context.n_outputs)  # the memory for logits is touched for the first time
    best: dict[tuple[int, int], float] = {}
    deadline = time.perf_counter() + ENOUGH_S
    for rows, outputs in ROWS:
        if time.perf_counter() > deadline and {(1, 1), (48, 1)} <= best.keys():
            break
        best[rows, outputs] = min(_run(context, text, rows, outputs), best.get((rows, outputs), float("inf")))
    usual = Costs([(1, 1, best[1, 1])])
    for (rows, outputs), ms in best.items():  # others may have used the cores in just this step; the curve is nowhere much steeper than usual
        costs.measured(rows, outputs, min(ms, STEEPEST * usual.table(rows, outputs)))


def _run(context: Context, text: list[int], rows: int, outputs: int) -> float:
    """Milliseconds of one step."""
    context.batch.clear()
    context.batch.add(text[:rows], 0, 0, outputs)
    start = time.perf_counter()
    context.decode()
    elapsed = (time.perf_counter() - start) * 1000
    context.truncate(0, 0)
    return elapsed
