"""Runs batches, below anything interactive: each request is one of background priority, a few at a time. What was running goes on after a restart."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from qwencoder_lsp.errors import EngineBusy, EngineCrashed, RequestError
from qwencoder_lsp.http.batch_store import UNFINISHED, Batch, BatchStore, Line, Problem
from qwencoder_lsp.http.failures import failure
from qwencoder_lsp.http.service import Service

AT_ONCE = 8  # of all batches together
BUSY_S = 2.0  # before a request that found the engine full is tried again
ATTEMPTS = 3  # of a request whose engine died under it

log = logging.getLogger(__name__)

Ask = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]]


class BatchRunner:
    """ask: the answer to a body sent to an endpoint, at background priority; raises QwencoderError."""

    def __init__(self, service: Service, store: BatchStore, ask: Ask) -> None:
        self._service, self._store, self._ask = service, store, ask
        self._places = asyncio.Semaphore(AT_ONCE)
        self._running: dict[str, asyncio.Task[None]] = {}
        self._current: dict[str, Batch] = {}

    def resume(self) -> None:
        """Go on with what was not finished."""
        for batch in self._store.batches():
            if batch.status == "cancelling":
                self._store.save(self._store.finish(batch).now("cancelled"))
            elif batch.status in UNFINISHED:
                self.start(batch)

    def start(self, batch: Batch) -> None:
        """Run it."""
        self._current[batch.id] = batch
        task = self._running[batch.id] = asyncio.create_task(self._run(batch.id))
        task.add_done_callback(lambda _: self._running.pop(batch.id, None))

    def state(self, id_: str) -> Batch | None:
        """The batch as it is now."""
        return self._current.get(id_) or self._store.batch(id_)

    async def cancel(self, batch: Batch) -> Batch:
        """Stop it; what was answered is kept. One that has ended stays as it is."""
        task = self._running.get(batch.id)
        if task is None:
            return batch
        self._set(batch.id, self._current[batch.id].now("cancelling"))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return self._set(batch.id, self._store.finish(self._current[batch.id]).now("cancelled"))

    async def close(self) -> None:
        """Stop all work; it goes on when the gateway is there again."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, id_: str) -> None:
        with self._service.working():
            try:
                await self._work(id_)
            except RequestError as error:
                await self._fail(id_, str(error))
            except OSError as error:
                await self._fail(id_, f"Its answers cannot be written: {error.strerror or error}. Make room, and send it again.")
            except Exception:
                log.exception("batch %s", id_)
                await self._fail(id_, "It failed inside the service, whose log says more.")

    async def _fail(self, id_: str, why: str) -> None:
        """What was answered so far is kept, where the disk still takes it."""
        batch = self._current[id_] = replace(self._current[id_], problems=(Problem(0, "file", why),)).now("failed")
        try:
            self._store.save(batch)
            self._set(id_, await asyncio.to_thread(self._store.finish, batch))
        except OSError as error:  # the batch shows why it failed until the gateway ends, and is tried again then
            log.warning("batch %s: what it became cannot be written: %s", id_, error.strerror)

    async def _work(self, id_: str) -> None:
        batch = self._current[id_]
        if batch.status == "validating":
            total, problems = await asyncio.to_thread(self._store.check, batch)
            batch = self._set(id_, replace(batch, total=total, problems=problems).now("failed" if problems else "in_progress"))
            if problems:
                return
        done = await asyncio.to_thread(self._store.answered, batch)
        self._current[id_] = replace(batch, completed=sum(done.values()), failed=len(done) - sum(done.values()))
        tasks: set[asyncio.Task[None]] = set()
        try:
            for line in self._store.missing(batch, done):
                await self._places.acquire()
                tasks.add(task := asyncio.create_task(self._one(id_, line)))
                task.add_done_callback(lambda _: self._places.release())  # also when it is cancelled before it has begun
                for task in [task for task in tasks if task.done()]:
                    tasks.remove(task)
                    task.result()  # an answer that could not be written ends the batch
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        self._set(id_, self._current[id_].now("finalizing"))
        self._set(id_, (await asyncio.to_thread(self._store.finish, self._current[id_])).now("completed"))

    async def _one(self, id_: str, line: Line) -> None:
        status, body = await self._answer(self._current[id_].endpoint, line)
        failed = status != 200
        response = {"status_code": status, "request_id": "", "body": body}
        self._store.answer(
            self._current[id_],
            {"id": f"batch_req_{secrets.token_hex(12)}", "custom_id": line.custom_id, "response": response, "error": None},
            failed=failed,
        )
        now = self._current[id_]
        self._current[id_] = replace(now, completed=now.completed + (not failed), failed=now.failed + failed)

    async def _answer(self, endpoint: str, line: Line) -> tuple[int, dict[str, Any]]:
        attempt = 1
        while True:
            try:
                return 200, await self._ask(endpoint, line.body)
            except EngineBusy:
                await asyncio.sleep(BUSY_S)
            except Exception as error:
                if not isinstance(error, EngineCrashed) or attempt == ATTEMPTS:
                    found = failure(error)
                    return found.status, found.body
                attempt += 1

    def _set(self, id_: str, batch: Batch) -> Batch:
        self._current[id_] = batch
        self._store.save(batch)
        return batch
