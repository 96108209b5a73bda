"""A real llama-server that says what a script of the scripted engine says: a grammar in each request leaves it no other words.

Between a gateway and that server stands a proxy that adds the grammar, waits where the script waits, and sets the log-probabilities to the scripted
engine's: those of dictated words would be too low for ghost text. All else is llama-server's: its tokens, its stream, its account, its cancelling.
"""

from __future__ import annotations

import atexit
import functools
import http.client
import json
import os
import select
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from qwencoder_lsp.engine.scripted import LOGPROB
from qwencoder_lsp.models.store import resolve

ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}  # of llama.cpp's grammars/README.md


@contextmanager
def dictated(env: dict[str, str]) -> Iterator[str]:
    """The URL of a llama-server that answers as the scripted engine would in that environment."""
    proxy = ThreadingHTTPServer(("127.0.0.1", 0), type("Dictating", (_Dictating,), {"script": Path(env["QWENCODER_SCRIPT"]), "upstream": server()}))
    proxy.daemon_threads = True
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{proxy.server_port}"
    finally:
        proxy.shutdown()
        proxy.server_close()


@functools.cache
def server() -> int:
    """The port of a llama-server with the smallest model, which ends with this process."""
    program = shutil.which("llama-server")
    assert program, "llama-server is not on the PATH"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    model = os.environ.get("QWENCODER_TEST_LLAMA_SERVER_MODEL") or str(resolve("qwencoder-0.5b").path)
    command = [program, "-m", model, "--port", str(port), "-c", "16384", "-np", "2", "-t", "2", "--no-webui"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    atexit.register(process.kill)
    for _ in range(600):
        with suppress(urllib.error.URLError, OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
            return port
        time.sleep(0.1)
    raise AssertionError("llama-server does not start")


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
        body["grammar"] = "root ::= " + "".join(('"', *(ESCAPES.get(c, c) for c in _text(script, body["prompt"])), '"'))
        self._pass_on("POST", json.dumps(body).encode())

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: pytest shows what matters."""

    def _pass_on(self, method: str, body: bytes | None) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.upstream, timeout=600)
        try:
            connection.request(method, self.path, body, {"Content-Type": "application/json"} if body else {})
            answer = connection.getresponse()
            if "event-stream" not in answer.getheader("Content-Type", ""):
                self._answer(answer.status, answer.read())
                return
            self.send_response(answer.status)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            while line := answer.readline():
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


def _text(script: dict[str, Any], prompt: str) -> str:
    """As the scripted engine chooses it."""
    found = next((rule["text"] for rule in script.get("rules", []) if rule.get("contains", "") in f"{prompt}<|cursor|>"), script.get("default", ""))
    return str(found[0]) if isinstance(found, list) else str(found)


def _sure(line: bytes) -> bytes:
    """An event with the scripted engine's log-probability for each token."""
    if not line.startswith(b"data: {"):
        return line
    event = json.loads(line.removeprefix(b"data: "))
    for choice in event.get("choices", ()):
        for row in (choice.get("logprobs") or {}).get("content") or ():
            row["logprob"] = LOGPROB
    return b"data: " + json.dumps(event).encode() + b"\n"
