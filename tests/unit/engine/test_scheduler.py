"""Which rows a step holds. Requests are real, their sequences only lengths."""

from __future__ import annotations

import numpy as np

from qwencoder_lsp.engine.costs import TILE, Costs
from qwencoder_lsp.engine.job import Job
from qwencoder_lsp.engine.kvpool import Sequence
from qwencoder_lsp.engine.protocol import Generate, Priority
from qwencoder_lsp.engine.scheduler import BETWEEN_KEYS_MS, MAX_ABORTS, STREAM_MS, Plan, Scheduler

COSTS = ((1, 1, 25.0), (8, 8, 100.0), (64, 1, 440.0), (128, 1, 650.0), (256, 1, 1200.0), (512, 1, 2300.0))
FAST = ((1, 1, 18.0), (8, 8, 76.0), (16, 1, 95.0), (64, 1, 250.0), (128, 1, 505.0))
_ids = iter(range(1, 1_000_000))


def job(
    prompt: int, computed: int = 0, priority: Priority = Priority.CHAT, *, lane: str = "bulk", reading: bool = False, waited_ms: float = 0.0
) -> Job:
    """A request with `computed` of its `prompt` tokens in the KV memory; `reading`: its first token is out."""
    number = next(_ids)
    made = Job(Generate(number, tuple(range(prompt)), 100, priority=priority, lane=lane), number, lambda _: b"x")
    made.sequence = Sequence(number, np.arange(computed, dtype=np.int32))
    made._first = 1.0 if reading else 0.0
    made.arrived_ms -= waited_ms
    return made


def scheduler(*, can_abort: bool = True) -> Scheduler:
    return Scheduler(Costs(COSTS), max_rows=2048, max_outputs=64, can_abort=can_abort)


def chunk(plan: Plan | None) -> int:
    assert plan
    return sum(count for _, count in plan.prefill)


def test_without_requests_there_is_nothing_to_do() -> None:
    assert scheduler().plan([]) is None


def test_a_completion_holds_back_chats_and_reviews() -> None:
    typing = job(100, priority=Priority.TYPING, lane="typing")
    plan = scheduler().plan([job(50, 49, reading=True), job(300, priority=Priority.REVIEW), typing])
    assert plan
    assert plan.jobs == [typing]


def test_all_that_generate_share_a_step() -> None:
    jobs = [job(50, 49, reading=True) for _ in range(3)]
    plan = scheduler().plan(jobs)
    assert plan
    assert plan.decode == jobs


def test_rows_of_one_step_were_and_are_computed_under_the_same_adapters_and_each_set_has_its_turn() -> None:
    jobs = [job(50, 49, reading=True) for _ in range(4)] + [job(300)]
    for i, each in enumerate(jobs):
        each.root = b"%d" % (i % 2)
    turns = []
    for now in range(1, 3):
        plan = scheduler().plan(jobs)
        assert plan
        assert len({j.root for j in plan.jobs}) == 1
        turns.append(plan.jobs[0].root)
        for each in plan.jobs:
            each.stepped_ms = float(now)
    assert sorted(turns) == [b"0", b"1"]


def test_a_prompt_that_comes_while_somebody_reads_is_cut_to_the_budget_of_a_step() -> None:
    s = scheduler()
    plan = s.plan([job(50, 49, reading=True), job(1700)])
    assert plan
    assert len(plan.decode) == 1
    assert 16 <= chunk(plan) < 64
    assert Costs(COSTS).table(plan.rows) <= STREAM_MS


def test_behind_a_long_prefix_a_step_is_one_whole_tile() -> None:
    plan = Scheduler(Costs(FAST), max_rows=2048, max_outputs=64, can_abort=True).plan([job(50, 49, reading=True), job(3000, 1500)])
    assert plan
    assert plan.rows == TILE


def test_beside_many_short_streams_a_step_stays_below_a_tile() -> None:
    readers = [job(340, 339, reading=True) for _ in range(7)]
    plan = Scheduler(Costs(FAST), max_rows=2048, max_outputs=64, can_abort=True).plan([*readers, job(1700)])
    assert plan
    assert plan.rows == TILE - 1


def test_on_a_loaded_machine_the_chunk_is_smaller() -> None:
    costs = Costs(COSTS)
    costs.load = 2.0
    loaded = Scheduler(costs, max_rows=2048, max_outputs=64, can_abort=True)
    jobs = [job(50, 49, reading=True), job(1700)]
    assert chunk(loaded.plan(jobs)) < chunk(scheduler().plan(jobs))


def test_more_waiting_prompts_than_readers_make_the_step_longer() -> None:
    reader = job(50, 49, reading=True)
    few, many = [reader, job(1700)], [reader, *(job(1700) for _ in range(4))]
    assert chunk(scheduler().plan(many)) > chunk(scheduler().plan(few))


def test_a_lone_completion_computes_its_whole_prompt_where_a_step_can_be_broken_off() -> None:
    typing = [job(1500, priority=Priority.TYPING, lane="typing")]
    assert chunk(scheduler().plan(typing)) == 1500
    assert chunk(scheduler(can_abort=False).plan(typing)) < 64


def test_the_shortest_prompt_goes_first_until_a_longer_one_has_waited_long_enough() -> None:
    long, short = job(1500), job(40)
    plan = scheduler().plan([long, short])
    assert plan
    assert plan.prefill[0][0] is short
    aged = job(1500, waited_ms=60_000)
    plan = scheduler().plan([aged, job(40)])
    assert plan
    assert plan.prefill[0][0] is aged


def test_a_step_is_stretched_a_little_where_that_finishes_a_prompt() -> None:
    s = scheduler()
    whole = chunk(s.plan([job(2000)]))
    assert chunk(s.plan([job(int(whole * 1.2))])) == int(whole * 1.2)
    assert chunk(s.plan([job(int(whole * 1.4))])) <= whole


def test_no_step_has_more_rows_than_fit() -> None:
    plan = scheduler().plan([job(2400, priority=Priority.TYPING, lane="typing")])
    assert plan
    assert plan.rows <= 2048


def test_a_chat_goes_before_a_review_that_came_a_little_earlier() -> None:
    review, chat = job(300, priority=Priority.REVIEW, waited_ms=500), job(300)
    plan = scheduler().plan([review, chat])
    assert plan
    assert plan.prefill[0][0] is chat


def test_several_short_prompts_fit_into_one_step() -> None:
    plan = scheduler().plan([job(43) for _ in range(4)])
    assert plan
    assert len(plan.prefill) == 4


def test_what_is_held_back_gets_its_share_in_the_end_and_is_not_broken_off_then() -> None:
    s = scheduler()
    jobs = [job(100, 99, Priority.TYPING, lane="typing"), job(50, 49, reading=True)]
    levels = []
    for _ in range(200):
        plan = s.plan(jobs)
        assert plan
        levels.append(plan.level)
        if plan.level:
            assert plan.patient
        s.account(plan, 25.0, held_back=plan.level == 0)
    assert 0.03 < levels.count(1) / len(levels) < 0.07


def test_what_runs_between_two_keys_is_owed_no_share_while_the_next_one_is_answered() -> None:
    s = scheduler()
    typing, review = job(100, 99, Priority.TYPING, lane="typing"), job(50, 49, Priority.REVIEW, reading=True)
    for _ in range(50):
        for _ in range(12):
            plan = s.plan([typing, review])
            assert plan
            assert plan.level == 0
            s.account(plan, 25.0, held_back=True)
        plan = s.plan([review])
        assert plan
        s.account(plan, 25.0, held_back=False)


def test_while_somebody_types_steps_of_a_review_are_short() -> None:
    s = scheduler()
    review = job(1700, priority=Priority.REVIEW)
    quiet = chunk(s.plan([review]))
    s.plan([job(100, 99, Priority.TYPING, lane="typing"), review])
    assert 16 <= chunk(s.plan([review])) < quiet / 3


def test_while_somebody_types_what_a_review_guesses_or_is_forced_to_say_makes_no_long_step() -> None:
    s = scheduler()
    review = job(50, 49, Priority.REVIEW, reading=True)
    quiet = s.plan([review])
    assert quiet
    assert quiet.spare == quiet.limit == 63
    s.plan([job(100, 99, Priority.TYPING, lane="typing"), review])
    plan = s.plan([review])
    assert plan
    assert 0 < plan.limit == plan.spare < 16
    assert Costs(COSTS).draft(1 + plan.spare) <= BETWEEN_KEYS_MS


def test_a_step_that_took_more_than_the_share_is_paid_before_the_next_one() -> None:
    s = scheduler()
    jobs = [job(100, 99, Priority.TYPING, lane="typing"), job(50, 49, Priority.REVIEW, reading=True)]
    ms = {0: 0.0, 1: 0.0}
    for _ in range(1000):
        plan = s.plan(jobs)
        assert plan
        took = 150.0 if plan.level else 25.0
        ms[plan.level] += took
        s.account(plan, took, held_back=plan.level == 0)
    assert 0.03 < ms[1] / (ms[0] + ms[1]) < 0.07


def test_background_work_waits_for_chats_but_is_not_starved_by_them() -> None:
    s = scheduler()
    jobs = [job(50, 49, reading=True), job(50, 49, Priority.BACKGROUND)]
    levels = []
    for _ in range(200):
        plan = s.plan(jobs)
        assert plan
        levels.append(plan.level)
        s.account(plan, 25.0, held_back=plan.level == 1)
    assert 0 < levels.count(2) < levels.count(1) / 10


def test_one_lane_does_not_starve_the_other_on_the_same_level() -> None:
    s = scheduler()
    one, two = job(50, 49, reading=True), job(50, 49, lane="typing", reading=True)
    lanes = []
    for i in range(10):
        plan = s.plan([one, two])
        assert plan
        lanes.append(plan.lane)
        for j in plan.jobs:
            j.stepped_ms = float(i + 1)
    assert lanes.count("bulk") == lanes.count("typing") == 5


def test_a_request_whose_steps_were_broken_off_often_is_left_to_finish_one() -> None:
    unlucky = job(300)
    unlucky.aborts = MAX_ABORTS
    plan = scheduler().plan([unlucky])
    assert plan
    assert plan.patient


def test_a_short_prompt_goes_ahead_of_many_who_read_but_not_twice_in_a_row() -> None:
    s = scheduler()
    readers = [job(50, 49, reading=True) for _ in range(20)]
    first, second = job(12), job(12)
    plan = s.plan([*readers, first])
    assert plan
    assert plan.jobs == [first]
    s.account(plan, 100.0, held_back=False)
    plan = s.plan([*readers, second])
    assert plan
    assert plan.decode == readers
    assert [j for j, _ in plan.prefill] == [second]
    s.account(plan, 300.0, held_back=False)
    plan = s.plan([*readers, job(12)])
    assert plan
    assert not plan.decode


def test_a_prompt_does_not_go_ahead_of_one_reader_nor_before_its_last_step() -> None:
    for readers, prompt in ((1, 12), (20, 400)):
        plan = scheduler().plan([*(job(50, 49, reading=True) for _ in range(readers)), job(prompt)])
        assert plan
        assert len(plan.decode) == readers, (readers, prompt)
        assert plan.prefill


def test_guesses_are_allowed_for_one_or_two_readers_only() -> None:
    for readers, allowed in ((1, True), (2, True), (3, False)):
        plan = scheduler().plan([job(50, 49, reading=True) for _ in range(readers)])
        assert plan
        assert (plan.limit > 0) is allowed


def test_no_step_has_more_rows_with_logits_than_fit() -> None:
    plan = scheduler().plan([job(50, 49, reading=True) for _ in range(80)])
    assert plan
    assert len(plan.decode) <= 64
