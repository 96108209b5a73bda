"""The service process: `python -m qwencoder_lsp.operate`, with the settings of the user and the environment. Ends on SIGTERM.

`--report`: say on stdout, in one line of JSON, whether it serves; `manage start` reads it. systemd is told through NOTIFY_SOCKET
(sd_notify(3)), launchd needs no word.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import sys
from dataclasses import asdict

from qwencoder_lsp import settings
from qwencoder_lsp.errors import QwencoderError, to_wire
from qwencoder_lsp.observe import log as log_file
from qwencoder_lsp.operate import background, record
from qwencoder_lsp.operate.record import Options, Running

log = logging.getLogger("qwencoder_lsp.operate")  # __name__ is "__main__" here


def main() -> None:
    """Serve until told to stop. Exit code 1, and one sentence on stderr, when it cannot."""
    report = "--report" in sys.argv[1:]
    try:
        chosen = settings.load(strict=True)[0]
        log_file.setup("service", chosen.log.level)
        lock = record.hold_lock()
        try:
            asyncio.run(_serve(chosen, report=report))
        finally:
            lock.release()
    except QwencoderError as error:
        log.critical("the service ends: %s", error)
        if report:
            _say({"error": to_wire(error)})
        sys.exit(f"qwencoder-lsp: {error}")


async def _serve(chosen: settings.Settings, *, report: bool) -> None:
    stopping = asyncio.Event()
    if sys.platform != "win32":
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopping.set)

    def tell(running: Running) -> None:
        if report:
            _say({"running": asdict(running)})
        _notify("READY=1")

    await background.serve_in_background(chosen, _options(), stopping, tell)


def _options() -> Options:
    """What `manage start` or the unit file said, in the environment."""
    port = os.environ.get("QWENCODER_PORT")
    return Options(os.environ.get("QWENCODER_HOST"), int(port) if port else None, os.environ.get("QWENCODER_MODEL"))


def _say(message: object) -> None:
    """To whoever waits, who closes the pipe then: nothing may be written later."""
    print(json.dumps(message), flush=True)
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _notify(state: str) -> None:
    where = os.environ.get("NOTIFY_SOCKET", "")
    if not where:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
        try:
            link.sendto(state.encode(), f"\0{where[1:]}" if where.startswith("@") else where)
        except OSError as error:
            log.warning("systemd cannot be told that the service is ready: %s", error)


if __name__ == "__main__":
    main()
