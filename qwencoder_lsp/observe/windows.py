"""How the command line reaches the running language servers: each listens in the private runtime directory, and answers questions about its traces.

`window-PID.json` (mode 0600) holds the socket's path, or on Windows the loopback port, and a token. A question is one line of JSON,
`{"token": ..., "ask": ..., ...}`; the answer is one line of JSON, and then the connection ends. Nothing here passes through the gateway, which
may be another machine's, or dead.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import os
import secrets
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from qwencoder_lsp import paths
from qwencoder_lsp.errors import QwencoderError

log = logging.getLogger(__name__)

USE_UNIX_SOCKET = sys.platform != "win32"
QUESTION_BYTES = 64 << 10
PATIENCE_S = 10.0


async def listen(answer: Callable[[dict[str, Any]], Any]) -> Callable[[], None]:
    """Answer questions from now on with what `answer` returns, as JSON. The function that removes our files.

    A directory that is not private, or a full disk, leaves this window out of what the command line sees, and is logged.
    """
    token = secrets.token_urlsafe(32)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, ValueError, asyncio.TimeoutError):  # whoever asks wrongly, or goes away, gets nothing
            question = json.loads(await asyncio.wait_for(reader.readline(), PATIENCE_S))
            if isinstance(question, dict) and hmac.compare_digest(str(question.get("token", "")).encode(), token.encode()):
                writer.write(json.dumps(answer(question)).encode() + b"\n")
                await writer.drain()
        writer.close()

    try:
        folder = paths.runtime_dir()
        file, path = folder / f"window-{os.getpid()}.json", folder / f"window-{os.getpid()}.sock"
        place: dict[str, Any] = {"token": token}
        server: asyncio.Server
        if USE_UNIX_SOCKET:
            path.unlink(missing_ok=True)  # of an earlier process with our number
            server = await asyncio.start_unix_server(serve, path, limit=QUESTION_BYTES)
            path.chmod(0o600)
        else:
            server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=QUESTION_BYTES)
            place["port"] = server.sockets[0].getsockname()[1]
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as text:
            json.dump(place, text)
    except (OSError, QwencoderError) as error:
        log.warning("the command line cannot reach this window: %s", error)
        return lambda: None

    def withdraw() -> None:
        for left in (file, path):
            with suppress(OSError):
                left.unlink(missing_ok=True)
        server.close()

    return withdraw


def ask(question: dict[str, Any]) -> Iterator[tuple[int, Any]]:
    """The process number and the answer of every language server that runs. Left-over files of killed ones are removed."""
    for file in sorted(paths.runtime_dir().glob("window-*.json")):
        pid = int(file.stem.removeprefix("window-")) if file.stem.removeprefix("window-").isdecimal() else 0
        try:
            place = json.loads(file.read_text("utf-8"))
            yield pid, _ask_one(file.with_suffix(".sock"), place, question)
        except (ConnectionRefusedError, FileNotFoundError):
            file.with_suffix(".sock").unlink(missing_ok=True)
            file.unlink(missing_ok=True)
        except (OSError, ValueError, LookupError) as error:
            log.info("window %d does not answer: %s", pid, type(error).__name__)


def _ask_one(path: Path, place: dict[str, Any], question: dict[str, Any]) -> Any:
    with socket.socket(socket.AF_INET if "port" in place else socket.AF_UNIX) as link:
        link.settimeout(PATIENCE_S)
        link.connect(("127.0.0.1", place["port"]) if "port" in place else str(path))
        link.sendall(json.dumps({**question, "token": place["token"]}).encode() + b"\n")
        with link.makefile("rb") as answer:
            return json.loads(answer.readline())
