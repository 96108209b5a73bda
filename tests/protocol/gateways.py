"""Running a real gateway in tests."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from qwencoder_lsp import settings
from qwencoder_lsp.core.prompt import Message, PromptParts
from qwencoder_lsp.gateway.client import GatewayClient
from qwencoder_lsp.gateway.find import connect
from qwencoder_lsp.gateway.protocol import ChatRequest, CompleteRequest, Event, Piece, Status


@asynccontextmanager
async def gateway(**sections: dict[str, object]) -> AsyncIterator[GatewayClient]:
    """A client of the gateway of this QWENCODER_HOME, which is ended with the test."""
    client = await connect(settings.load(command_line=sections, strict=True)[0])
    pid = (await client.status()).pid
    try:
        yield client
    finally:
        await client.close()
        end(pid)


def end(pid: int) -> None:
    """End a process and wait until it has gone."""
    try:
        os.kill(pid, 15)
    except ProcessLookupError:
        return
    assert wait(lambda: not alive(pid), 10), f"process {pid} does not end"


def alive(pid: int) -> bool:
    """Whether the process runs. A gateway that this test process started stays as a zombie until it is waited for; that is not running."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as stat:  # noqa: PTH123 - plain read of a kernel file
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # the second when it goes between open and read
        return False


def wait(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait until the condition holds; False when it did not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not (held := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return held


def fill(prefix: str, suffix: str = "", **fields: object) -> CompleteRequest:
    """A completion request to the scripted engine."""
    return CompleteRequest(PromptParts(prefix, suffix), **{"model": "scripted", **fields})  # type: ignore[arg-type]  # the test's own keywords


def ask(text: str, **fields: object) -> ChatRequest:
    """A chat request to the scripted engine."""
    return ChatRequest((Message("user", text),), **{"model": "scripted", **fields})  # type: ignore[arg-type]  # the test's own keywords


async def collect(events: AsyncIterator[Event]) -> tuple[str, Event]:
    """The text of a stream, and its last event."""
    text, last = "", None
    async for event in events:
        last = event
        if isinstance(event, Piece):
            text += event.text
    assert last is not None
    return text, last


async def until(client: GatewayClient, condition: Callable[[Status], bool], seconds: float = 10) -> Status:
    """The first status that meets the condition."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        status = await client.status()
        if condition(status):
            return status
        await asyncio.sleep(0.02)
    raise AssertionError(f"not reached within {seconds} s: {status}")
