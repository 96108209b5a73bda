"""The gateway's side of an engine process: the scripted one, and one that misbehaves."""

from __future__ import annotations

import asyncio
import base64
import struct
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop

from qwencoder_lsp.engine.process import EngineSpec
from qwencoder_lsp.engine.protocol import Done, Embed, EngineInfo, Generate, Loaded, Unloaded
from qwencoder_lsp.engine.supervise import EngineEvent, EngineProcess
from qwencoder_lsp.errors import EngineCrashed, RequestError

INFO = EngineInfo("m", 512, 264, 1, False, "", 1.0, 1.0, 0.0)
CALIBRATED = b'{"op": "calibrated", "costs": [[1, 1, 20.0], [64, 1, 300.5]]}'
SAYS_SO = f"import sys; sys.stdout.buffer.write({len(CALIBRATED).to_bytes(4, 'big') + CALIBRATED!r}); sys.stdout.flush()"
DIES_FIRST = f"import subprocess, time; subprocess.Popen(['sleep', '1'], stdin=subprocess.DEVNULL); {SAYS_SO}; time.sleep(600)"  # its output lives on
NONSENSE = "import sys, time; sys.stdin.buffer.read(4); sys.stdout.buffer.write(b'\\0\\0\\0\\3abc'); sys.stdout.flush(); time.sleep(600)"


async def test_an_engine_that_sends_nonsense_is_ended_and_its_request_fails() -> None:
    pipe = asyncio.subprocess.PIPE
    engine = EngineProcess(await asyncio.create_subprocess_exec(sys.executable, "-c", NONSENSE, stdin=pipe, stdout=pipe), INFO)
    with pytest.raises(EngineCrashed):
        async for _ in engine.generate(Generate(0, (1,), 1)):
            pass
    await engine.stop()
    assert not engine.alive


def test_a_request_that_is_cancelled_before_it_is_known_that_the_engine_has_gone_just_ends() -> None:
    """uvloop, on which the gateway runs, raises at each write to a pipe that it has closed."""

    async def cancelled() -> bool:
        pipe = asyncio.subprocess.PIPE
        events: asyncio.Queue[EngineEvent] = asyncio.Queue()
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", DIES_FIRST, stdin=pipe, stdout=pipe)
        engine = EngineProcess(process, INFO, events.put_nowait)
        await events.get()
        asking = asyncio.create_task(anext(engine.generate(Generate(0, (1,), 1))))
        await asyncio.sleep(0)
        process.kill()
        await process.wait()
        asking.cancel()
        await asyncio.wait({asking})
        with pytest.raises(EngineCrashed):
            await anext(engine.generate(Generate(0, (1,), 1)))
        await engine.stop()
        return asking.cancelled()

    assert uvloop.run(asyncio.wait_for(cancelled(), 30))


async def test_a_model_that_left_memory_comes_back_with_the_next_request(script: Any, home: Path) -> None:
    script(default="x")
    events: asyncio.Queue[EngineEvent] = asyncio.Queue()
    async with scripted(home, events.put_nowait) as engine:
        loaded = [engine.loaded]
        engine.unload()
        told = [await events.get()]
        loaded.append(engine.loaded)
        await done(engine, Generate(0, (97,), 1))
        told.append(await events.get())
        loaded.append(engine.loaded)
    assert told == [Unloaded(0), Loaded(0.0)]
    assert loaded == [True, False, True]


async def test_what_a_step_costs_is_remembered(home: Path) -> None:
    code = f"{SAYS_SO}; sys.stdin.buffer.read()"
    pipe = asyncio.subprocess.PIPE
    events: asyncio.Queue[EngineEvent] = asyncio.Queue()
    engine = EngineProcess(await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdin=pipe, stdout=pipe), INFO, events.put_nowait)
    await events.get()
    await engine.stop()
    assert engine.costs == ((1, 1, 20.0), (64, 1, 300.5))


async def test_embeddings_are_unit_vectors_of_their_tokens(script: Any, home: Path) -> None:
    async with scripted(home) as engine:
        found = await engine.embed(Embed(0, ((97,), (98, 99), (97,))))
    one, two, again = (struct.unpack("<8f", base64.b64decode(vector)) for vector in found.vectors)
    assert one == again != two
    assert sum(v * v for v in two) == pytest.approx(1)
    assert found.tokens == 4


async def test_a_request_ends_at_its_deadline_also_while_its_prompt_is_read(script: Any, home: Path) -> None:
    script(default="x", prefill_ms=60_000)
    async with scripted(home) as engine:
        assert (await done(engine, Generate(0, (97,), 8, deadline_ms=50))).reason == "deadline"


@asynccontextmanager
async def scripted(home: Path, on_event: Callable[[EngineEvent], None] | None = None) -> AsyncIterator[EngineProcess]:
    engine = await EngineProcess.start(EngineSpec("scripted", "", 512), home / "engine.log", on_event)
    yield engine
    await engine.stop()


async def done(engine: EngineProcess, request: Generate) -> Done:
    found = [answer async for answer in engine.generate(request) if isinstance(answer, Done)]
    return found[0]


async def test_a_request_larger_than_a_message_may_be_is_refused_and_the_engine_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qwencoder_lsp.engine.supervise.MAX_MESSAGE", 4000)
    pipe = asyncio.subprocess.PIPE
    sleeping = await asyncio.create_subprocess_exec(sys.executable, "-c", "import sys; sys.stdin.read()", stdin=pipe, stdout=pipe)
    engine = EngineProcess(sleeping, INFO)
    with pytest.raises(RequestError, match="Send less text"):
        async for _ in engine.generate(Generate(0, tuple(range(2000)), 1)):
            pass
    assert engine.alive
    await engine.stop()
