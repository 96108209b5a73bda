"""Messages in and out over the claimed streams.

In: the editor's bytes. Out: parsed messages to the protocol, in order, on the event loop. A message that cannot be understood is answered with
the error that JSON-RPC names for it, and the next one is served. Replaces `pygls.io_`, which drops such requests without an answer, needs four
thread hops per message, and holds the exit until its threads are done.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

from pygls.exceptions import JsonRpcException

from qwencoder_lsp.lsp import stdio

if TYPE_CHECKING:
    from qwencoder_lsp.lsp.protocol import Protocol

log = logging.getLogger(__name__)

MAX_MESSAGE = 1 << 30
PARSE_ERROR, INVALID_REQUEST, INVALID_PARAMS = -32700, -32600, -32602


class Writer:
    """What pygls writes its framed messages to. A client that no longer reads is gone, and so are we."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def write(self, data: bytes) -> None:
        """Send one framed message."""
        try:
            self._stream.write(data)
            self._stream.flush()
        except (OSError, ValueError):  # broken pipe, or the descriptor was closed
            log.info("the editor closed the connection")
            stdio.end(1)

    def close(self) -> None:
        """Close the stream."""
        self._stream.close()


async def serve(protocol: Protocol, source: BinaryIO, sink: BinaryIO) -> NoReturn:
    """Serve until the process ends: by the exit notification, or with code 1 at the end of the input."""
    loop = asyncio.get_running_loop()
    inbox: asyncio.Queue[bytes | None] = asyncio.Queue()
    writer = Writer(sink)
    protocol.set_writer(writer)

    def read() -> None:
        try:
            while (body := read_message(source)) is not None:
                loop.call_soon_threadsafe(inbox.put_nowait, body)
        except (OSError, ValueError) as error:
            log.warning("the input stream is broken: %s", type(error).__name__)
        loop.call_soon_threadsafe(inbox.put_nowait, None)

    threading.Thread(target=read, name="stdin", daemon=True).start()
    while (body := await inbox.get()) is not None:
        try:
            _receive(protocol, writer, body)
        except Exception:  # whatever one message does, the next one is served
            log.exception("a message could not be handled")
        await asyncio.sleep(0)  # the handler's first step sees the documents as they were when its message came
    log.info("the editor closed the input")
    stdio.end(1)


def read_message(stream: BinaryIO) -> bytes | None:
    """The body of the next message, or None at the end of the stream. Raises ValueError when a length is absurd.

    A header without a length is skipped: after garbage the stream is in step again at the next header.
    """
    length = 0
    while line := stream.readline(4096):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length" and value.strip().isdigit():
            length = int(value)
        elif not line.strip() and length:
            if length > MAX_MESSAGE:
                raise ValueError(f"message of {length} bytes")
            body = stream.read(length)
            return body if len(body) == length else None
    return None


def _receive(protocol: Protocol, writer: Writer, body: bytes) -> None:
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        log.warning("a message is not JSON (%d bytes)", len(body))
        _refuse(writer, None, PARSE_ERROR, "The message is not JSON.")
        return
    if not isinstance(fields, dict) or fields.get("jsonrpc") != "2.0":
        _refuse(writer, None, INVALID_REQUEST, "The message is not a JSON-RPC 2.0 object.")
        return
    id_, method = fields.get("id"), fields.get("method")
    if isinstance(method, str) and protocol.get_message_type(method) is None:
        fields.setdefault("params", {})  # JSON-RPC lets requests leave them out, pygls does not
    try:
        message = protocol.structure_message(fields)
    except (JsonRpcException, RecursionError):
        log.warning("message %s has parameters that do not fit", method)
        if id_ is not None and method is not None:
            _refuse(writer, id_, INVALID_PARAMS, f"The parameters of {method} do not fit the protocol.")
        return
    protocol.handle_message(message)


def _refuse(writer: Writer, id_: Any, code: int, message: str) -> None:
    body = json.dumps({"jsonrpc": "2.0", "id": id_, "error": {"code": code, "message": message}}).encode()
    writer.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
