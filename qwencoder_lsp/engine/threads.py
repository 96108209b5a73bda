"""How many threads compute: fewer while other programs use the cores.

llama.cpp's threads wait for each other after every operation; one that loses its core to another program holds up all. On two cores with two
other busy programs a token took 72 ms in the median and 244 at the 90th percentile with two threads, 43 and 70 with one (November 2026).
The controller is pure: steps in, a number of threads out.
"""

from __future__ import annotations

import time

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment, unused-ignore]

SLOW = 1.4  # times the expected cost; a step slower than that counts
PATIENCE = 3  # such steps in a row before another number of threads is tried
TRIAL_STEPS = 3
RETRY_S = 2.0  # after this time another number is tried again
MOST_RETRY_S = 32.0  # while trials fail they become rarer


def displacements() -> int:
    """How often the system has taken a core from a thread of this process; a large number each time where it does not tell."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw if resource else time.monotonic_ns()


class ThreadController:
    """Chooses among all, half, ... and one of `most` threads."""

    def __init__(self, most: int) -> None:
        self._choices = _halves(most)
        self._at = 0  # index into the choices
        self._slow = 0
        self._reference = 1.0  # how slow the steps were, over the expected cost, before the trial began
        self._trial: list[float] = []
        self._trial_from: int | None = None
        self._next_try = 0.0
        self._wait = RETRY_S
        self._recent = 1.0

    @property
    def count(self) -> int:
        """Threads to compute the next step with."""
        return self._choices[self._at]

    def observe(self, ratio: float, now_s: float, *, displaced: bool = True) -> None:
        """A step with `count` threads took `ratio` times the cost expected of all threads on a quiet machine. `now_s`: any monotonic clock.

        displaced: whether other programs took cores from it meanwhile; a step that is slow for another reason is none of fewer threads' business.
        """
        if self._trial_from is not None:
            self._trial.append(ratio)
            if len(self._trial) >= TRIAL_STEPS:
                self._judge(now_s)
            return
        self._recent += (ratio - self._recent) / 4
        self._slow = self._slow + 1 if ratio > SLOW and displaced else 0
        if self._slow >= PATIENCE and self._at < len(self._choices) - 1 and now_s >= self._next_try:
            self._begin(self._at + 1)
        elif self._at > 0 and now_s >= self._next_try:
            self._begin(self._at - 1)

    def _begin(self, at: int) -> None:
        self._trial_from, self._reference, self._trial = self._at, self._recent, []
        self._at = at
        self._slow = 0

    def _judge(self, now_s: float) -> None:
        assert self._trial_from is not None
        found = sorted(self._trial)[len(self._trial) // 2]
        if found < self._reference * 0.95:
            self._recent = found
            self._wait = RETRY_S
        else:
            self._at = self._trial_from
            self._wait = min(MOST_RETRY_S, self._wait * 2)
        self._next_try = now_s + self._wait
        self._trial_from = None


def _halves(most: int) -> list[int]:
    choices = [most]
    while choices[-1] > 1:
        choices.append(choices[-1] // 2)
    return choices
