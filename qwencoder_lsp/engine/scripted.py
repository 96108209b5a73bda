"""An engine process without a model, for tests and demonstrations of clients: `--model scripted`.

It answers from the JSON file that QWENCODER_SCRIPT names: {"default": text, "rules": [{"contains": part of the prompt, "text": answer}],
"token_ms": milliseconds per character, "prefill_ms": milliseconds before the first, "busy_above": requests that may run at once}. The first rule
that matches wins (behind the prompt stand what the answer has to begin with, and `<|cursor|>`); a rule with "constraint" wants that in the
request's constraint as well, and a list of texts answers the candidates in turn. Tokens are bytes, each with the log-probability -0.1.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import os
import struct
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from qwencoder_lsp.engine.process import EngineSpec, open_wire
from qwencoder_lsp.engine.protocol import (
    Cancel,
    Chunk,
    Done,
    Embed,
    EngineInfo,
    Error,
    Failed,
    FromEngine,
    Generate,
    Loaded,
    Ready,
    Shutdown,
    ToEngine,
    Unload,
    Unloaded,
    Vectors,
)
from qwencoder_lsp.engine.stops import StopState
from qwencoder_lsp.engine.vocabulary import ByteTokenizer

LOGPROB = -0.1
N_VOCAB = 264
DIMENSIONS = 8


class ScriptedEngine:
    """Each request runs in a thread of its own."""

    def __init__(self, script: dict[str, Any], send: Callable[[FromEngine], None]) -> None:
        self._script = script
        self._send = send
        self._running: dict[int, tuple[str | None, threading.Event, list[str]]] = {}
        self._lock = threading.Lock()
        self._loaded = True

    def post(self, message: ToEngine) -> None:
        """Start or stop a request, or play at leaving memory."""
        if isinstance(message, Cancel):
            self._stop(lambda id, _: id == message.id, "cancelled")
        elif isinstance(message, Unload):
            self._loaded = False
            self._send(Unloaded(0))
        elif isinstance(message, Generate | Embed):
            if not self._loaded:
                self._loaded = True
                self._send(Loaded(0.0))
            if isinstance(message, Embed):
                self._send(_embed(message))
            else:
                self._begin(message)

    def _begin(self, request: Generate) -> None:
        if request.index == 0:
            self._stop(lambda _, document: request.document is not None and document == request.document, "superseded")
        stop: threading.Event = threading.Event()
        why: list[str] = []
        with self._lock:
            if len(self._running) >= self._script.get("busy_above", 1000):
                self._send(Error(request.id, "engine_busy", "Too many requests are waiting.", "Try again in a moment."))
                return
            self._running[request.id] = (request.document, stop, why)
        threading.Thread(target=self._answer, args=(request, stop, why), daemon=True).start()

    def _stop(self, which: Callable[[int, str | None], bool], reason: str) -> None:
        with self._lock:
            for id, (document, stop, why) in self._running.items():
                if which(id, document):
                    why.append(reason)
                    stop.set()

    def _answer(self, request: Generate, stop: threading.Event, why: list[str]) -> None:
        start = time.monotonic()
        stops = StopState(request.stops, lambda: time.monotonic() * 1000)
        scoring = request.score_from is not None
        text = self._text(request) if request.max_tokens else ""
        reason, count = "" if request.max_tokens else "scored" if scoring else "length", 0

        def late() -> bool:
            return request.deadline_ms is not None and (time.monotonic() - start) * 1000 >= request.deadline_ms

        def pause(name: str) -> bool:
            seconds = self._script.get(name, 0) / 1000
            if request.deadline_ms is not None:
                seconds = min(seconds, max(0.0, start + request.deadline_ms / 1000 - time.monotonic()))
            return stop.wait(seconds)

        pause("prefill_ms")
        prefill_ms = (time.monotonic() - start) * 1000
        for character in text:
            if reason or pause("token_ms"):
                break
            if late():
                reason = "deadline"
                break
            count += 1
            emit, fired = stops.feed(character)
            reason = fired or ""
            if emit:
                self._send(_chunk(request, emit))
            if not reason and count >= request.max_tokens:
                reason = "length"
        reason = why[0] if why else reason or "stop_token"
        if reason in ("length", "stop_token", "deadline") and (rest := stops.flush()):
            self._send(_chunk(request, rest))
        with self._lock:
            del self._running[request.id]
        scored = request.tokens[request.score_from :] if scoring else ()
        decode_ms = (time.monotonic() - start) * 1000 - prefill_ms
        self._send(
            Done(
                request.id,
                reason,
                len(request.tokens),
                0,
                count,
                0.0,
                prefill_ms,
                decode_ms,
                scores=(LOGPROB,) * len(scored),
                top=_top(request, scored),
                line_ends=tuple(stops.line_ends),
                stopping_word=stops.word,
            )
        )

    def _text(self, request: Generate) -> str:
        healed = request.constraint.value if request.constraint and request.constraint.kind == "heal" else ""
        prompt = f"{ByteTokenizer().text(request.tokens)}{healed}<|cursor|>"
        return answer(self._script, prompt, request.constraint.value if request.constraint else "", request.index)


def answer(script: dict[str, Any], prompt: str, constraint: str = "", index: int = 0) -> str:
    """What the script says to a prompt with its `<|cursor|>`, as candidate `index`."""
    for rule in script.get("rules", []):
        if rule.get("contains", "") in prompt and rule.get("constraint", "") in constraint:
            text = rule["text"]
            break
    else:
        text = script.get("default", "")
    return str(text[index % len(text)]) if isinstance(text, list) else str(text)


def _chunk(request: Generate, text: str) -> Chunk:
    tokens = tuple(text.encode())
    return Chunk(request.id, text, tokens, (LOGPROB,) * len(tokens), _top(request, tokens))


def _top(request: Generate, tokens: Sequence[int]) -> tuple[tuple[tuple[int, float], ...], ...]:
    wanted = request.sampling.top_logprobs
    return tuple(tuple(((token + i) % 256, LOGPROB - i) for i in range(wanted)) for token in tokens) if wanted else ()


def _embed(request: Embed) -> Vectors:
    """Unit vectors that depend on the tokens only."""
    vectors = []
    for tokens in request.inputs:
        values = [byte - 127.5 for byte in hashlib.sha256(json.dumps(tokens).encode()).digest()[:DIMENSIONS]]
        length = math.hypot(*values)
        packed = struct.pack(f"<{DIMENSIONS}f", *(value / length for value in values))
        vectors.append(base64.b64encode(packed).decode("ascii"))
    return Vectors(request.id, tuple(vectors), sum(map(len, request.inputs)))


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
    wire.send(Ready(EngineInfo(spec.name, spec.n_ctx, N_VOCAB, 1, False, "scripted", 10000.0, 10000.0, 0.0, embed_ctx=spec.n_ctx)))
    while not isinstance(message := wire.receive(), Shutdown):
        engine.post(message)
    os._exit(0)


if __name__ == "__main__":
    main()
