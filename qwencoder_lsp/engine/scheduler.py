"""What the next step computes. Pure: requests and costs in, a plan out.

Requests stand on levels: completions somebody waits for while typing, then chats and reviews, then prefetching and indexing. While a level has
work, a step holds only its rows; what it holds back keeps its KV and is owed a share of the time, so that nothing starves.
Within a level all requests that generate get a row, and one chunk of prompts goes along, as much as the step's budget allows.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

from qwencoder_lsp.engine.costs import TILE, Costs
from qwencoder_lsp.engine.job import Job, now_ms
from qwencoder_lsp.engine.protocol import Priority

STREAM_MS = 350.0  # longest step while somebody reads along and one prompt waits
MOST_STREAM_FACTOR = 3.0  # times as long where several wait: small chunks compute a quarter fewer tokens per second
QUIET_MS = 1200.0  # longest step of a lower level while nobody reads along: a new request may wait that long
BETWEEN_KEYS_MS = 150.0  # longest step of a lower level while somebody types: a key waits for it, or what it breaks off was computed for nothing
TYPING_MS = 2000.0  # after a completion somebody is taken to type
PATIENT_MS = 150.0  # longest step that a keystroke has to wait for, because steps of a request in it were broken off too often
NO_ABORT_MS = 150.0  # longest step for a completion where a running step cannot be broken off
SHARE = 0.05  # of the time, for the levels that are held back
AHEAD_OF_SHARE_MS = 350.0  # at most so much of it is counted as taken in advance, when nothing held them back
SLACK = 2.0  # a prompt may be overtaken by shorter ones until it has waited this many times its own cost
CLASS_MS = {Priority.REVIEW: 5000.0}  # as if it had come so much later
MAX_ABORTS = 3  # a request whose steps were broken off so often is left to finish one
LEAST_CHUNK = 16  # rows
SIZES = (16, 24, 32, 40, 48, 56, TILE - 1)  # of a step with less than a tile
OVER = 1.7  # a step with a whole tile may be so much longer than its budget if
AS_FAST = 0.92  # of the best rate: then the larger step is taken
FASTER = 1.2  # it computes so many times as much of the prompt per millisecond
STRETCH = 1.25  # a step may be so much longer if that finishes a prompt: its answer begins a whole step earlier
AHEAD = 0.7  # prompts that end in a step go without the rows of those who generate if that takes at most so much of the time,
IN_TWO = 1.25  # and the two steps together at most so many times as long as one
SPECULATE_UP_TO = 2  # requests that generate at once: with more, each drafted row costs nearly as much as a step of its own


def level(priority: Priority) -> int:
    """0 for completions, 1 for chats and reviews, 2 for the background."""
    return 0 if priority <= Priority.EXPLICIT else 1 if priority <= Priority.REVIEW else 2


@dataclass(slots=True)
class Plan:
    """One step on one lane, under one root: its rows are computed under the same adapters.

    prefill: prompts with how many of their tokens. spare: most rows that what a constraint forces may add per request, limit: that a guess may.
    patient: it is not broken off for anything more urgent. ahead: those who generate wait for the next step.
    """

    lane: str
    level: int
    decode: list[Job] = field(default_factory=list)
    prefill: list[tuple[Job, int]] = field(default_factory=list)
    spare: int = 0
    limit: int = 0
    patient: bool = False
    ahead: bool = False

    @property
    def jobs(self) -> list[Job]:
        """All whose rows it holds."""
        return [*self.decode, *(job for job, _ in self.prefill)]

    @property
    def rows(self) -> int:
        """Without drafts."""
        return len(self.decode) + sum(count for _, count in self.prefill)


class Scheduler:
    """Makes plans, and keeps the account of what lower levels are owed. `max_rows` and `max_outputs` limit one step."""

    def __init__(self, costs: Costs, *, max_rows: int, max_outputs: int, can_abort: bool) -> None:
        self._costs = costs
        self._max_rows, self._max_outputs = max_rows, max_outputs
        self._can_abort = can_abort
        self._owed_ms = 0.0
        self._typed_ms = -TYPING_MS
        self._went_ahead = False

    def plan(self, jobs: Sequence[Job]) -> Plan | None:
        """The next step for `jobs`, which all have a sequence; None when there are none."""
        if not jobs:
            return None
        top = min(level(j.request.priority) for j in jobs)
        if top == 0:
            self._typed_ms = now_ms()
        lower = [j for j in jobs if level(j.request.priority) > top]
        if not lower:
            self._owed_ms = 0.0
        elif self._owed_ms >= self._least_ms(lower):
            plan = self._step(lower, self._owed_ms)
            plan.patient = True
            return plan
        return self._step([j for j in jobs if level(j.request.priority) == top], None)

    def account(self, plan: Plan, ms: float, *, held_back: bool) -> None:
        """The step took so long; `held_back`: lower levels waited meanwhile."""
        self._went_ahead = plan.ahead
        if plan.level > 0 and (plan.patient or not held_back):  # what runs between two keys is paid too
            self._owed_ms = max(-AHEAD_OF_SHARE_MS, self._owed_ms - ms)
        elif held_back:
            self._owed_ms += SHARE * ms

    def order(self, job: Job) -> float:
        """Waiting requests are served by this, smallest first: shortest first, but age counts."""
        cost = self._costs.table(max(1, min(job.remaining, self._max_rows))) * max(1.0, job.remaining / self._max_rows)
        return job.arrived_ms + SLACK * cost + CLASS_MS.get(job.request.priority, 0.0)

    def _least_ms(self, jobs: Sequence[Job]) -> float:
        decode = sum(1 for j in jobs if j.remaining <= 1)
        return self._costs.now(decode, decode) if decode else self._costs.now(LEAST_CHUNK)

    def _step(self, jobs: Sequence[Job], budget_ms: float | None) -> Plan:
        first = min(jobs, key=lambda j: (j.stepped_ms, j.arrival))
        here = [j for j in jobs if j.lane == first.lane and j.root == first.root]
        plan = Plan(first.lane, level(here[0].request.priority), patient=any(j.aborts >= MAX_ABORTS for j in here))
        plan.decode = [j for j in here if j.remaining <= 1 and j.generates][: self._max_outputs]
        waiting = sorted((j for j in here if j not in plan.decode), key=self.order)
        room = self._max_rows - len(plan.decode)
        outputs = self._max_outputs - len(plan.decode)
        if waiting:
            budget = self._budget(plan, len(waiting)) if budget_ms is None else budget_ms
            if plan.patient:
                budget = min(budget, PATIENT_MS)
            if budget < float("inf"):
                room = min(room, self._chunk(plan.decode, waiting[0], budget))
        for job in waiting:
            if room <= 0 or outputs <= 0:
                break
            count = min(job.remaining if job.remaining <= room * STRETCH else room, self._max_rows - plan.rows)
            if job.scoring:
                count = min(count, outputs)
            plan.prefill.append((job, count))
            room -= count
            outputs -= count if job.scoring else int(job.generates)
            if count < job.remaining:  # what room is left would make the next prompt's chunk too small to be worth a step's overhead
                break
        if plan.level > 0 and not self._went_ahead and self._should_go_ahead(plan):
            plan.decode, plan.ahead = [], True
        if plan.decode:
            plan.spare = self._drafted_rows(plan) // len(plan.decode)
            plan.limit = plan.spare if not plan.prefill and len(plan.decode) <= SPECULATE_UP_TO else 0
        return plan

    def _chunk(self, decode: Sequence[Job], job: Job, budget_ms: float) -> int:
        """How many rows of prompts, `job`'s first, to put beside the rows of `decode`: what computes fastest within the budget."""
        readers = len(decode)
        held = sum(j.computed for j in decode)
        best, best_rate = LEAST_CHUNK, 0.0
        for rows in (*SIZES, *range(TILE, self._max_rows + 1, TILE)):
            count = rows - readers
            if count < LEAST_CHUNK:
                continue
            own = job.computed + count
            attention = self._costs.attention(rows, held + count * (job.computed + count / 2), held + own, own)
            ms = self._costs.now(rows, readers + 1, attention)
            rate = count / ms
            fits = ms <= budget_ms or (rows == TILE and ms <= OVER * budget_ms and rate >= FASTER * best_rate)
            if not fits and best_rate:
                if rows > TILE:
                    break
                continue
            if rate >= AS_FAST * best_rate:
                best, best_rate = count, max(rate, best_rate)
        return best

    def _drafted_rows(self, plan: Plan) -> int:
        """How many rows drafts may add to a step that generates."""
        most = min(self._max_outputs, self._max_rows)
        if self._between_keys(plan):
            most = bisect_right(range(1, most + 1), BETWEEN_KEYS_MS, key=lambda rows: self._costs.now(rows, rows))
        return max(0, most - len(plan.decode))

    def _should_go_ahead(self, plan: Plan) -> bool:
        """Whether prompts that end in this step are answered so much sooner alone that those who generate may wait: a first token is waited for, a
        later one is read."""
        if not plan.decode or not plan.prefill or any(count < job.remaining for job, count in plan.prefill):
            return False
        prompts, readers = len(plan.prefill), len(plan.decode)
        alone = self._costs.now(plan.rows - readers, prompts)
        both = self._costs.now(plan.rows, prompts + readers)
        return alone <= AHEAD * both and alone + self._costs.now(readers, readers) <= IN_TWO * both

    def _budget(self, plan: Plan, waiting: int) -> float:
        readers = sum(1 for j in plan.decode if j.streaming)
        if self._between_keys(plan):
            return BETWEEN_KEYS_MS
        if readers:
            return STREAM_MS * min(MOST_STREAM_FACTOR, waiting)
        if plan.level == 0:
            return float("inf") if self._can_abort else NO_ABORT_MS
        return QUIET_MS

    def _between_keys(self, plan: Plan) -> bool:
        return plan.level > 0 and now_ms() - self._typed_ms < TYPING_MS
