from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from qwencoder_lsp.errors import AnswerError, GatewayError, QwencoderError
from qwencoder_lsp.gateway.protocol import Status
from qwencoder_lsp.lsp import connection as module
from qwencoder_lsp.lsp.connection import Connection

STATUS = Status(1, "0", 1, 0, "m", "m")


class Gateway:
    """A gateway that can die and come back, seen as `connect` sees it. The real one is in the protocol tests."""

    def __init__(self) -> None:
        self.connects = 0
        self.broken = False
        self.gone = asyncio.Event()

    async def connect(self) -> Any:
        self.connects += 1
        await asyncio.sleep(0)
        if self.broken:
            raise GatewayError("No gateway.", "Start it.")
        self.gone = asyncio.Event()
        return self

    async def events(self) -> AsyncIterator[Status]:
        yield STATUS
        await self.gone.wait()
        raise GatewayError("It went away.")


class Watch:
    """What the connection reported."""

    def __init__(self) -> None:
        self.statuses: list[Status] = []
        self.losses: list[QwencoderError] = []


def connected(gateway: Gateway) -> tuple[Connection, Watch]:
    watch = Watch()
    return Connection(gateway.connect, watch.statuses.append, watch.losses.append), watch


async def test_many_callers_share_one_attempt_and_one_client() -> None:
    gateway = Gateway()
    connection, watch = connected(gateway)
    clients = await asyncio.gather(*(connection.client() for _ in range(5)))
    await asyncio.sleep(0)
    assert gateway.connects == 1
    assert set(map(id, clients)) == {id(gateway)}
    assert watch.statuses == [STATUS]


async def test_a_gateway_that_ends_is_reported_and_connected_again_at_the_next_use_only() -> None:
    gateway = Gateway()
    connection, watch = connected(gateway)
    await connection.client()
    await asyncio.sleep(0)
    gateway.gone.set()
    for _ in range(5):
        await asyncio.sleep(0)
    assert len(watch.losses) == 1
    assert gateway.connects == 1
    await connection.client()
    assert gateway.connects == 2


async def test_work_that_finds_the_gateway_gone_is_done_once_more() -> None:
    gateway, tries = Gateway(), 0
    connection, _ = connected(gateway)

    async def work(_: Any) -> str:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise GatewayError("It does not answer.")
        return "done"

    assert await connection.run(work) == "done"
    assert gateway.connects == 2


async def test_other_errors_of_the_work_are_not_tried_again() -> None:
    gateway, tries = Gateway(), 0
    connection, _ = connected(gateway)

    async def work(_: Any) -> None:
        nonlocal tries
        tries += 1
        raise AnswerError("Useless.")

    with pytest.raises(AnswerError):
        await connection.run(work)
    assert (tries, gateway.connects) == (1, 1)


async def test_after_a_failure_only_explicit_requests_try_again_at_once() -> None:
    gateway = Gateway()
    gateway.broken = True
    connection, watch = connected(gateway)
    for _ in range(10):
        with pytest.raises(GatewayError, match="No gateway"):
            await connection.client()
    assert gateway.connects == 1
    assert len(watch.losses) == 1
    gateway.broken = False
    assert await connection.client(explicit=True) is not None
    assert gateway.connects == 2


async def test_the_pause_after_failures_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE_S", 0.0)
    gateway = Gateway()
    gateway.broken = True
    connection, _ = connected(gateway)
    with pytest.raises(GatewayError):
        await connection.client()
    gateway.broken = False
    assert await connection.client() is not None


async def test_a_caller_that_gives_up_does_not_stop_the_attempt_of_the_others() -> None:
    gateway = Gateway()
    connection, _ = connected(gateway)
    impatient = asyncio.ensure_future(connection.client())
    patient = asyncio.ensure_future(connection.client())
    await asyncio.sleep(0)
    impatient.cancel()
    assert await patient is not None
    assert gateway.connects == 1
