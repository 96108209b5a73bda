"""What a scenario is, and how its repeats are run: one side after the other, in turn, each only when nobody computes."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.bench.engine.corpus import Corpus
from tests.bench.engine.peers import Ours, Peer, Server
from tests.bench.engine.processes import busy_seconds, processor_seconds, tree
from tests.bench.engine.stats import Statistic, median

ATTEMPTS = 3
VISIT_S = 600.0  # a visit that takes longer does not do what it should
QUIET_CORES = 0.15


class Void(Exception):
    """The prompts of this visit did not lead to the situation that is to be measured."""


@dataclass(slots=True)
class Outcome:
    """What one visit measured. samples: per metric. base: the same of what it is compared with, where one visit yields both.

    texts: answers that both sides should agree on. facts: figures worth knowing, per name.
    """

    samples: dict[str, list[float]] = field(default_factory=dict)
    base: dict[str, list[float]] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)
    facts: dict[str, list[float]] = field(default_factory=dict)

    def fact(self, **values: float) -> None:
        """Note figures."""
        for name, value in values.items():
            self.facts.setdefault(name, []).append(float(value))


@dataclass(frozen=True, slots=True)
class Metric:
    """A row of the table. less: whether less is better. A bar is for the ratio in which more is better; None: no bar.

    lower_bound: the bar is for the lower end of the interval instead of the ratio itself.
    """

    row: str
    name: str
    unit: str
    bar_default: float | None
    bar_tuned: float | None = None
    less: bool = True
    statistic: Statistic = median
    lower_bound: bool = False


@dataclass(frozen=True, slots=True)
class Lab:
    """What all scenarios share. peer: llama-server; llama-bench stands beside it. patience: seconds to wait for others before each visit."""

    model: Path
    peer: Path
    home: Path
    corpus: Corpus
    repeats: int
    seed: int = 0
    patience: float = 0.0

    @property
    def log(self) -> Path:
        """Where the peers' output goes."""
        return self.home / "peer.log"


@dataclass(frozen=True, slots=True)
class Visit:
    """One repeat on one side. role: "ours", "default" or "tuned"."""

    lab: Lab
    server: Server
    scenario: str
    role: str
    repeat: int
    attempt: int

    def key(self, *more: object) -> tuple[object, ...]:
        """Names this repeat's prompts: the same for every role."""
        return (self.scenario, self.lab.seed, self.repeat, self.attempt, *more)

    def text(self, tokens: int, *more: object) -> str:
        """Fresh source text."""
        return self.lab.corpus.text(tokens, *self.key(*more))


@dataclass(frozen=True, slots=True)
class Scenario:
    """peers: whether the bases are llama-servers ("default" as it is, "tuned" with `tuned`); otherwise "default" is our own server or the library.

    both: flags for both peers. env: settings of ours that the scenario is about. base: whether there is something to compare with at all.
    """

    name: str
    rows: tuple[Metric, ...]
    visit: Callable[[Visit], Awaitable[Outcome]]
    peers: bool = True
    tuned: tuple[str, ...] = ()
    both: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    base: bool = True

    @property
    def roles(self) -> tuple[str, ...]:
        """The sides, in the order in which each repeat visits them."""
        return ("ours", "default", "tuned") if self.peers else ("ours", "default") if self.base else ("ours",)


@dataclass(slots=True)
class Results:
    """The outcomes of each role, one per repeat; load: cores that strangers used during each visit; failure: why there is nothing."""

    outcomes: dict[str, list[Outcome]] = field(default_factory=dict)
    load: list[float] = field(default_factory=list)
    voids: int = 0
    failure: str = ""


async def run(scenario: Scenario, lab: Lab) -> Results:
    """All repeats. What goes wrong is noted in the results; the other scenarios go on."""
    results = Results({role: [] for role in scenario.roles})
    try:
        async with AsyncExitStack() as stack:
            servers = await _servers(scenario, lab, stack)
            for repeat in range(lab.repeats):
                for role in scenario.roles:
                    outcome = await _measured(scenario, lab, servers, role, repeat, results)
                    results.outcomes[role].append(outcome)
                    if outcome.base:
                        results.outcomes.setdefault("default", []).append(Outcome(outcome.base))
    except Exception as error:
        results.failure = f"{type(error).__name__}: {error}".removesuffix(": ")
        say(f"{scenario.name}: {results.failure}")
    return results


async def _servers(scenario: Scenario, lab: Lab, stack: AsyncExitStack) -> dict[str, Server]:
    """One per role, resident and warm but idle. Roles that are compared with ourselves share ours."""
    ours: Server = await Ours.start(lab.model, lab.home, scenario.env)
    stack.push_async_callback(ours.stop)
    await ours.warm()
    servers = dict.fromkeys(scenario.roles, ours)
    if scenario.peers:
        for role, flags in (("default", scenario.both), ("tuned", (*scenario.both, *scenario.tuned))):
            servers[role] = await Peer.start(lab.peer, lab.model, flags, lab.log)
            stack.push_async_callback(servers[role].stop)
            await servers[role].warm()
    return servers


async def _measured(scenario: Scenario, lab: Lab, servers: dict[str, Server], role: str, repeat: int, results: Results) -> Outcome:
    for attempt in range(ATTEMPTS):
        await _quiet(servers, lab.patience)
        meter = Meter(servers)
        try:
            visit = Visit(lab, servers[role], scenario.name, role, repeat, attempt)
            outcome = await asyncio.wait_for(scenario.visit(visit), VISIT_S)
        except Void as reason:
            results.voids += 1
            say(f"{scenario.name} {repeat + 1}/{lab.repeats} {role}: once more ({reason})")
            continue
        strangers = meter.strangers()
        results.load.append(strangers)
        say(f"{scenario.name} {repeat + 1}/{lab.repeats} {role}: {_summary(outcome)} (load {os.getloadavg()[0]:.1f}, strangers {strangers:.2f})")
        return outcome
    raise RuntimeError(f"no valid measurement in {ATTEMPTS} attempts")


async def _quiet(servers: dict[str, Server], patience: float) -> None:
    """Wait until no server computes, and for at most `patience` seconds until nobody else does."""
    deadline = time.monotonic() + patience
    while True:
        strangers = max([await server.settle() for server in dict.fromkeys(servers.values())])
        if strangers < QUIET_CORES or time.monotonic() > deadline:
            return


class Meter:
    """How many cores strangers use, from now on: all processor time but that of the servers, of this process and of its children."""

    def __init__(self, servers: dict[str, Server]) -> None:
        self._roots = [root for server in dict.fromkeys(servers.values()) for root in server.roots]
        self._start, self._others = time.monotonic(), self._used()

    def strangers(self) -> float:
        """The mean since the start."""
        return max(0.0, self._used() - self._others) / (time.monotonic() - self._start)

    def _used(self) -> float:
        return busy_seconds() - sum(os.times()[:4]) - processor_seconds(tree(*self._roots))


def _summary(outcome: Outcome) -> str:
    return ", ".join(f"{name} {median(values):.4g}" for name, values in outcome.samples.items() if values)


def say(text: str) -> None:
    """Progress, for whoever watches."""
    print(time.strftime("%H:%M:%S"), text, file=sys.stderr, flush=True)


def expect(reply: Any) -> Any:
    """The reply, if it is one. Raises ConnectionError."""
    if not reply.ok:
        raise ConnectionError(f"status {reply.status}, {reply.code} {reply.error}".strip())
    return reply
