"""What somebody sees while they type: which suggestion is on screen after which key, and what it was worth."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass(slots=True)
class Seen:
    """The suggestion that a key got before the next one came. after: seconds since the key; None when it got none. wait: until the next key."""

    wait: float
    after: float | None = None
    text: str = ""
    free: bool = False


@dataclass(slots=True)
class Screen:
    """Notes suggestions. `pressed` begins a key's turn; `show` is called by the policy, any number of times; the first one counts for the time, the
    last one for the text."""

    turns: list[Seen] = field(default_factory=list)
    _at: float = 0.0

    def pressed(self, wait: float) -> None:
        """A key was pressed; the next one comes in `wait` seconds."""
        self._at = time.perf_counter()
        self.turns.append(Seen(wait))

    def show(self, turn: int, text: str, *, free: bool = False) -> None:
        """A suggestion for the text after key `turn`; ignored when a later key has come. free: it took no model work."""
        if text and turn == len(self.turns) - 1:
            seen = self.turns[turn]
            if seen.after is None:
                seen.after, seen.free = time.perf_counter() - self._at, free
            seen.text = text


def kept(seen: str, typed: str) -> int:
    """How many of the shown characters the author typed then."""
    size = 0
    while size < min(len(seen), len(typed)) and seen[size] == typed[size]:
        size += 1
    return size


def quantile(turns: list[Seen], q: float) -> float:
    """The q-quantile of the time to a suggestion, with keys that got none before the next one censored there (Kaplan and Meier 1958); inf where
    too few got one."""
    times = sorted((t.after if t.after is not None else t.wait, t.after is None) for t in turns)
    at_risk, alive = len(times), 1.0
    for when, censored in times:
        if not censored:
            alive *= 1 - 1 / at_risk
            if 1 - alive >= q - 1e-12:
                return when
        at_risk -= 1
    return float("inf")
