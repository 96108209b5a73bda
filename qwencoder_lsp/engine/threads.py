"""How many threads compute: fewer while other programs use the cores.

llama.cpp's threads wait for each other after every operation; one that loses its core to another program holds up all. On two cores a token
took 49 ms with two threads and 29 with one beside one busy program, 63 and 32 beside two (November 2026).
"""

from __future__ import annotations

import os
import time

import psutil

WINDOW_S = 0.25  # times are counted in hundredths of a second
STALE_S = 1.0  # a mean over longer than that, since nothing was computed, says little about now
COMPANY = 2  # threads that are ready to run whenever a request has just come: ours, and whoever handed it over
MARGIN = 0.25  # cores by which the free ones must pass the middle between two numbers of threads


class ThreadController:
    """Chooses among 1 to `most` threads on `cores` cores. Pure: what others use goes in, a number comes out."""

    def __init__(self, most: int, cores: int) -> None:
        self._most, self._cores = most, cores
        self.count = most
        self.busy = False  # whether others use about all cores

    def observe(self, foreign: float) -> None:
        """Other programs used so many cores in the last moment."""
        self.busy = self._cores - foreign < 0.5
        free = min(float(self._most), self._cores - foreign)
        if abs(free - self.count) > 0.5 + MARGIN:
            self.count = max(1, min(self._most, int(free + 0.5)))


class ForeignLoad:
    """Measures what other programs use of the cores that this process may run on; those that yield to everybody (nice) do not count."""

    def __init__(self) -> None:
        self._own_cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
        self._at, self._busy = time.monotonic(), self._seconds()

    @property
    def cores(self) -> int:
        """How many there are."""
        return len(self._own_cores)

    def poll(self) -> float | None:
        """Cores used by others since the last answer; None until there is something to tell. Cheap to call at every step.

        After a rest it is how many threads of others want a core at this moment, where the system tells that.
        """
        now = time.monotonic()
        elapsed = now - self._at
        if elapsed < WINDOW_S:
            return None
        busy = self._seconds()
        foreign = max(0.0, busy - self._busy) / elapsed
        self._at, self._busy = now, busy
        return foreign if elapsed < STALE_S else max(0.0, _running() - COMPANY)

    def _seconds(self) -> float:
        every = psutil.cpu_times(percpu=True)
        used = sum(t.user + t.system + getattr(t, "steal", 0.0) for i in self._own_cores if i < len(every) for t in (every[i],))
        return float(used) - time.process_time()


def _running() -> float:
    """Threads of the whole system that run or are ready to; 0 where that is not known. Linux: proc_stat(5), procs_running."""
    try:
        with open("/proc/stat", encoding="ascii") as stat:  # noqa: PTH123 - plain read of a kernel file
            return next((float(line.split()[1]) for line in stat if line.startswith("procs_running")), 0.0)
    except OSError:
        return 0.0
