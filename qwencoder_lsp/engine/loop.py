"""The engine: takes requests, runs the most urgent one step by step, sends what comes out.

A step is one llama_decode for one request: a chunk of its prompt, or its last token. Between steps the most urgent request is chosen anew, so
a keystroke overtakes a review; a step that has become pointless or has been overtaken is aborted, and what it finished stays in the KV memory.
`run` owns the thread that makes every llama.cpp call; `post` may be called from any thread.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable

from qwencoder_lsp.engine.binding import ABORTED, NO_SLOT, Context
from qwencoder_lsp.engine.constraint import ConstraintCompiler
from qwencoder_lsp.engine.job import Job
from qwencoder_lsp.engine.kvpool import KVPool
from qwencoder_lsp.engine.protocol import Cancel, Error, FromEngine, Generate, Priority, Shutdown, ToEngine
from qwencoder_lsp.errors import EngineBusy, QwencoderError, RequestError

log = logging.getLogger(__name__)

MAX_JOBS = 64
MAX_ABORTS = 3  # a request that was overtaken this often in one step is left to finish it, so that it cannot starve
PATIENT_CHUNK = 64  # prompt tokens per step of a request that may be overtaken: about 0.7 s of the 1.5B model on two cores is lost at most


class Engine:
    """One model's requests."""

    def __init__(self, context: Context, n_seq: int, send: Callable[[FromEngine], None]) -> None:
        self._context = context
        self._vocabulary = context.vocabulary
        self._pool = KVPool(context, n_seq)
        self._send = send
        self._jobs: dict[int, Job] = {}
        self._inbox: deque[ToEngine] = deque()
        self._wake = threading.Condition()
        self._current: Job | None = None
        self._arrivals = 0
        self._constraints = ConstraintCompiler(self._vocabulary.constraint_tokenizer, self._vocabulary.n_vocab, self._notify)

    def post(self, message: ToEngine) -> None:
        """Hand over a message, and stop the running step if the message makes it pointless or overtakes it."""
        with self._wake:
            self._inbox.append(message)
            if self._current and _interrupts(message, self._current):
                self._context.abort()
            self._wake.notify()

    def run(self) -> None:
        """Work until Shutdown."""
        while True:
            with self._wake:
                while not self._inbox and self._next() is None:
                    self._wake.wait()
                messages = list(self._inbox)
                self._inbox.clear()
            for message in messages:
                if isinstance(message, Shutdown):
                    return
                self._receive(message)
            job = self._next()
            if job is None:
                continue
            self._context.arm()
            with self._wake:
                if self._inbox:
                    continue
                self._current = job
            try:
                self._step(job)
            except QwencoderError as error:
                if job.sequence is not None:  # a failed decode may leave tokens behind that the pool does not know of
                    self._context.truncate(job.sequence.id, len(job.sequence.tokens))
                self._drop(job)
                self._send(Error(job.request.id, error.code, error.message, error.hint))
            finally:
                with self._wake:
                    self._current = None

    def _notify(self) -> None:
        with self._wake:
            self._wake.notify()

    def _receive(self, message: ToEngine) -> None:
        if isinstance(message, Cancel):
            self._end(message.id, "cancelled")
        elif isinstance(message, Generate):
            for other in list(self._jobs.values()):
                if message.document is not None and other.request.document == message.document:
                    self._end(other.request.id, "superseded")
            try:
                self._admit(message)
            except QwencoderError as error:
                self._send(Error(message.id, error.code, error.message, error.hint))

    def _admit(self, request: Generate) -> None:
        if len(self._jobs) >= MAX_JOBS:
            raise EngineBusy(f"{MAX_JOBS} requests are waiting already.", "Try again in a moment.")
        if not request.tokens:
            raise RequestError("The prompt is empty.", "Send at least one token.")
        if len(request.tokens) >= self._context.n_ctx:
            raise RequestError(
                f"The prompt has {len(request.tokens)} tokens, and the context holds {self._context.n_ctx}.", "Shorten it, or raise engine.context."
            )
        self._arrivals += 1
        self._jobs[request.id] = Job(request, self._arrivals)

    def _next(self) -> Job | None:
        ready = [j for j in self._jobs.values() if j.request.constraint is None or j.matcher or self._constraints.ready]
        return min(ready, key=lambda j: j.order, default=None)

    def _step(self, job: Job) -> None:
        if job.request.constraint and not job.matcher:
            job.matcher = self._constraints.matcher(job.request.constraint)
        if job.sequence is None:
            self._place(job)
        assert job.sequence is not None
        chunk = job.pending[: self._chunk_size(job)]
        last = len(chunk) == len(job.pending)
        status = self._context.decode(chunk, len(job.sequence.tokens), job.sequence.id, logits=last)
        if status == NO_SLOT:
            self._reclaim(job)
        elif status == ABORTED:
            job.aborts += 1
            kept = max(0, self._context.length(job.sequence.id) - len(job.sequence.tokens))
            self._advance(job, chunk[:kept])
        else:
            job.aborts = 0
            self._advance(job, chunk)
            if last:
                self._emit(job)

    def _advance(self, job: Job, done: list[int]) -> None:
        assert job.sequence is not None
        self._pool.extend(job.sequence, done)
        job.pending = job.pending[len(done) :]

    def _emit(self, job: Job) -> None:
        token, logprob = job.choose(self._context.logits())
        chunk, reason = job.take(token, logprob, self._vocabulary.piece(token))
        if chunk:
            self._send(chunk)
        if not reason and job.sequence is not None and len(job.sequence.tokens) + 1 >= self._context.n_ctx:
            reason = "length"
        if reason:
            self._end(job.request.id, reason)

    def _place(self, job: Job) -> None:
        sequence = self._pool.acquire([*job.request.tokens, *job.output])
        while sequence is None:
            self._reclaim(job)
            sequence = self._pool.acquire([*job.request.tokens, *job.output])
        job.begin(sequence)

    def _reclaim(self, job: Job) -> None:
        """Make room for `job`: drop an idle sequence, else take the least urgent other request's. Raises EngineBusy when nothing is left."""
        if self._pool.evict():
            return
        others = [j for j in self._jobs.values() if j is not job and j.sequence is not None]
        if not others:
            raise EngineBusy("The context memory is full.", "Shorten the prompt, or raise engine.context.")
        loser = max(others, key=lambda j: j.order)
        assert loser.sequence is not None
        self._pool.cut(loser.sequence, 0)
        self._pool.release(loser.sequence)
        loser.evicted()

    def _chunk_size(self, job: Job) -> int:
        if job.request.priority <= Priority.EXPLICIT and self._context.can_abort:
            return self._context.n_batch
        return self._context.n_batch if self._context.on_gpu else PATIENT_CHUNK

    def _end(self, id: int, reason: str) -> None:
        job = self._jobs.get(id)
        if job is None:  # a cancel that crossed the end of its request
            return
        self._drop(job)
        rest, done = job.finish(reason)
        if rest:
            self._send(rest)
        self._send(done)

    def _drop(self, job: Job) -> None:
        self._jobs.pop(job.request.id, None)
        if job.sequence is not None:
            self._pool.release(job.sequence)


def _interrupts(message: ToEngine, current: Job) -> bool:
    if isinstance(message, Cancel):
        return message.id == current.request.id
    if isinstance(message, Generate):
        same = message.document is not None and message.document == current.request.document
        return same or (message.priority < current.request.priority and current.aborts < MAX_ABORTS)
    return True
