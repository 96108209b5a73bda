"""The thread controller against simple machines."""

from __future__ import annotations

from collections.abc import Callable

from qwencoder_lsp.engine.threads import ThreadController


def drive(controller: ThreadController, ratio: Callable[[int], float], steps: int, start_s: float = 0.0) -> list[int]:
    """The number of threads of each step; a step takes 30 ms times its ratio."""
    now, used = start_s, []
    for _ in range(steps):
        used.append(controller.count)
        found = ratio(controller.count)
        now += 0.03 * found
        controller.observe(found, now)
    return used


def quiet(threads: int) -> float:
    return {1: 1.5, 2: 1.0, 4: 0.8, 8: 0.7}[threads]


def two_busy_programs(threads: int) -> float:
    """On two cores: the threads wait for each other."""
    return {1: 1.8, 2: 3.1}[threads]


def test_all_threads_compute_on_a_quiet_machine() -> None:
    assert set(drive(ThreadController(2), quiet, 300)) == {2}


def test_a_busy_machine_gets_fewer_threads_within_a_few_steps() -> None:
    used = drive(ThreadController(2), two_busy_programs, 400)
    assert used.index(1) <= 4
    assert used[8:].count(2) <= 0.1 * len(used), "trials of more threads are rare"


def test_when_the_others_are_done_all_threads_come_back() -> None:
    controller = ThreadController(2)
    drive(controller, two_busy_programs, 200)
    used = drive(controller, quiet, 1200, start_s=10.0)
    assert used[-1] == 2


def test_a_slow_step_that_fewer_threads_do_not_help_leaves_them_all_but_for_rare_trials() -> None:
    used = drive(ThreadController(2), lambda n: {1: 3.4, 2: 2.2}[n], 1500)
    assert used.count(1) <= 0.1 * len(used)


def test_a_step_that_is_slow_though_nobody_took_a_core_changes_nothing() -> None:
    controller = ThreadController(2)
    for i in range(50):
        controller.observe(2.0, i * 0.05, displaced=False)
        assert controller.count == 2


def test_one_thread_is_never_less_than_one() -> None:
    assert set(drive(ThreadController(1), lambda _: 5.0, 50)) == {1}
