"""Whether two engines think alike: the same greedy text up to the first near tie, with log-probabilities within a tolerance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.bench.engine.client import Call
from tests.bench.engine.peers import Ours
from tests.bench.engine.traffic import Pool

TOLERANCE = 0.5  # natural logs. Other batch shapes and cells change a logit by up to 0.35 (reference/engine.md, 3.7)
TOKENS = 24
PROBES = 6


@dataclass(frozen=True, slots=True)
class Step:
    """One token of an answer. margin: how far the best token is ahead of the second."""

    token: str
    logprob: float
    margin: float


@dataclass(frozen=True, slots=True)
class Agreement:
    """compared: tokens up to the first near tie or the end; difference: the largest between log-probabilities; problem: what is wrong, or empty."""

    compared: int
    difference: float
    problem: str = ""


async def probe(server: Ours, model: str, pool: Pool) -> list[list[Step]]:
    """Answers to some prompts of the pool: texts to continue and holes to fill."""
    calls = [Call("/v1/completions", {"prompt": text}) for text in pool.texts[: PROBES // 2]]
    calls += [Call("/v1/completions", {"prompt": hole.prefix, "suffix": hole.suffix}) for hole in pool.holes[: PROBES // 2]]
    found = []
    for call in calls:
        reply = await server.call(Call(call.path, {"model": model, "max_tokens": TOKENS, "temperature": 0, "logprobs": 5, **(call.body or {})}))
        if not reply.ok:
            raise ConnectionError(f"probe: {reply.status} {reply.error}")
        found.append(steps(reply.body["choices"][0]["logprobs"]))
    return found


def steps(table: dict[str, Any]) -> list[Step]:
    """From OpenAI's table of log-probabilities."""
    found = []
    for token, logprob, top in zip(table["tokens"], table["token_logprobs"], table["top_logprobs"], strict=True):
        best, second = sorted(top.values(), reverse=True)[:2]
        found.append(Step(token, logprob, best - second))
    return found


def compare(mine: Sequence[Step], theirs: Sequence[Step]) -> Agreement:
    """Step by step, until they differ at a near tie."""
    largest = 0.0
    for place, (a, b) in enumerate(zip(mine, theirs, strict=False)):
        if a.token != b.token:
            if min(a.margin, b.margin) < TOLERANCE:
                return Agreement(place, largest)
            return Agreement(place, largest, f"token {place}: {a.token!r} and {b.token!r} with margins {a.margin:.2f} and {b.margin:.2f}")
        largest = max(largest, abs(a.logprob - b.logprob))
        if largest >= TOLERANCE:
            return Agreement(place, largest, f"token {place}, {a.token!r}: log-probabilities {a.logprob:.2f} and {b.logprob:.2f}")
    return Agreement(min(len(mine), len(theirs)), largest)
