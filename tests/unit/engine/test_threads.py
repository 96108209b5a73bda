"""How the number of threads follows what other programs use."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from qwencoder_lsp.engine.threads import WINDOW_S, ForeignLoad, ThreadController


def settled(controller: ThreadController, foreign: float) -> int:
    for _ in range(3):
        controller.observe(foreign)
    return controller.count


def test_all_threads_compute_on_a_quiet_machine() -> None:
    assert settled(ThreadController(2, 2), 0.1) == 2


def test_each_busy_program_takes_a_thread_away_and_gives_it_back_when_it_ends() -> None:
    controller = ThreadController(8, 8)
    assert settled(controller, 3.0) == 5
    assert settled(controller, 0.0) == 8


def test_one_thread_is_always_left() -> None:
    assert settled(ThreadController(2, 2), 2.0) == 1


def test_half_a_core_of_others_changes_nothing_in_either_direction() -> None:
    controller = ThreadController(2, 2)
    assert settled(controller, 0.6) == 2
    assert settled(controller, 1.2) == 1
    assert settled(controller, 0.4) == 1


def test_cores_beyond_the_wanted_threads_are_there_for_others() -> None:
    assert settled(ThreadController(8, 16), 7.0) == 8


def test_others_are_counted_and_own_work_is_not() -> None:
    seen = []
    for _ in range(5):  # other programs come and go between the two measurements
        seen.append((_foreign(lambda: _spin(WINDOW_S * 2)), _beside_a_busy_program()))
        if seen[-1][1] > seen[-1][0] + 0.3:
            return
    if min(alone for alone, _ in seen) > ForeignLoad().cores - 1:
        pytest.skip(f"other programs use all cores of this machine: one more cannot be told from them ({seen})")
    pytest.fail(f"cores used by others while this process computed, and beside a busy program: {seen}")


def _beside_a_busy_program() -> float:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:
        time.sleep(WINDOW_S)
        foreign = _foreign(lambda: time.sleep(WINDOW_S * 2))
        other.kill()
    return foreign


def _foreign(doing: Callable[[], None]) -> float:
    load = ForeignLoad()
    doing()
    foreign = load.poll()
    assert foreign is not None
    return foreign


def test_nothing_is_told_before_there_is_something_to_tell() -> None:
    assert ForeignLoad().poll() is None


def _spin(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_the_machine_is_busy_when_others_use_about_all_cores() -> None:
    controller = ThreadController(2, 2)
    for foreign, busy in ((0.0, False), (1.2, False), (1.8, True), (0.3, False)):
        controller.observe(foreign)
        assert controller.busy is busy
