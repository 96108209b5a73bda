"""Both sides: our server (as shipped, in a home of its own) and llama-server, each with how it wants to be asked."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

from tests.bench.engine.client import Call, Exchange, Reply, send
from tests.bench.engine.processes import alive, busy_seconds, command_line, processor_seconds, tree

T = TypeVar("T")

START_S = 300.0
STOP_S = 15.0
QUIET_S = 0.4  # a server that used less than QUIET_SHARE of a core for this long computes nothing
QUIET_SHARE = 0.06
SETTLE_S = 120.0


class Server(ABC):
    """A running server. `roots` are its processes that others descend from."""

    def __init__(self, port: int, process: asyncio.subprocess.Process) -> None:
        self.port = port
        self._process = process

    @property
    def roots(self) -> list[int]:
        """Process ids."""
        return [self._process.pid]

    async def call(self, call: Call) -> Reply:
        """The whole reply."""
        return await send(self.port, call)

    async def open(self, call: Call) -> Exchange:
        """A reply to be read piece by piece."""
        return await Exchange.open(self.port, call)

    def complete(self, prompt: str | list[int], tokens: int, **more: Any) -> Call:
        """Continue the text, greedily, as a stream."""
        return Call("/v1/completions", _streamed(tokens, more) | {"prompt": prompt})

    def chat(self, text: str, tokens: int, **more: Any) -> Call:
        """Answer a question, greedily, as a stream."""
        return Call("/v1/chat/completions", _streamed(tokens, more) | {"messages": [{"role": "user", "content": text}]})

    @abstractmethod
    def fill(self, prefix: str, suffix: str, tokens: int) -> Call:
        """Fill in the middle, greedily, as a stream."""

    @abstractmethod
    async def asleep(self) -> bool:
        """Whether the model has left memory. Asking does not wake it."""

    @abstractmethod
    async def stop(self) -> None:
        """End it and all that it started."""

    async def settle(self) -> float:
        """Wait until it computes nothing. Returns how many cores others used meanwhile. Raises TimeoutError."""
        deadline = time.monotonic() + SETTLE_S
        while True:
            own, all_, start = processor_seconds(tree(*self.roots)), busy_seconds(), time.monotonic()
            await asyncio.sleep(QUIET_S)
            elapsed = time.monotonic() - start
            used = processor_seconds(tree(*self.roots)) - own
            if used / elapsed < QUIET_SHARE:
                return max(0.0, busy_seconds() - all_ - used) / elapsed
            if time.monotonic() > deadline:
                raise TimeoutError(f"{type(self).__name__} still computes after {SETTLE_S:.0f} s")

    async def warm(self) -> None:
        """Load the model, touch each route, learn what is learnt at first use."""
        code = "def scale(values, factor):\n    return [value * factor for value in values]\n\n\n"
        for call in (self.complete(code * 8, 8), self.chat("Say hello.", 8), self.fill(code + "def add(a, b):\n    ret", "\n", 8)):
            reply = await self.call(call)
            if not reply.ok:
                raise ConnectionError(f"{call.path}: {reply.status} {reply.error}")
        await self.settle()


class Ours(Server):
    """`qwencoder-lsp serve` with the shipped settings; `env` changes some for a scenario that is about them."""

    def __init__(self, port: int, process: asyncio.subprocess.Process, home: Path) -> None:
        super().__init__(port, process)
        self.home = home

    @classmethod
    async def start(cls, model: Path | None, home: Path, env: dict[str, str] | None = None) -> Ours:
        """Start it in `home`; what it learnt about the machine there is kept for the next start, as it is for a user.

        model None: the settings in `env` say which.
        """
        command = (sys.executable, "-m", "qwencoder_lsp.cli", "serve", "--port", "0", *(("--model", str(model)) if model else ()))
        environment = clean_environment() | {"QWENCODER_HOME": str(home)} | (env or {})
        process = await asyncio.create_subprocess_exec(
            *command, env=environment, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, start_new_session=True
        )
        assert process.stdout is not None
        try:
            line = (await asyncio.wait_for(process.stdout.readline(), START_S)).decode()
            return cls(int(line.split("http://")[1].split()[0].rsplit(":", 1)[1]), process, home)
        except BaseException as error:
            await _end(process, [process.pid, *_gateways(home)])
            if isinstance(error, IndexError):
                raise ConnectionError("qwencoder-lsp serve did not start") from error
            raise

    @property
    def roots(self) -> list[int]:
        """The command and the gateway, which is a process apart."""
        return [self._process.pid, *_gateways(self.home)]

    @property
    def gateway(self) -> int:
        """The gateway's process id."""
        return _gateways(self.home)[0]

    @property
    def engines(self) -> list[int]:
        """The engines' process ids."""
        return [pid for pid in tree(self.gateway) if "qwencoder_lsp.engine" in command_line(pid)]

    def fill(self, prefix: str, suffix: str, tokens: int) -> Call:
        """By `suffix` on /v1/completions."""
        return Call("/v1/completions", _streamed(tokens, {}) | {"prompt": prefix, "suffix": suffix})

    async def asleep(self) -> bool:
        """By the states in /health."""
        reply = await self.call(Call("/health"))
        return bool(reply.body["models"]) and all(model["state"] == "unloaded" for model in reply.body["models"])

    async def stop(self) -> None:
        """The command, then the gateway; engines end with their pipe."""
        await _end(self._process, tree(*self.roots), self.roots)


class Peer(Server):
    """llama-server."""

    @classmethod
    async def start(cls, binary: Path, model: Path, flags: Sequence[str], log: Path) -> Peer:
        """Start it with as many threads as there are cores, and `flags` behind, where they win."""
        port, cores = free_port(), str(len(os.sched_getaffinity(0)))
        command = [
            str(binary),
            "-m",
            str(model),
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "-t",
            cores,
            "-tb",
            cores,
            "--no-ui",
            "-c",
            "16384",
            *flags,
        ]
        with log.open("ab") as file:
            process = await asyncio.create_subprocess_exec(
                *command, stdin=asyncio.subprocess.DEVNULL, stdout=file, stderr=file, env=clean_environment(), start_new_session=True
            )
        peer = cls(port, process)
        try:
            await asyncio.wait_for(peer._healthy(), START_S)
        except BaseException:
            await peer.stop()
            raise
        return peer

    def fill(self, prefix: str, suffix: str, tokens: int) -> Call:
        """Its own route; the OpenAI one refuses a suffix."""
        return Call("/infill", _streamed(tokens, {}) | {"n_predict": tokens, "input_prefix": prefix, "input_suffix": suffix})

    async def asleep(self) -> bool:
        """By /props, which is exempt from waking it."""
        return bool((await self.call(Call("/props"))).body["is_sleeping"])

    async def stop(self) -> None:
        """It is one process."""
        await _end(self._process, [self._process.pid])

    async def _healthy(self) -> None:
        while True:
            if self._process.returncode is not None:
                raise ConnectionError(f"llama-server ended with status {self._process.returncode}")
            with contextlib.suppress(OSError):
                if (await self.call(Call("/health"))).status == 200:
                    return
            await asyncio.sleep(0.1)


def to_its_end(work: Coroutine[Any, Any, T]) -> T:
    """The result of the work. SIGTERM cancels it, so that no server is left behind."""

    async def run() -> T:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await work

    return asyncio.run(run())


@contextlib.contextmanager
def own_home() -> Any:
    """A directory for a server of ours, short enough for a Unix socket."""
    home = Path(tempfile.mkdtemp(prefix="qc-"))
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


def clean_environment() -> dict[str, str]:
    """Ours without settings of either side."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("QWENCODER_", "LLAMA_ARG_"))}


def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _streamed(tokens: int, more: dict[str, Any]) -> dict[str, Any]:
    return {"max_tokens": tokens, "temperature": 0, "stream": True, "stream_options": {"include_usage": True}} | more


def _gateways(home: Path) -> list[int]:
    found = []
    for file in home.glob("run/gateway-*.json"):
        with contextlib.suppress(OSError, ValueError, KeyError):
            found.append(int(json.loads(file.read_text("utf-8"))["pid"]))
    return [pid for pid in found if alive(pid)]


async def _end(process: asyncio.subprocess.Process, pids: list[int], asked: list[int] | None = None) -> None:
    """Ask politely (those of `asked` end the others), then insist. `pids`: all that must be gone afterwards."""
    for number, whom in ((signal.SIGTERM, asked or pids), (signal.SIGKILL, pids)):
        for pid in filter(alive, whom):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        deadline = time.monotonic() + STOP_S
        while any(map(alive, pids)) and time.monotonic() < deadline:  # noqa: ASYNC110 - the kernel has no event for it
            await asyncio.sleep(0.05)
    await process.wait()
