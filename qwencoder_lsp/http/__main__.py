"""The gateway process: `python -m qwencoder_lsp.http`, with the settings as JSON on stdin. Ends when nobody has needed it for a while."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
import sys
from collections.abc import Coroutine
from functools import partial
from pathlib import Path
from typing import Any

from qwencoder_lsp.errors import QwencoderError
from qwencoder_lsp.gateway import rendezvous
from qwencoder_lsp.observe.log import to_stderr
from qwencoder_lsp.settings import Settings

log = logging.getLogger("qwencoder_lsp.http")  # __name__ is "__main__" here


def main() -> None:
    """Take the life lock, serve, clean up. Exit code 1 when another gateway lives or the socket cannot be made."""
    settings = Settings.model_validate_json(sys.stdin.read() or "{}")
    to_stderr(settings.log.level)
    try:
        lock = rendezvous.hold_life_lock()
    except QwencoderError as error:
        sys.exit(str(error))
    try:
        _run(_serve(settings))
    finally:
        rendezvous.withdraw()
        lock.release()


def _run(work: Coroutine[Any, Any, None]) -> None:
    """On uvloop where there is one: a request through the gateway takes about half the time."""
    try:
        import uvloop
    except ImportError:  # Windows
        asyncio.run(work)
    else:
        uvloop.run(work)


async def _serve(settings: Settings) -> None:
    from qwencoder_lsp.http.batch_runner import BatchRunner
    from qwencoder_lsp.http.batch_store import BatchStore
    from qwencoder_lsp.http.internal import internal_app
    from qwencoder_lsp.http.listen import Server
    from qwencoder_lsp.http.openai_routes import ask_in_background
    from qwencoder_lsp.http.public import public_app
    from qwencoder_lsp.http.service import Service

    service = Service(settings)
    store = BatchStore()
    batches = BatchRunner(service, store, partial(ask_in_background, service))
    sock = _unix_socket(rendezvous.socket_file()) if rendezvous.USE_UNIX_SOCKET else _loopback_socket()
    port = 0 if rendezvous.USE_UNIX_SOCKET else sock.getsockname()[1]
    address = rendezvous.publish(port)
    server = Server(internal_app(service, address.token, public_app(service, store, batches)))
    if sys.platform != "win32":
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, service.stop)
    batches.resume()
    serving = asyncio.create_task(server.run_on(sock))
    gc.freeze()  # what is loaded stays; going through it again would take 30 ms of some keystroke
    log.info("gateway %d started", address.pid)
    await service.tend()
    log.info("gateway %d ends", address.pid)
    service.stop()
    await batches.close()
    await service.host.close()
    server.should_exit = True
    await serving
    await service.recorder.close()
    sock.close()


def _unix_socket(path: Path) -> socket.socket:
    """Bound by ourselves, because uvicorn would make it accessible to everybody. We hold the life lock, so an old file is a left-over."""
    path.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(path))
    path.chmod(0o600)
    sock.listen(128)
    return sock


def _loopback_socket() -> socket.socket:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen(128)
    return sock


if __name__ == "__main__":
    main()
