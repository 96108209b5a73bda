"""How fast this model is on this machine: what the choice of models and the prompt budgets go by."""

from __future__ import annotations

import time

from qwencoder_lsp.engine.binding import Context

PREFILL, DECODE = 48, 12


def measure(context: Context) -> tuple[float, float]:
    """(prefill tokens per second over 48 tokens, decode tokens per second over 12), after a short warm-up. Leaves the memory empty."""
    context.arm()
    text = context.vocabulary.tokenize("def add(left, right):\n    return left + right\n\n\n" * 8)[: PREFILL + DECODE + 8]
    context.decode(text[:8], 0, 0, logits=True)
    start = time.perf_counter()
    context.decode(text[8 : 8 + PREFILL], 8, 0, logits=True)
    middle = time.perf_counter()
    for i in range(8 + PREFILL, 8 + PREFILL + DECODE):
        context.decode(text[i : i + 1], i, 0, logits=True)
    end = time.perf_counter()
    context.truncate(0, 0)
    return PREFILL / (middle - start), DECODE / (end - middle)
