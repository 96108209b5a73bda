"""A server on this machine that speaks the hub's protocol, and misbehaves as told: cuts, wrong bytes, statuses, stalls, ignored ranges."""

from __future__ import annotations

import hashlib
import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "c" * 40
BLOCK = 16_384


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one answer.

    status: instead of the file; headers: with it. cut_after, wrong_after: bytes of the body after which the connection ends, or the bytes
    are others. stall_s: a pause at the start of the body. ignore_range: all of it, whatever was asked. block_s: a pause before each block.
    """

    status: int = 0
    headers: tuple[tuple[str, str], ...] = ()
    cut_after: int | None = None
    wrong_after: int | None = None
    stall_s: float = 0.0
    ignore_range: bool = False
    shift_range: int = 0
    block_s: float = 0.0


NONE = Fault()


@dataclass
class Hub:
    """A hub's state. endpoint and contents are two hosts for the client, as with the real one.

    files: by "owner/name/path". faults(method, path): what goes wrong with this request. requests: method, path, Range, Authorization of each.
    """

    files: dict[str, bytes]
    faults: Callable[[str, str], Fault] = lambda method, path: NONE
    hashes: dict[str, str] = field(default_factory=dict)
    requests: list[tuple[str, str, str, str]] = field(default_factory=list)
    endpoint: str = ""
    contents: str = ""

    def etag(self, name: str) -> str:
        """The LFS checksum that the hub tells, which may be a lie."""
        return self.hashes.get(name) or hashlib.sha256(self.files[name]).hexdigest()

    def gets(self) -> list[str]:
        """The Range of each GET of file contents, "" for all of it."""
        return [ranged for method, path, ranged, _ in self.requests if method == "GET" and path.startswith("/cdn/")]


def scripted(*faults: Fault) -> Callable[[str, str], Fault]:
    """One fault for each GET of file contents, in order; then none."""
    left = list(faults)
    return lambda method, path: left.pop(0) if left and method == "GET" and path.startswith("/cdn/") else NONE


def chance(seed: int) -> Callable[[str, str], Fault]:
    """Any fault at random, for each request."""
    draw = random.Random(seed)  # noqa: S311 - the same faults in every run

    def fault(method: str, path: str) -> Fault:
        at = draw.randrange(900_000)
        slow = 0.002 * draw.randrange(3)
        kinds = [
            NONE,
            Fault(block_s=slow),
            Fault(cut_after=at, block_s=slow),
            Fault(wrong_after=at, block_s=slow),
            Fault(status=draw.choice([429, 500, 502, 503]), headers=(("Retry-After", "0"),)),
            Fault(ignore_range=True, block_s=slow),
            Fault(stall_s=0.2),
            Fault(shift_range=draw.choice([1, -1])),
        ]
        return draw.choices(kinds, [6, 6, 6, 2, 4, 2, 2, 1])[0]

    return fault


@contextmanager
def hub(files: dict[str, bytes]) -> Iterator[Hub]:
    """A running server; give its `endpoint` to the client as HF_ENDPOINT."""
    state = Hub(files)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer("HEAD")

        def do_GET(self) -> None:
            self._answer("GET")

        def handle_one_request(self) -> None:
            try:
                super().handle_one_request()
            except ConnectionResetError:
                self.close_connection = True  # the client was killed

        def log_message(self, format: str, *args: object) -> None:
            pass

        def _answer(self, method: str) -> None:
            state.requests.append((method, self.path, self.headers.get("Range", ""), self.headers.get("Authorization", "")))
            fault = state.faults(method, self.path)
            try:
                if fault.status:
                    self._empty(fault.status, fault.headers)
                elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self.path):
                    self._resolve(found[1], found[2], found[3])
                elif self.path.startswith("/cdn/"):
                    self._content(self.path.removeprefix("/cdn/"), fault)
                else:
                    raise AssertionError(f"the client asks for {self.path}")
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True  # the client was killed

        def _resolve(self, repository: str, revision: str, name: str) -> None:
            key = f"{repository}/{name}"
            if revision not in ("main", COMMIT):
                self._empty(404, (("X-Error-Code", "RevisionNotFound"),))
            elif repository == "gated/model":
                self._empty(403, (("X-Error-Code", "GatedRepo"),))
            elif key not in state.files:
                self._empty(404, (("X-Error-Code", "EntryNotFound"),))
            else:
                known = (("X-Repo-Commit", COMMIT), ("X-Linked-Etag", f'"{state.etag(key)}"'), ("X-Linked-Size", str(len(state.files[key]))))
                self._empty(302, (*known, ("Location", f"{state.contents}/cdn/{key}")))

        def _content(self, key: str, fault: Fault) -> None:
            data, start = state.files[key], 0
            asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            if asked and not fault.ignore_range:
                start = int(asked[1])
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start + fault.shift_range}-{len(data) - 1}/{len(data)}")
            else:
                self.send_response(200)
            self.send_header("Content-Length", str(len(data) - start))
            self.end_headers()
            time.sleep(fault.stall_s)
            sent = 0
            for at in range(start, len(data), BLOCK):
                block = data[at : at + BLOCK]
                if fault.cut_after is not None and sent + len(block) > fault.cut_after:
                    self.wfile.write(block[: fault.cut_after - sent])
                    self.close_connection = True
                    return
                if fault.wrong_after is not None and sent >= fault.wrong_after:
                    block = bytes(len(block))
                time.sleep(fault.block_s)
                self.wfile.write(block)
                sent += len(block)

        def _empty(self, status: int, headers: tuple[tuple[str, str], ...]) -> None:
            self.send_response(status)
            for name, value in (*headers, ("Content-Length", "0")):
                self.send_header(name, value)
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.endpoint, state.contents = f"http://127.0.0.1:{server.server_address[1]}", f"http://localhost:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
