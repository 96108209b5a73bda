from __future__ import annotations

import asyncio
import logging

import pytest

from qwencoder_lsp.lsp.tasks import NewestWins, spawn


async def test_a_newer_call_cancels_the_older_which_answers_none() -> None:
    newest, started, cancelled = NewestWins(), asyncio.Event(), asyncio.Event()

    async def endless() -> str:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return "never"

    async def quick() -> str:
        return "new"

    older = asyncio.ensure_future(newest.run("doc", endless()))
    await started.wait()
    assert await newest.run("doc", quick()) == "new"
    assert await older is None
    assert cancelled.is_set()


async def test_other_keys_are_left_alone() -> None:
    newest, go = NewestWins(), asyncio.Event()

    async def wait() -> str:
        await go.wait()
        return "a"

    async def quick() -> str:
        return "b"

    first = asyncio.ensure_future(newest.run("a", wait()))
    await asyncio.sleep(0)
    assert await newest.run("b", quick()) == "b"
    go.set()
    assert await first == "a"


async def test_cancelling_the_call_cancels_its_work_and_stays_a_cancellation() -> None:
    newest, started, cancelled = NewestWins(), asyncio.Event(), asyncio.Event()

    async def endless() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    call = asyncio.ensure_future(newest.run("doc", endless()))
    await started.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await asyncio.wait_for(cancelled.wait(), 5)


async def test_an_error_of_the_work_reaches_the_caller() -> None:
    async def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await NewestWins().run("doc", fail())


async def test_a_background_task_that_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise ValueError("no")

    task = spawn(fail())
    with caplog.at_level(logging.ERROR):
        await asyncio.wait({task})
        await asyncio.sleep(0)
    assert any(record.exc_info and record.exc_info[0] is ValueError for record in caplog.records)
