"""The engine: takes requests, runs the most useful step, sends what comes out.

A step is one llama_decode with rows of several requests; scheduler.py says which. Between steps everything is looked at anew, so a keystroke
overtakes a review; a step that has become pointless or has been overtaken is broken off, and what it finished stays in the KV memory.
`run` owns the thread that makes every llama.cpp call; `post` may be called from any thread.
"""

from __future__ import annotations

import base64
import gc
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from qwencoder_lsp.engine.binding import ABORTED, NO_SLOT
from qwencoder_lsp.engine.costs import Costs
from qwencoder_lsp.engine.draftmodel import Need
from qwencoder_lsp.engine.job import Job, now_ms
from qwencoder_lsp.engine.lanes import MAX_OUTPUTS, MAX_ROWS, Lanes
from qwencoder_lsp.engine.placement import Placement
from qwencoder_lsp.engine.protocol import (
    Calibrated,
    Cancel,
    Embed,
    Error,
    FromEngine,
    Generate,
    Loaded,
    Priority,
    Shutdown,
    ToEngine,
    Unload,
    Unloaded,
    Vectors,
)
from qwencoder_lsp.engine.saving import Prompt, Saver
from qwencoder_lsp.engine.scheduler import MAX_ABORTS, Plan, Scheduler, level
from qwencoder_lsp.engine.step import Step
from qwencoder_lsp.engine.threads import ForeignLoad, ThreadController
from qwencoder_lsp.errors import EngineBusy, QwencoderError, RequestError

log = logging.getLogger(__name__)

MAX_JOBS = 64
MAX_SUFFIX = 8  # tokens of the suffix that are looked for
ABORT_WORTH_MS = 50.0  # a step that ends sooner is not broken off: other requests have rows in it
EMBED = "embed"  # the lane of embeddings, in plans
DEADLINE_CHECK_S = 0.2


class Engine:
    """One model's requests. `load` brings the model into memory; it is called at once, and again after an Unload. Raises EngineFailed.

    saver: keeps computed prefixes on disk; None: nothing is saved.
    """

    def __init__(
        self,
        load: Callable[[Callable[[], None]], Lanes],
        costs: Costs,
        threads: int,
        send: Callable[[FromEngine], None],
        saver: Saver | None = None,
    ) -> None:
        self._load = load
        self._send = send
        self._saver = saver
        self._costs = costs
        self._others = ForeignLoad()
        self._threads = ThreadController(threads, self._others.cores)
        self._wake = threading.Condition()
        self._inbox: deque[tuple[ToEngine, float]] = deque()  # with the time of arrival
        self._jobs: dict[int, Job] = {}
        self._embeds: deque[tuple[Embed, list[str]]] = deque()
        self._embedded_last = False
        self._embedding = (0, 0)  # the Embed in llama.cpp now or last, and how often its text was broken off
        self._unload_wanted = False
        self._running: tuple[Plan, float] | None = None  # the step in llama.cpp now, and when it should end
        self._arrivals = 0
        self.lanes: Lanes | None = load(self._poke)
        self._flag = self.lanes.model.abort_flag
        self._scheduler = Scheduler(costs, max_rows=MAX_ROWS - MAX_OUTPUTS, max_outputs=MAX_OUTPUTS, can_abort=self.lanes.can_abort)
        self._placement = Placement(self._jobs, self._scheduler.order, self._refuse, self._end)

    def post(self, message: ToEngine) -> None:
        """Hand over a message, and break off the running step if the message makes it pointless or overtakes it."""
        with self._wake:
            self._inbox.append((message, now_ms()))
            gone = isinstance(message, Cancel) and message.id == self._embedding[0]
            if self._running and ((gone and self._running[0].lane == EMBED) or _interrupts(message, *self._running)):
                self._flag.raise_()
            self._wake.notify()

    def run(self) -> None:
        """Work until Shutdown, then save what is worth it."""
        busy = False
        while True:
            for message, arrived_ms in self._messages(wait=not busy):
                if isinstance(message, Shutdown):
                    self._save()
                    return
                self._receive(message, arrived_ms)
            busy = self._turn()

    def _messages(self, *, wait: bool) -> list[tuple[ToEngine, float]]:
        with self._wake:
            if wait and not self._inbox:
                due_s = self._saver.due_s if self._saver else None
                self._wake.wait(DEADLINE_CHECK_S if self._jobs else due_s)
            messages = list(self._inbox)
            self._inbox.clear()
        return messages

    def _poke(self) -> None:
        with self._wake:
            self._wake.notify()

    def _receive(self, message: ToEngine, arrived_ms: float) -> None:
        if isinstance(message, Cancel):
            self._embeds = deque(e for e in self._embeds if e[0].id != message.id)
            if job := self._jobs.get(message.id):  # else it crossed the end of its request
                self._end(job, "cancelled")
        elif isinstance(message, Unload):
            self._unload_wanted = True
        elif isinstance(message, Generate | Embed):
            self._unload_wanted = False
            try:
                self._admit(message, arrived_ms)
            except QwencoderError as error:
                self._fail(message.id, error)
            except (ArithmeticError, LookupError, TypeError, ValueError) as error:  # one odd request must not end those of everybody else
                log.exception("request %d", message.id)
                self._fail(message.id, RequestError(f"The request cannot be used: {error}.", "Correct it."))

    def _admit(self, request: Generate | Embed, arrived_ms: float) -> None:
        if self._saver and isinstance(request, Generate) and request.workspace:
            self._saver.open(request.workspace)
        if isinstance(request, Generate) and request.document is not None and request.index == 0:
            for other in list(self._jobs.values()):
                if other.request.document == request.document:
                    self._end(other, "superseded")
        if len(self._jobs) + len(self._embeds) >= MAX_JOBS:
            raise EngineBusy(f"{MAX_JOBS} requests are waiting already.", "Try again in a moment.")
        lanes = self._loaded()
        if isinstance(request, Embed):
            limit = lanes.embedder().n_ctx
            if not request.inputs or any(not 0 < len(tokens) <= limit for tokens in request.inputs):
                raise RequestError(f"A text to embed must have 1 to {limit} tokens.", "Split it.")
            self._embeds.append((request, []))
            return
        count = len(request.tokens)
        if not count:
            raise RequestError("The prompt is empty.", "Send at least one token.")
        if count >= lanes.most_tokens:
            raise RequestError(
                f"The prompt has {count} tokens, and the context holds {lanes.most_tokens}.", "Shorten it, or raise engine.max_context."
            )
        if request.score_from is not None and not 0 < request.score_from < count:
            raise RequestError("score_from must be between 1 and the number of tokens.", "Correct the request.")
        if len(request.suffix) > MAX_SUFFIX:
            raise RequestError(f"At most {MAX_SUFFIX} tokens of the suffix can be looked for.", "Send fewer.")
        self._arrivals += 1
        job = self._jobs[request.id] = Job(request, self._arrivals, lanes.vocabulary.piece, arrived_ms, lanes.adapters.choose(request.adapters))
        if request.priority is Priority.BACKGROUND and request.document is not None and self._threads.busy:
            self._end(job, "cancelled")  # work ahead of a user whose machine is needed for something else

    def _loaded(self) -> Lanes:
        if self.lanes is None:
            self.lanes = self._load(self._poke)
            self._flag = self.lanes.model.abort_flag
            self._send(Loaded(self.lanes.load_ms))
        return self.lanes

    def _turn(self) -> bool:
        """One step, if there is one to do."""
        for job in [j for j in self._jobs.values() if j.late]:
            self._end(job, "deadline")
        if not self._jobs and not self._embeds:
            self._rest()
            return False
        lanes = self._loaded()
        self._placement.place(lanes)
        for job in [j for j in self._jobs.values() if j.sequence is not None and not j.generates and j.remaining <= 0]:
            self._end(job, "length")  # another request, or a step that was broken off, has computed the rest of a prompt to be warmed
        plan = self._scheduler.plan([j for j in self._jobs.values() if j.sequence is not None])
        if self._embeds and (plan is None or (plan.level > 0 and not self._embedded_last)):
            self._embed(lanes)
            return True
        self._embedded_last = False
        if plan:
            self._run_plan(lanes, plan)
        return plan is not None

    def _rest(self) -> None:
        if self._costs.changed:
            self._costs.changed = False
            self._send(Calibrated(self._costs.points))
        if self._saver and self._saver.due_s is not None and (self._unload_wanted or self._saver.due_s <= 0):
            self._save()
        if self._unload_wanted and self.lanes is not None:
            tier = self.lanes.tier
            self.lanes.close()
            self.lanes = None
            gc.collect()  # what a model's objects hold is native memory, of which Python's collector sees nothing
            self._send(Unloaded(tier.used))
        elif self.lanes is not None:
            self.lanes.tidy()
        self._unload_wanted = False

    def _save(self) -> None:
        if self._saver:
            self._saver.save(self.lanes.pools if self.lanes else {})

    def _run_plan(self, lanes: Lanes, plan: Plan) -> None:
        lane = lanes[plan.lane]
        for job, _ in plan.prefill:
            assert job.sequence is not None
            if lane.pool.catch_up(job.sequence, job.wanted):
                return  # the plan no longer fits
        ahead_ms = self._write_ahead(lanes, plan)
        step = Step(lane.context, lane.pool, plan, self._costs)
        if not lane.pool.make_room(step.rows):
            self._placement.make_way(lane, plan)
            return
        if (foreign := self._others.poll()) is not None:
            self._threads.observe(foreign)
        lane.context.set_threads(self._threads.count)
        lane.context.set_adapters([(adapter.handle, scale) for adapter, scale in plan.jobs[0].adapters])
        self._flag.clear()
        if not self._enter(plan, self._costs.now(step.rows + step.padding, step.outputs, step.attention)):
            return
        start = time.perf_counter()
        try:
            status = step.run()
        except QwencoderError as error:
            for job in plan.jobs:
                step.forget(job)
                self._drop(job)
                self._fail(job.request.id, error)
            return
        finally:
            self._leave()
        ms = (time.perf_counter() - start) * 1000
        lower = any(level(j.request.priority) > plan.level for j in self._jobs.values())
        self._scheduler.account(plan, ms + ahead_ms, held_back=lower)
        if status == ABORTED:
            step.keep_finished()
        elif status == NO_SLOT:
            log.warning("no slot for %d rows though %d cells are free", step.rows, lane.pool.free)
            self._end(max(plan.jobs, key=lambda j: (j.request.priority, j.arrival)), "length")
        else:
            self._costs.observe(step.rows + step.padding, step.outputs, ms, step.attention)
            self._finish_step(step, plan, ms + ahead_ms)

    def _write_ahead(self, lanes: Lanes, plan: Plan) -> float:
        """Let the draft model guess where nothing else is known of the next tokens; the milliseconds that it took."""
        draft, rows = lanes.draft, len(plan.decode)
        if draft is None or not plan.limit:
            return 0.0
        start = time.perf_counter()
        draft.set_threads(self._threads.count)
        for job in plan.decode:
            request, left = job.request, job.request.max_tokens - len(job.output)
            if not request.speculate or job.draft(self._costs.draft, rows, plan.limit, plan.limit):
                continue
            need = Need(request.id, job.tokens, len(job.output), left, request.stop_tokens, rows, plan.limit)
            self._flag.clear()
            if not self._enter(plan, float("inf")):
                break
            try:
                guesses = draft.guess(need, lambda n: self._costs.now(n, n))
            except QwencoderError as error:
                log.warning("no drafts from here on: %s", error)
                lanes.stop_drafts()
                break
            finally:
                self._leave()
            job.offer([token for token, _ in guesses], partial(draft.learn, guesses))
        return (time.perf_counter() - start) * 1000

    def _finish_step(self, step: Step, plan: Plan, ms: float) -> None:
        stamp = now_ms()
        for job in plan.jobs:
            job.stepped_ms, job.aborts = stamp, 0
            job.native_ms += ms if job.streaming else 0.0
            try:
                reason = step.take(job)
            except (QwencoderError, ArithmeticError, LookupError, TypeError, ValueError) as error:
                step.forget(job)
                self._drop(job)
                if not isinstance(error, QwencoderError):
                    log.exception("request %d", job.request.id)
                    error = RequestError(f"No token can be chosen: {error}.", "Correct the sampling.")
                self._fail(job.request.id, error)
                continue
            if reason:
                self._end(job, reason)
            elif chunk := job.chunk():
                self._send(chunk)

    def _enter(self, plan: Plan, expected_ms: float) -> bool:
        """About to call llama.cpp. False when a message has come meanwhile: look at it first."""
        with self._wake:
            if self._inbox:
                return False
            self._running = plan, now_ms() + expected_ms
            return True

    def _leave(self) -> None:
        with self._wake:
            self._running = None

    def _embed(self, lanes: Lanes) -> None:
        request, vectors = self._embeds[0]
        self._flag.clear()
        breaks = self._embedding[1] if self._embedding[0] == request.id else 0
        self._embedding = request.id, breaks
        if not self._enter(Plan(EMBED, 2, patient=breaks >= MAX_ABORTS), float("inf")):
            return
        try:
            vector = lanes.embedder().embed(request.inputs[len(vectors)])
        except QwencoderError as error:
            self._embeds.popleft()
            self._fail(request.id, error)
            return
        finally:
            self._leave()
        self._embedded_last = True
        self._embedding = request.id, breaks + 1 if vector is None else 0
        if vector is not None:
            vectors.append(base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii"))
            if len(vectors) == len(request.inputs):
                self._embeds.popleft()
                self._send(Vectors(request.id, tuple(vectors), sum(map(len, request.inputs))))

    def _end(self, job: Job, reason: str) -> None:
        self._drop(job)
        rest, done = job.finish(reason)
        if rest:
            self._send(rest)
        self._send(replace(done, held_bytes=self.lanes.tier.used) if self.lanes else done)

    def _refuse(self, job: Job, error: QwencoderError) -> None:
        self._drop(job)
        self._fail(job.request.id, error)

    def _fail(self, id: int, error: QwencoderError) -> None:
        self._send(Error(id, error.code, error.message, error.hint))

    def _drop(self, job: Job) -> None:
        self._jobs.pop(job.request.id, None)
        if job.sequence is not None and self.lanes is not None:
            request, held = job.request, job.sequence.tokens
            if self._saver and request.workspace:
                prompt = Prompt(request.workspace, job.lane, job.root, held[: request.keep])
                self._saver.note(prompt, request.document or "")
            self.lanes[job.lane].pool.release(job.sequence, request.document)
            job.sequence = None


def _interrupts(message: ToEngine, plan: Plan, end_ms: float) -> bool:
    if isinstance(message, Shutdown):
        return True
    if end_ms - now_ms() < ABORT_WORTH_MS:
        return False
    if isinstance(message, Cancel):
        return _pointless(plan, lambda job: job.request.id == message.id)
    if isinstance(message, Generate):
        document = message.document if message.index == 0 else None
        overtakes = level(message.priority) < plan.level and not plan.patient
        return overtakes or (document is not None and _pointless(plan, lambda job: job.request.document == document))
    return False


def _pointless(plan: Plan, gone: Callable[[Job], bool]) -> bool:
    """Whether a step is not worth finishing without those requests: their prompts are in it, or nothing else is."""
    return any(gone(job) for job, _ in plan.prefill) or (bool(plan.decode) and all(gone(job) for job in plan.jobs))
