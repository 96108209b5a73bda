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
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from qwencoder_lsp.engine.protocol import EngineInfo, Failed, FromEngine, Ready, Shutdown, ToEngine, decode, encode, read_frame
from qwencoder_lsp.errors import QwencoderError

if TYPE_CHECKING:
    from qwencoder_lsp.engine.loop import Engine

log = logging.getLogger(__name__)

N_SEQ = 8
UBATCH_CPU, UBATCH_GPU = 128, 512  # an aborted prefill keeps whole micro-batches


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """What to load. threads None: the cores this process may use. A known speed (tokens per second) saves measuring it; 0 is unknown."""

    name: str
    path: str
    n_ctx: int
    threads: int | None = None
    gpu_layers: int = -1
    prefill_speed: float = 0.0
    decode_speed: float = 0.0


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


def main() -> None:
    """Load the model, answer until the pipe closes."""
    wire = open_wire()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    spec = EngineSpec(**json.loads(sys.argv[1]))
    try:
        engine = _load(spec, wire)
    except QwencoderError as error:
        wire.send(Failed(error.message, error.hint))
        sys.exit(1)
    threading.Thread(target=_read, args=(wire, engine), name="reader", daemon=True).start()
    engine.run()
    os._exit(0)  # freeing gigabytes page by page helps nobody


def _load(spec: EngineSpec, wire: Wire) -> Engine:
    from qwencoder_lsp.engine import binding, calibrate
    from qwencoder_lsp.engine.loop import Engine

    start = time.monotonic()
    threads = spec.threads or usable_cores()
    gpu = binding.gpu_available() and spec.gpu_layers != 0
    context = binding.Context(
        Path(spec.path),
        n_ctx=spec.n_ctx,
        n_seq=N_SEQ,
        n_threads=threads,
        gpu_layers=spec.gpu_layers,
        n_ubatch=UBATCH_GPU if gpu else UBATCH_CPU,
    )
    load_ms = (time.monotonic() - start) * 1000
    prefill, decode_speed = spec.prefill_speed, spec.decode_speed
    if not (prefill and decode_speed):
        prefill, decode_speed = calibrate.measure(context)
    device = "GPU" if gpu else f"CPU, {threads} threads"
    info = EngineInfo(spec.name, context.n_ctx, context.vocabulary.n_vocab, threads, gpu, device, prefill, decode_speed, load_ms)
    log.info(
        "loaded %s in %.0f ms on %s; prefill %.0f tok/s, decode %.0f tok/s; abort in prefill: %s",
        *(info.model, load_ms, device),
        prefill,
        decode_speed,
        context.can_abort,
    )
    wire.send(Ready(info))
    return Engine(context, N_SEQ, wire.send)


def _read(wire: Wire, engine: Engine) -> None:
    while True:
        message = wire.receive()
        if isinstance(message, Shutdown):
            os._exit(0)
        engine.post(message)


if __name__ == "__main__":
    main()
