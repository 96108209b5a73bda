"""Which requests hold cells of which lane: gives waiting ones a sequence, and moves running ones out where there is no room for all.

Makes no step. Who moves out goes on later from host memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from qwencoder_lsp.engine.job import Job
from qwencoder_lsp.engine.lanes import Lane, Lanes
from qwencoder_lsp.engine.scheduler import Plan, level
from qwencoder_lsp.errors import QwencoderError

RESERVE = 64  # cells that must be free beside a prompt before it is begun
SHARED_WORTH = 8  # tokens; a shorter common prefix is not waited for


class Placement:
    """jobs: all requests of the engine, changed by their owner only. order: the scheduler's. refuse, finish: end a request, with an error or well."""

    def __init__(
        self,
        jobs: Mapping[int, Job],
        order: Callable[[Job], float],
        refuse: Callable[[Job, QwencoderError], None],
        finish: Callable[[Job, str], None],
    ) -> None:
        self._jobs, self._order, self._refuse, self._finish = jobs, order, refuse, finish

    def place(self, lanes: Lanes) -> None:
        """Give waiting requests a sequence, in the scheduler's order, as far as there is room."""
        waiting = [j for j in self._jobs.values() if j.sequence is None]
        full: set[str] = set()  # lanes in which an earlier one found no room: it would never get it if later, smaller ones went first
        for job in sorted(waiting, key=lambda j: (level(j.request.priority), self._order(j))):
            try:
                if not self._guide(lanes, job):
                    continue
                lane = self._lane_for(lanes, job)
                job.root = lane.root(job.adapters)
                if job.lane in full or self._wait_for_prefix(lane, job):
                    continue
                self._begin(lane, job)
                if job.sequence is None:
                    full.add(job.lane)
            except QwencoderError as error:
                self._refuse(job, error)

    def _guide(self, lanes: Lanes, job: Job) -> bool:
        """Whether the request has what it needs to follow its constraint; the first JSON schema or regex waits until the vocabulary is read."""
        constraint = job.request.constraint
        if constraint is None or job.guide is not None:
            return True
        if not lanes.constraints.ready_for(constraint):
            return False
        job.guide = matcher = lanes.constraints.matcher(constraint)
        job.closing = lanes.constraints.closing(constraint, matcher)
        return True

    def _lane_for(self, lanes: Lanes, job: Job) -> Lane:
        """Its lane, made or made larger if need be; what runs in it then goes on from host memory. Raises RequestError, EngineFailed."""
        tokens = min(len(job.tokens) + job.request.max_tokens - len(job.output), lanes.most_tokens)
        job.lane = lanes.choose(job.lane, tokens)
        if not lanes.room_in(job.lane, tokens):
            before = lanes.pools.get(job.lane)
            try:
                lanes.grow(job.lane, tokens)
            finally:
                for other in self._jobs.values():
                    if other.lane == job.lane and lanes.pools.get(job.lane) is not before:
                        other.sequence = None
        return lanes[job.lane]

    def _wait_for_prefix(self, lane: Lane, job: Job) -> bool:
        """Whether another request is just computing a prefix that this one needs too."""
        tokens = job.wanted
        prefills = [j for j in self._jobs.values() if j.sequence is not None and j.root == job.root and j.remaining > 1]
        urgent = [j for j in prefills if level(j.request.priority) <= level(job.request.priority)]
        if not urgent:
            return False
        known = lane.pool.match(tokens, job.root)
        return any(j.shared(tokens) >= max(known, j.computed) + SHARED_WORTH for j in urgent)

    def _begin(self, lane: Lane, job: Job) -> None:
        reserve = min(job.request.max_tokens, RESERVE)
        if not lane.pool.may_fit(job.wanted, job.root, reserve) and not self._alone(job) and not self._less_urgent(job):
            return
        sequence = lane.pool.acquire(job.wanted, job.root)
        if sequence is None and self._take_from_another(lane, job, less_urgent=True):
            sequence = lane.pool.acquire(job.wanted, job.root)
        if sequence is None:
            return
        job.begin(sequence)
        while not lane.pool.make_room(job.remaining + reserve):
            if not self._take_from_another(lane, job, less_urgent=True):
                if self._alone(job):  # then the whole lane is its own, and the answer ends where the cells do
                    return
                lane.pool.release(sequence)
                job.sequence = None
                return

    def make_way(self, lane: Lane, plan: Plan) -> None:
        """The lane is full of requests that run: one of them moves out, or ends where its cells do."""
        first = min(plan.jobs, key=lambda j: (j.request.priority, j.arrival))
        if self._alone(first):
            self._finish(first, "length")
        elif any(level(j.request.priority) >= plan.level for j in self._neighbours(first)):
            self._take_from_another(lane, first, less_urgent=False)
        else:  # only more urgent ones are there, which must not make way for what they hold back
            self._move_out(lane, first)

    def _move_out(self, lane: Lane, job: Job) -> None:
        assert job.sequence is not None
        lane.pool.evict(job.sequence)
        lane.pool.release(job.sequence)
        job.sequence = None

    def _neighbours(self, job: Job) -> list[Job]:
        """The other requests that hold cells of its lane."""
        return [j for j in self._jobs.values() if j is not job and j.lane == job.lane and j.sequence is not None]

    def _less_urgent(self, job: Job) -> list[Job]:
        return [j for j in self._neighbours(job) if level(j.request.priority) > level(job.request.priority)]

    def _alone(self, job: Job) -> bool:
        return not self._neighbours(job)

    def _take_from_another(self, lane: Lane, job: Job, *, less_urgent: bool) -> bool:
        """Move the sequence of the least urgent other request out to host memory; it goes on later. False when there is none."""
        others = self._less_urgent(job) if less_urgent else self._neighbours(job)
        if not others:
            return False
        loser = max(others, key=lambda j: (j.request.priority, j.arrival))
        self._move_out(lane, loser)
        return True
