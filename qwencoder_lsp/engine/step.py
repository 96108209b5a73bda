"""One llama_decode: puts a plan's rows into the batch, and hands what came out to the requests and to the pool's account."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qwencoder_lsp.engine.binding import Context
from qwencoder_lsp.engine.costs import TILE, Costs
from qwencoder_lsp.engine.job import Job
from qwencoder_lsp.engine.kvpool import KVPool
from qwencoder_lsp.engine.scheduler import Plan

HINT_ROWS = 3  # tokens of the answer that are guessed before any of it is known
PADDED = 0.97  # of the time without, that padding may take at most


@dataclass(slots=True)
class Rows:
    """One request's part of the batch. draft: how many of the last tokens are guesses. first: the batch row that has the first logits."""

    tokens: npt.NDArray[np.int32]
    draft: list[int]
    outputs: int
    start: int = 0

    @property
    def first(self) -> int:
        """The batch row with this request's first logits."""
        return self.start + len(self.tokens) - self.outputs


class Step:
    """Made from a plan; `run`, then `take` for each request, or `keep_finished` when it was broken off."""

    def __init__(self, context: Context, pool: KVPool, plan: Plan, costs: Costs) -> None:
        self._context, self._pool = context, pool
        self._parts: dict[int, Rows] = {}
        self._jobs = plan.jobs
        for job, count in plan.prefill:
            spare = min(HINT_ROWS, pool.free + pool.idle - plan.rows) if len(plan.jobs) == 1 else 0
            self._parts[id(job)] = self._prompt_rows(job, count, costs, spare)
        used = len(plan.decode) + sum(part.outputs for part in self._parts.values())
        room = context.n_outputs - used
        if pool.free < plan.rows + room:
            room = min(room, pool.free + pool.idle - plan.rows)
        spare = max(0, min(plan.spare, room // max(1, len(plan.decode))))
        for job in plan.decode:
            draft = job.draft(costs.draft, len(plan.decode), min(plan.limit, spare), spare)
            tokens = np.concatenate((job.next_rows(1), np.asarray(draft, np.int32)))
            self._parts[id(job)] = Rows(tokens, draft, len(tokens))
        self.rows = sum(len(part.tokens) for part in self._parts.values())
        self.outputs = sum(part.outputs for part in self._parts.values())
        sizes = [(len(self._parts[id(job)].tokens), job.computed) for job in self._jobs]
        reach, cells = sum(n * (held + n / 2) for n, held in sizes), sum(n + held for n, held in sizes)
        self.padding = self._padding(costs, reach, cells)
        self.attention = costs.attention(self.rows + self.padding, reach, cells, sum(max(sizes)))

    def _prompt_rows(self, job: Job, count: int, costs: Costs, spare: int) -> Rows:
        """The next part of its prompt; behind the last one a short draft of the answer's beginning, at most `spare` tokens, where that pays."""
        tokens, outputs = job.next_rows(count), job.outputs(count)
        begun = job.request.copies is not None or job.guide is not None
        if not begun or not outputs or job.scoring or spare <= 0:
            return Rows(tokens, [], outputs)
        alone = costs.draft(1)
        beside = alone - costs.table(count)
        draft = job.draft(lambda rows: beside + costs.table(count + rows - 1, rows), 1, spare, spare)
        return Rows(np.concatenate((tokens, np.asarray(draft, np.int32))), draft, 1 + len(draft))

    def _padding(self, costs: Costs, reach: float, cells: int) -> int:
        """Rows of nothing that make the last micro-batch a whole tile, where that is faster than row by row."""
        last = self.rows % self._context.n_ubatch
        if not costs.tiled or last >= TILE or self._pool.free < self.rows + TILE - last:
            return 0
        by_row = costs.table(last) + costs.attention(last, reach * last / self.rows, cells)
        return TILE - last if last and costs.table(TILE) + costs.attention(TILE, reach, cells) < PADDED * by_row else 0

    def run(self) -> int:
        """llama_decode's status. Raises EngineFailed."""
        batch = self._context.batch
        batch.clear()
        for job in self._jobs:
            assert job.sequence is not None
            part = self._parts[id(job)]
            part.start = batch.add(part.tokens, len(job.sequence.tokens), job.sequence.id, part.outputs)
        if not self.padding:
            return self._context.decode()
        batch.add(np.zeros(self.padding, np.int32), 0, self._pool.scratch, 0)
        try:
            return self._context.decode()
        finally:
            self._context.truncate(self._pool.scratch, 0)

    def take(self, job: Job) -> str:
        """The step is done: note what the memory holds now, choose tokens. Returns why the request is over, or "".

        Raises RequestError when its constraint cannot be followed.
        """
        assert job.sequence is not None
        part = self._parts[id(job)]
        job.evaluated += len(part.tokens)
        if job.scoring:
            self._pool.extend(job.sequence, part.tokens)
            return job.score(part.outputs, lambda i: self._context.logits(part.first + i))
        if not part.outputs:
            self._pool.extend(job.sequence, part.tokens)
            return "length" if not job.generates and not job.remaining else ""
        kept, reason = job.verify(part.draft, lambda i: self._context.logits(part.first + i))
        wrong = len(part.draft) - kept
        self._pool.extend(job.sequence, part.tokens[: len(part.tokens) - wrong])
        if wrong:
            self._context.truncate(job.sequence.id, len(job.sequence.tokens))
        return reason

    def keep_finished(self) -> None:
        """The step was broken off. Whole micro-batches of prompts stay; rows whose logits are lost are computed again."""
        for job in self._jobs:
            assert job.sequence is not None
            part = self._parts[id(job)]
            kept = self._context.length(job.sequence.id) - len(job.sequence.tokens)
            if part.outputs:
                kept = min(kept, len(part.tokens) - part.outputs)
            job.evaluated += max(0, kept)
            if kept > 0:
                self._pool.extend(job.sequence, part.tokens[:kept])
            self.forget(job)
            job.broken_off()

    def forget(self, job: Job) -> None:
        """Let the memory hold no more of the request than the pool knows of."""
        if job.sequence is not None:
            self._context.truncate(job.sequence.id, len(job.sequence.tokens))
