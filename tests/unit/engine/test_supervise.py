"""The gateway's side of an engine process that misbehaves."""

from __future__ import annotations

import asyncio
import sys

import pytest

from qwencoder_lsp.engine.protocol import EngineInfo, Generate
from qwencoder_lsp.engine.supervise import EngineProcess
from qwencoder_lsp.errors import EngineCrashed

INFO = EngineInfo("m", 512, 264, 1, False, "", 1.0, 1.0, 0.0)
NONSENSE = "import sys, time; sys.stdin.buffer.read(4); sys.stdout.buffer.write(b'\\0\\0\\0\\3abc'); sys.stdout.flush(); time.sleep(600)"


async def test_an_engine_that_sends_nonsense_is_ended_and_its_request_fails() -> None:
    pipe = asyncio.subprocess.PIPE
    engine = EngineProcess(await asyncio.create_subprocess_exec(sys.executable, "-c", NONSENSE, stdin=pipe, stdout=pipe), INFO)
    with pytest.raises(EngineCrashed):
        async for _ in engine.generate(Generate(0, (1,), 1)):
            pass
    await engine.stop()
    assert not engine.alive
