"""A raw JSON-RPC client over stdio: sends exactly the bytes it is told to, and keeps everything that comes back.

For what a well-behaved client library cannot do: malformed messages, requests without cancellation, deaths at the wrong moment.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PATIENCE_S = 60.0  # for things that must happen; a machine may be slow
COMMAND = (sys.executable, "-m", "qwencoder_lsp.lsp")


def frame(message: dict[str, Any]) -> bytes:
    """The message with its header."""
    body = json.dumps({"jsonrpc": "2.0", **message}).encode()
    return b"Content-Length: %d\r\n\r\n%s" % (len(body), body)


class RawClient:
    """One server process. `answers` says what to reply to the server's requests, by method (the default is null), `deaf_to` which get no reply."""

    def __init__(self, env: dict[str, str], command: tuple[str, ...] = COMMAND, stderr: Path | None = None) -> None:
        self.answers: dict[str, Callable[[Any], Any]] = {}
        self.deaf_to: set[str] = set()
        self.received: list[dict[str, Any]] = []
        self.arrived: dict[Any, float] = {}  # by the id of the request: when its parsed response was there, on time.perf_counter
        self._responses: dict[Any, dict[str, Any]] = {}
        self.garbage = b""
        self._changed = threading.Condition()
        self.ids = itertools.count(1)
        self._lock = threading.Lock()
        with (stderr or Path(os.devnull)).open("wb") as sink:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=sink, env=env)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def send_bytes(self, data: bytes) -> None:
        """Write bytes as they are."""
        assert self.process.stdin is not None
        with self._lock:
            self.process.stdin.write(data)
            self.process.stdin.flush()

    def send(self, message: dict[str, Any]) -> None:
        """Send one framed message."""
        self.send_bytes(frame(message))

    def notify(self, method: str, params: Any = None) -> None:
        """Send a notification."""
        self.send({"method": method, "params": params})

    def begin(self, method: str, params: Any = None) -> int:
        """Send a request and return its id."""
        id_ = next(self.ids)
        self.send({"id": id_, "method": method, "params": params})
        return id_

    def answer(self, id_: int) -> dict[str, Any]:
        """The whole response to a request."""
        return self._until(lambda: self._responses.get(id_), PATIENCE_S)

    def request(self, method: str, params: Any = None) -> Any:
        """The result of a request. An error response fails the test."""
        response = self.answer(self.begin(method, params))
        assert "error" not in response, response["error"]
        return response["result"]

    def all(self, method: str) -> list[Any]:
        """The parameters of all messages of that method so far."""
        with self._changed:
            return [m.get("params") for m in self.received if m.get("method") == method]

    def wait(self, wanted: Callable[[dict[str, Any]], Any], seconds: float = PATIENCE_S) -> dict[str, Any]:
        """The first message received, now or later, for which `wanted` is true."""
        return self._until(lambda: next((m for m in self.received if wanted(m)), None), seconds)

    def _until(self, found: Callable[[], dict[str, Any] | None], seconds: float) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        with self._changed:
            while True:
                if (message := found()) is not None:
                    return message
                left = deadline - time.monotonic()
                assert left > 0, f"the message did not come; last ones: {self.received[-5:]}"
                assert self._reader.is_alive() or self.process.poll() is None, f"the server ended with {self.process.returncode}"
                self._changed.wait(min(left, 0.5))

    def notification(self, method: str, wanted: Callable[[Any], Any] = lambda _: True) -> Any:
        """The parameters of the first message of that method that fits."""
        return self.wait(lambda m: m.get("method") == method and wanted(m.get("params")))["params"]

    def exit_code(self, seconds: float = PATIENCE_S) -> int:
        """The exit code, once the process has ended by itself."""
        return self.process.wait(seconds)

    def close(self) -> None:
        """Kill the server if it still runs."""
        self.process.kill()
        self.process.wait()
        self._reader.join(PATIENCE_S)
        for stream in (self.process.stdin, self.process.stdout):
            if stream:
                stream.close()

    def took(self, message: dict[str, Any]) -> None:
        """A message came; called in the reader's thread, in order. For clients that look at every one."""

    def _read(self) -> None:
        assert self.process.stdout is not None
        while line := self.process.stdout.readline():
            if not line.lower().startswith(b"content-length:"):
                self.garbage += line
                continue
            while self.process.stdout.readline().strip():
                pass
            message = json.loads(self.process.stdout.read(int(line.split(b":")[1])))
            now = time.perf_counter()
            self.took(message)
            with self._changed:
                self.received.append(message)
                if "method" not in message:
                    self._responses.setdefault(message.get("id"), message)
                    self.arrived.setdefault(message.get("id"), now)
                self._changed.notify_all()
            if "method" in message and "id" in message and message["method"] not in self.deaf_to:
                reply = self.answers.get(message["method"])
                self.send({"id": message["id"], "result": reply(message.get("params")) if reply else None})
