"""The engine process: `python -m qwencoder_lsp.engine.process SPEC`, where SPEC is an EngineSpec as JSON.

Speaks engine.protocol on its original stdin and stdout; whatever native code prints goes to stderr. Ends when stdin closes.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from qwencoder_lsp.engine.protocol import EngineInfo, Failed, FromEngine, Ready, Shutdown, ToEngine, decode, encode, read_frame
from qwencoder_lsp.errors import QwencoderError
from qwencoder_lsp.observe.log import to_stderr

if TYPE_CHECKING:
    from qwencoder_lsp.engine.loop import Engine
    from qwencoder_lsp.engine.saving import Saver

log = logging.getLogger("qwencoder_lsp.engine.process")  # __name__ is "__main__" where it counts

EXIT_S = 2.5
PREFILL_ROWS = 48  # rows of the step that prefill speed is told by


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """What to load.

    n_ctx: tokens of the lane for completions; max_ctx: the most that a longer prompt may have (0: n_ctx). threads None: the cores this process
    may use. costs: known points of the cost curves, which saves measuring them. host_bytes: most memory for computed prefixes. saved: the directory
    for those of workspaces ("": none), in which there may be saved_bytes, and nothing that was not used for saved_days. memory_limit: bytes for
    weights and KV memory, 0 for what the machine has. draft: file of a model that writes ahead ("": none).
    """

    name: str
    path: str
    n_ctx: int
    threads: int | None = None
    gpu_layers: int = -1
    costs: tuple[tuple[int, int, float], ...] = ()
    max_ctx: int = 0
    host_bytes: int = 1 << 30
    saved: str = ""
    saved_bytes: int = 0
    saved_days: float = 0.0
    memory_limit: int = 0
    draft: str = ""


class Wire:
    """Frames in and out. `send` may be called from any thread."""

    def __init__(self, source: BinaryIO, sink: BinaryIO) -> None:
        self._source, self._sink = source, sink
        self._lock = threading.Lock()

    def send(self, message: FromEngine) -> None:
        """Write one message; the process ends when nobody reads any more."""
        with self._lock:
            try:
                self._sink.write(encode(message))
                self._sink.flush()
            except BrokenPipeError:
                os._exit(0)

    def receive(self) -> ToEngine:
        """The next message; Shutdown at the end of the stream."""
        body = read_frame(self._source)
        return Shutdown() if body is None else decode(body)  # type: ignore[return-value]  # the gateway sends nothing else


def open_wire() -> Wire:
    """Take stdin and stdout for the protocol and point file descriptor 1 at stderr, so that no print can corrupt it."""
    source, sink = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return Wire(source, sink)


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_bytes() -> int:
    """The machine's memory; 8 GiB where it cannot be told."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):  # AttributeError: Windows
        return 8 << 30


def main() -> None:
    """Load the model, answer until the pipe closes."""
    wire = open_wire()
    to_stderr()
    spec = EngineSpec(**json.loads(sys.argv[1]))
    try:
        engine, saver = _load(spec, wire)
    except QwencoderError as error:
        wire.send(Failed(error.message, error.hint))
        sys.exit(1)
    threading.Thread(target=_read, args=(wire, engine), name="reader", daemon=True).start()
    engine.run()
    if saver:
        saver.finish()
    os._exit(0)  # freeing gigabytes page by page helps nobody


def _load(spec: EngineSpec, wire: Wire) -> tuple[Engine, Saver | None]:
    from qwencoder_lsp.engine import binding, calibrate
    from qwencoder_lsp.engine.costs import Costs
    from qwencoder_lsp.engine.disktier import DiskTier
    from qwencoder_lsp.engine.hosttier import HostTier
    from qwencoder_lsp.engine.lanes import Lanes
    from qwencoder_lsp.engine.loop import Engine
    from qwencoder_lsp.engine.saving import Saver

    threads = spec.threads or usable_cores()
    disk = DiskTier(Path(spec.saved), spec.saved_bytes, spec.saved_days) if spec.saved else None
    if disk is not None and not spec.saved_bytes:
        disk.trim()  # it was turned off: what is there goes
        disk = None
    tier = HostTier(spec.host_bytes, disk)
    saver = None if disk is None else Saver(disk, tier)
    costs = Costs((rows, outputs, ms) for rows, outputs, ms in spec.costs)

    def load(on_ready: Callable[[], None]) -> Lanes:
        return Lanes(
            Path(spec.path),
            gpu_layers=spec.gpu_layers,
            threads=threads,
            n_ctx=spec.n_ctx,
            max_ctx=max(spec.max_ctx, spec.n_ctx),
            tier=tier,
            on_ready=on_ready,
            memory_limit=spec.memory_limit,
            draft=Path(spec.draft) if spec.draft else None,
        )

    engine = Engine(load, costs, threads, wire.send, saver)
    lanes = engine.lanes
    assert lanes is not None
    costs.tiled = not lanes.model.on_gpu
    if not spec.costs:
        calibrate.measure(lanes.typing.context, costs)
    gpu = lanes.model.on_gpu
    device = ("GPU" if gpu else f"CPU, {threads} threads") + (f", drafts by {Path(spec.draft).stem}" if lanes.draft else "")
    prefill, decode_speed = PREFILL_ROWS * 1000 / costs.table(PREFILL_ROWS), 1000 / costs.table(1)
    info = EngineInfo(
        spec.name,
        lanes.typing.context.n_ctx,
        lanes.vocabulary.n_vocab,
        threads,
        gpu,
        device,
        prefill,
        decode_speed,
        lanes.load_ms,
        lanes.most_tokens,
        lanes.embed_ctx,
    )
    log.info(
        "loaded %s in %.0f ms on %s; prefill %.0f tok/s, decode %.0f tok/s; abort in prefill: %s; llama.cpp build %s",
        *(info.model, info.load_ms, device),
        *(prefill, decode_speed, lanes.can_abort, binding.build_info()),
    )
    wire.send(Ready(info))
    return engine, saver


def _read(wire: Wire, engine: Engine) -> None:
    try:
        while not isinstance(message := wire.receive(), Shutdown):
            engine.post(message)
    except Exception:  # nobody could talk to us any more; the gateway starts another engine
        log.exception("the gateway cannot be understood")
        os._exit(1)
    engine.post(Shutdown())
    time.sleep(EXIT_S)  # for the step that runs to be broken off, and for prefixes to be saved
    os._exit(0)


if __name__ == "__main__":
    main()
