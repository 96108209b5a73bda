"""A real llama-server that says what a script of the scripted engine says: a grammar in each request leaves it no other words.

Between a gateway and that server stands a proxy that adds the grammar, waits where the script waits, and sets the log-probabilities to the scripted
engine's: those of dictated words would be too low for ghost text. All else is llama-server's: its tokens, its stream, its account, its cancelling.
"""

from __future__ import annotations

import atexit
import functools
import http.client
import json
import select
import shutil
import socket
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from qwencoder_lsp.engine.scripted import LOGPROB, answer
from qwencoder_lsp.models.store import resolve
from tests.protocol.gateways import wait

ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}  # of llama.cpp's grammars/README.md


@contextmanager
def dictated(env: dict[str, str]) -> Iterator[str]:
    """The URL of a llama-server that answers as the scripted engine would in that environment."""
    proxy = ThreadingHTTPServer(("127.0.0.1", 0), type("Dictating", (_Dictating,), {"script": Path(env["QWENCODER_SCRIPT"]), "upstream": _server()}))
    proxy.daemon_threads = True
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{proxy.server_port}"
    finally:
        proxy.shutdown()
        proxy.server_close()


@contextmanager
def llama_server(model: Path, context: int = 4096, slots: int = 1) -> Iterator[int]:
    """The port of a llama-server with that model and a context of so many tokens."""
    program = shutil.which("llama-server")
    assert program, "llama-server is not on the PATH"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    command = [program, "-m", str(model), "--port", str(port), "-c", str(context), "-np", str(slots), "-t", "2", "--no-webui"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        assert wait(lambda: _answers(port), 60), "llama-server does not start"
        yield port
    finally:
        process.terminate()
        process.wait(20)


def _answers(port: int) -> bool:
    with suppress(urllib.error.URLError, OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
        return True
    return False


@functools.cache
def _server() -> int:
    """The port of one with the smallest model, for all tests of this process."""
    kept = ExitStack()
    atexit.register(kept.close)
    return kept.enter_context(llama_server(resolve("qwencoder-0.5b").path, 16384, 2))


class _Dictating(BaseHTTPRequestHandler):
    script: Path
    upstream: int

    def do_GET(self) -> None:
        self._pass_on("GET", None)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        try:
            script = json.loads(self.script.read_text("utf-8"))
        except OSError as error:
            message = f"The script of the scripted engine cannot be read: {error}. Set QWENCODER_SCRIPT to a JSON file."
            self._answer(500, json.dumps({"error": {"code": 500, "message": message, "type": "server_error"}}).encode())
            return
        if self._left_within(script.get("prefill_ms", 0) / 1000):
            return
        body["grammar"] = "root ::= " + "".join(('"', *(ESCAPES.get(c, c) for c in answer(script, f"{body['prompt']}<|cursor|>")), '"'))
        self._pass_on("POST", json.dumps(body).encode())

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: pytest shows what matters."""

    def _pass_on(self, method: str, body: bytes | None) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.upstream, timeout=600)
        try:
            connection.request(method, self.path, body, {"Content-Type": "application/json"} if body else {})
            reply = connection.getresponse()
            if "event-stream" not in reply.getheader("Content-Type", ""):
                self._answer(reply.status, reply.read())
                return
            self.send_response(reply.status)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            while line := reply.readline():
                self.wfile.write(_sure(line))
        except OSError:  # the gateway has cancelled: the connection to llama-server ends too
            pass
        finally:
            connection.close()

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _left_within(self, seconds: float) -> bool:
        """Whether the gateway closes the connection while it waits."""
        readable, _, _ = select.select([self.connection], [], [], seconds)
        return bool(readable)


def _sure(line: bytes) -> bytes:
    """An event with the scripted engine's log-probability for each token."""
    if not line.startswith(b"data: {"):
        return line
    event = json.loads(line.removeprefix(b"data: "))
    for choice in event.get("choices", ()):
        for row in (choice.get("logprobs") or {}).get("content") or ():
            row["logprob"] = LOGPROB
    return b"data: " + json.dumps(event).encode() + b"\n"
