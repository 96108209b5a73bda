"""Outcomes on their way to the gateway: together, never as a reason to start one, and kept while there is none."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from qwencoder_lsp.core.outcome import ACCEPTED, Outcome
from qwencoder_lsp.errors import GatewayError
from qwencoder_lsp.lsp import outcomes
from qwencoder_lsp.lsp.connection import Connection
from qwencoder_lsp.lsp.outcomes import Outcomes


class Gateway:
    """A client that takes outcomes, or says that its gateway has gone."""

    def __init__(self, *, gone: bool = False, hangs: bool = False) -> None:
        self.gone, self.hangs = gone, hangs
        self.batches: list[tuple[Outcome, ...]] = []

    async def tell(self, batch: tuple[Outcome, ...]) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        if self.gone:
            raise GatewayError("The gateway has gone.")
        self.batches.append(batch)


class Link:
    """A connection that has this client, and would fail to make one."""

    def __init__(self, client: Gateway | None) -> None:
        self.connected = client


def outcome(number: float) -> Outcome:
    return Outcome(number, ACCEPTED, "inline")


def following(link: Link) -> Outcomes:
    return Outcomes(cast(Connection, link))


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcomes, "PAUSE_S", 0.01)
    monkeypatch.setattr(outcomes, "LAST_S", 0.05)


async def until(condition: Any) -> None:
    while not condition():  # noqa: ASYNC110 - of things that tell nobody
        await asyncio.sleep(0.01)


async def test_what_happens_together_goes_out_together() -> None:
    gateway = Gateway()
    sent = following(Link(gateway))
    sent.note(outcome(1))
    sent.note(outcome(2))
    await until(lambda: gateway.batches)
    assert gateway.batches == [(outcome(1), outcome(2))]
    sent.note(outcome(3))
    await until(lambda: len(gateway.batches) == 2)


async def test_without_a_gateway_they_wait_in_order_for_the_next_one() -> None:
    link = Link(None)
    sent = following(link)
    sent.note(outcome(1))
    await sent.flush()
    link.connected = Gateway(gone=True)
    await sent.flush()
    link.connected = Gateway()
    sent.note(outcome(2))
    await sent.flush()
    assert link.connected.batches == [(outcome(1), outcome(2))]


async def test_no_more_than_so_many_wait_and_the_oldest_go() -> None:
    link = Link(None)
    sent = following(link)
    for number in range(outcomes.KEPT + 3):
        sent.note(outcome(number))
    link.connected = Gateway()
    await sent.flush()
    (batch,) = link.connected.batches
    assert (len(batch), batch[0]) == (outcomes.KEPT, outcome(3))


async def test_a_gateway_that_hangs_does_not_hold_the_editor_when_it_closes() -> None:
    sent = following(Link(Gateway(hangs=True)))
    sent.note(outcome(1))
    await asyncio.wait_for(sent.flush(), 10)
