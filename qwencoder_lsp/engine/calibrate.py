"""How fast this model is on this machine: what the choice of models and the prompt budgets go by."""

from __future__ import annotations

import time

from qwencoder_lsp.engine.binding import Context

PREFILL, DECODE = 48, 12


def measure(context: Context) -> tuple[float, float]:
    """(prefill tokens per second over 48 tokens, decode tokens per second), after a short warm-up. Leaves the memory empty.

    The best decode step counts, because others may be using the cores; the gateway raises both figures when real requests turn out faster.
    """
    context.arm()
    text = context.vocabulary.tokenize("def add(left, right):\n    return left + right\n\n\n" * 8)[: PREFILL + DECODE + 8]
    _run(context, text, 0, 8)
    prefill = _run(context, text, 8, PREFILL)
    step = min(_run(context, text, i, 1) for i in range(8 + PREFILL, 8 + PREFILL + DECODE))
    context.truncate(0, 0)
    return PREFILL / prefill, 1 / step


def _run(context: Context, text: list[int], position: int, count: int) -> float:
    """Seconds for `count` tokens from `position`."""
    start = time.perf_counter()
    context.decode(text[position : position + count], position, 0, logits=True)
    return time.perf_counter() - start
