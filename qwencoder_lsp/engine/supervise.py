"""Runs an engine process and talks to it from an event loop. Knows nothing of prompts or HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import sys
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import asdict, replace
from pathlib import Path

from qwencoder_lsp.engine.process import EngineSpec
from qwencoder_lsp.engine.protocol import (
    HEADER,
    MAX_MESSAGE,
    Calibrated,
    Cancel,
    Chunk,
    Done,
    Embed,
    EngineInfo,
    Error,
    Failed,
    Generate,
    Loaded,
    Ready,
    Running,
    ToEngine,
    Unload,
    Unloaded,
    Vectors,
    decode,
    encode,
)
from qwencoder_lsp.errors import EngineCrashed, EngineFailed, RequestError, from_wire
from qwencoder_lsp.observe.log import rotate
from qwencoder_lsp.paths import NEUTRAL, neutral_environment

log = logging.getLogger(__name__)

EngineEvent = Loaded | Unloaded | Calibrated | Done
Answer = Chunk | Done | Vectors | Error

ENVIRONMENT = {
    "GGML_NO_BACKTRACE": "1",  # or a failed assertion in llama.cpp runs gdb before it ends the process
    # How long llama.cpp's threads turn in circles for each other before they sleep. libgomp's own 300,000 rounds burn a core whose owner another
    # program has taken: with two others busy on two cores, 128 tokens of prefill took 1.1 s with this and 3 to 6 s without; alone, the same.
    "GOMP_SPINCOUNT": "1000",
}
START_TIMEOUT_S = 600.0  # a 32B model from a cold disk
STOP_S = 3.0


class EngineProcess:
    """One running engine. Make it with `start`; it ends with `stop`, or by itself when its pipe closes.

    loaded: whether its model is in memory. costs: the last Calibrated, empty before the first. evaluated: tokens computed since it started.
    """

    def __init__(self, process: asyncio.subprocess.Process, info: EngineInfo, on_event: Callable[[EngineEvent], None] | None = None) -> None:
        self.info = info
        self.loaded = True
        self.evaluated = 0
        self.costs: tuple[tuple[int, int, float], ...] = ()
        self._process = process
        self._on_event = on_event
        self._ids = itertools.count(1)
        self._answers: dict[int, asyncio.Queue[Answer | None]] = {}
        self._running: dict[int, Running] = {}
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, spec: EngineSpec, log_file: Path, on_event: Callable[[EngineEvent], None] | None = None) -> EngineProcess:
        """Start the engine and wait until its model is loaded. Its stderr goes to `log_file`. `on_event` hears what becomes of the
        model later, and the account of each request.

        Raises EngineFailed with the engine's own reason when the model cannot be loaded.
        """
        module = "qwencoder_lsp.engine.scripted" if spec.name == "scripted" else "qwencoder_lsp.engine.process"
        log_file.parent.mkdir(parents=True, exist_ok=True)
        rotate(log_file)
        with log_file.open("ab") as stderr:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                module,
                json.dumps(asdict(spec)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=stderr,
                cwd=NEUTRAL,
                env=ENVIRONMENT | neutral_environment(),
            )
        try:
            body = await asyncio.wait_for(_frame(process), START_TIMEOUT_S)
            first = decode(body) if body is not None else None
            if isinstance(first, Failed):
                raise EngineFailed(first.message, first.hint)
            if not isinstance(first, Ready):
                raise EngineFailed(f"The engine for {spec.name} ended while it was loading the model.", "See: qwencoder-lsp logs")
        except BaseException as error:  # also on cancellation: no half-started engine may stay
            if process.returncode is None:
                process.kill()
            await process.wait()
            if isinstance(error, asyncio.TimeoutError):  # not the built-in class before Python 3.11
                raise EngineFailed(f"{spec.name} was not loaded within {START_TIMEOUT_S:.0f} s.", "Take a smaller model.") from error
            raise
        return cls(process, first.info, on_event)

    @property
    def pid(self) -> int:
        """The engine's process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it can take requests."""
        return not self._reader.done() and self._process.stdin is not None and not self._process.stdin.is_closing()

    @property
    def active(self) -> int:
        """Requests that are running or waiting."""
        return len(self._answers)

    @property
    def running(self) -> tuple[Running, ...]:
        """The same requests, the oldest first."""
        return tuple(self._running.values())

    async def generate(self, request: Generate) -> AsyncGenerator[Chunk | Done, None]:
        """Chunks and a final Done; `request.id` is replaced by one of our own. Closing the iterator cancels the request.

        Raises EngineCrashed when the process dies, and the QwencoderError that the engine reports.
        """
        async with aclosing(self._ask(replace(request, id=next(self._ids)))) as answers:
            async for answer in answers:
                assert not isinstance(answer, Vectors)
                yield answer

    async def embed(self, request: Embed) -> Vectors:
        """One vector per input. Cancelling the caller cancels the request. Raises as `generate` does."""
        async with aclosing(self._ask(replace(request, id=next(self._ids)))) as answers:
            async for answer in answers:
                if isinstance(answer, Vectors):
                    return answer
        raise _crashed(self.info.model)

    def unload(self) -> None:
        """Let the model leave memory once nothing runs; the next request brings it back."""
        if self.alive:
            self._write(Unload())

    async def _ask(self, request: Generate | Embed) -> AsyncGenerator[Chunk | Done | Vectors, None]:
        """What the engine answers, up to and with the last message. Cancels the request when closed before."""
        queue: asyncio.Queue[Answer | None] = asyncio.Queue()
        self._answers[request.id] = queue
        prompt = len(request.tokens) if isinstance(request, Generate) else sum(map(len, request.inputs))
        running = self._running[request.id] = Running(request.priority.name, time.monotonic(), prompt)
        ended = False
        try:
            self._write(request)
            while not ended:
                message = await queue.get()
                if message is None:
                    ended = True
                    raise _crashed(self.info.model)
                if isinstance(message, Error):
                    ended = True
                    raise from_wire(asdict(message))
                if isinstance(message, Chunk):
                    running.generated += len(message.tokens)
                ended = isinstance(message, Done | Vectors)
                yield message
        finally:
            self._answers.pop(request.id, None)
            self._running.pop(request.id, None)
            if not ended and self.alive:
                self._write(Cancel(request.id))

    async def stop(self) -> None:
        """End the process: it does so by itself when its pipe closes."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), STOP_S)
        except asyncio.TimeoutError:
            self._process.kill()  # it holds nothing that must be saved
            await self._process.wait()
        await self._reader
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # what was still to be written matters to nobody
            await self._process.stdin.wait_closed()

    def _write(self, message: ToEngine) -> None:
        if not self.alive:
            raise _crashed(self.info.model)
        assert self._process.stdin is not None
        frame = encode(message)
        if len(frame) > MAX_MESSAGE:  # the engine would take it for nonsense and end, and everybody's requests with it
            raise RequestError(f"The request has {len(frame) >> 20} MB, and the engine takes {MAX_MESSAGE >> 20}.", "Send less text at once.")
        self._process.stdin.write(frame)

    async def _read(self) -> None:
        try:
            while (body := await _frame(self._process)) is not None:
                message = decode(body)
                if isinstance(message, Done):
                    self.evaluated += message.evaluated_tokens
                    if self._on_event:
                        self._on_event(message)
                if isinstance(message, Chunk | Done | Vectors | Error):
                    if queue := self._answers.get(message.id):
                        queue.put_nowait(message)
                elif isinstance(message, Loaded | Unloaded | Calibrated):
                    self._note(message)
        except Exception:  # it can no longer be understood, or we failed on it; whoever waits for it must not wait for ever
            log.exception("engine %d is ended", self.pid)
            self._process.kill()
        status = await self._process.wait()
        log.info("engine %d for %s ended with status %s", self.pid, self.info.model, status)
        for queue in self._answers.values():
            queue.put_nowait(None)

    def _note(self, event: EngineEvent) -> None:
        if isinstance(event, Calibrated):
            self.costs = event.costs
        else:
            self.loaded = isinstance(event, Loaded)
        if self._on_event:
            self._on_event(event)


def _crashed(model: str) -> EngineCrashed:
    return EngineCrashed(f"The engine that ran {model} ended unexpectedly.", "It is started again at the next request; see: qwencoder-lsp logs")


async def _frame(process: asyncio.subprocess.Process) -> bytes | None:
    assert process.stdout is not None
    try:
        (size,) = HEADER.unpack(await process.stdout.readexactly(HEADER.size))
        return await process.stdout.readexactly(size)
    except (asyncio.IncompleteReadError, ConnectionResetError):
        return None
