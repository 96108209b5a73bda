"""An engine process without a model, for tests and demonstrations of clients: `--model scripted`.

It answers from the JSON file that QWENCODER_SCRIPT names: {"default": text, "rules": [{"contains": part of the prompt, "text": answer}],
"token_ms": milliseconds per character, "prefill_ms": milliseconds before the first}. The first rule that matches wins. Tokens are bytes.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

from qwencoder_lsp.engine.process import EngineSpec, open_wire
from qwencoder_lsp.engine.protocol import Cancel, Chunk, Done, EngineInfo, Failed, FromEngine, Generate, Ready, Shutdown
from qwencoder_lsp.engine.stops import StopState
from qwencoder_lsp.engine.vocabulary import ByteTokenizer


class ScriptedEngine:
    """Each request runs in a thread of its own."""

    def __init__(self, script: dict[str, Any], send: Any) -> None:
        self._script = script
        self._send = send
        self._running: dict[int, tuple[str | None, threading.Event, list[str]]] = {}
        self._lock = threading.Lock()

    def post(self, message: Generate | Cancel) -> None:
        """Start or stop a request."""
        if isinstance(message, Cancel):
            self._stop(lambda id, _: id == message.id, "cancelled")
            return
        self._stop(lambda _, document: message.document is not None and document == message.document, "superseded")
        with self._lock:
            self._running[message.id] = (message.document, threading.Event(), [])
        threading.Thread(target=self._answer, args=(message, *self._running[message.id][1:]), daemon=True).start()

    def _stop(self, which: Any, reason: str) -> None:
        with self._lock:
            for id, (document, stop, why) in self._running.items():
                if which(id, document):
                    why.append(reason)
                    stop.set()

    def _answer(self, request: Generate, stop: threading.Event, why: list[str]) -> None:
        prompt = ByteTokenizer().text(request.tokens)
        text = next((r["text"] for r in self._script.get("rules", []) if r["contains"] in prompt), self._script.get("default", ""))
        stops = StopState(request.stops, lambda: time.monotonic() * 1000)
        stop.wait(self._script.get("prefill_ms", 0) / 1000)
        reason, count = "", 0
        for character in text:
            if stop.wait(self._script.get("token_ms", 0) / 1000) or reason:
                break
            count += 1
            emit, fired = stops.feed(character)
            reason = fired or ""
            if emit:
                self._emit(Chunk(request.id, emit, tuple(emit.encode()), (-0.1,) * len(emit.encode())))
            if not reason and count >= request.max_tokens:
                reason = "length"
        reason = why[0] if why else reason or "stop_token"
        if reason in ("length", "stop_token") and (rest := stops.flush()):
            self._emit(Chunk(request.id, rest, tuple(rest.encode()), (-0.1,) * len(rest.encode())))
        with self._lock:
            del self._running[request.id]
        self._emit(Done(request.id, reason, len(request.tokens), 0, count, 0.0, float(self._script.get("prefill_ms", 0)), 0.0))

    def _emit(self, message: FromEngine) -> None:
        self._send(message)


def main() -> None:
    """Read the script, answer until the pipe closes."""
    wire = open_wire()
    spec = EngineSpec(**json.loads(sys.argv[1]))
    try:
        script = json.loads(Path(os.environ["QWENCODER_SCRIPT"]).read_text("utf-8"))
    except (KeyError, OSError, ValueError) as error:
        wire.send(Failed(f"The script of the scripted engine cannot be read: {error}.", "Set QWENCODER_SCRIPT to a JSON file."))
        sys.exit(1)
    time.sleep(script.get("load_ms", 0) / 1000)
    engine = ScriptedEngine(script, wire.send)
    wire.send(Ready(EngineInfo(spec.name, spec.n_ctx, 264, 1, False, "scripted", 10000.0, 10000.0, 0.0)))
    while not isinstance(message := wire.receive(), Shutdown):
        engine.post(message)
    os._exit(0)


if __name__ == "__main__":
    main()
