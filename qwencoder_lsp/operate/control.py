"""Start and stop the service process from outside."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import psutil

from qwencoder_lsp import paths
from qwencoder_lsp.errors import GatewayError, QwencoderError, from_wire
from qwencoder_lsp.gateway import rendezvous
from qwencoder_lsp.gateway.client import GatewayClient
from qwencoder_lsp.gateway.find import connect
from qwencoder_lsp.operate import record
from qwencoder_lsp.operate.record import Options, Running
from qwencoder_lsp.settings import Settings

LOGS = "See: qwencoder-lsp logs"
LEFT_S = 3.0  # for the gateway to see that nobody serves any more


def spawn(options: Options, timeout: float) -> Running:
    """Start the service process, which outlives us, and wait until it serves. Raises its own error, or GatewayError when that takes too long."""
    log = paths.log_dir() / "service.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "qwencoder_lsp.operate", "--report"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=output,
            cwd=paths.NEUTRAL,
            env={**paths.neutral_environment(), **options.environment()},
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
    assert process.stdout is not None
    threading.Thread(target=process.wait, name="reap service", daemon=True).start()  # it may end before us, and would stay as a zombie
    patience = threading.Timer(timeout, process.kill)
    patience.start()
    with process.stdout as report:
        line = report.readline()
    if patience.is_alive():
        patience.cancel()
    elif not line:
        raise GatewayError(f"The service did not answer within {timeout:.0f} s.", LOGS)
    if not line:
        raise GatewayError(f"The service could not start: {_last_line(log)}.", LOGS)
    said = json.loads(line)
    if "error" in said:
        error = from_wire(said["error"])
        raise GatewayError(error.message, error.hint)
    return Running(**{**said["running"], "options": Options(**said["running"]["options"])})


def stop(running: Running, timeout: float, *, force: bool) -> None:
    """End the service process. force: kill it when it does not go. Raises GatewayError when it does not end within `timeout` seconds."""
    try:
        process = psutil.Process(running.pid)
        process.terminate()
        if not _wait(lambda: not record.lives(), timeout):
            if not force:
                raise GatewayError(f"The service (process {running.pid}) has not ended within {timeout:.0f} s.", "Use --force to kill it.")
            process.kill()
            _wait(lambda: not record.lives(), 5.0)
    except psutil.NoSuchProcess:  # it went by itself
        return


async def free_gateway(settings: Settings, *, force: bool) -> bool:
    """End the gateway when nobody uses it any more, or with `force` in any case; whether it has ended.

    It would end by itself a little later; now its memory is free at once, and the next one starts with the settings of then.
    """
    try:
        client = await connect(settings, start=False)
    except GatewayError:
        return True
    try:
        if not force and not await _is_free(client):
            return False
        await client.shutdown()
    except QwencoderError:  # it went by itself meanwhile
        return True
    finally:
        await client.close()
    return await asyncio.to_thread(_wait, lambda: not rendezvous.gateway_lives(), 10.0)


async def drain(client: GatewayClient, timeout: float) -> None:
    """Wait until the service's own stream is all that runs. Raises GatewayError when that takes longer."""
    deadline = time.monotonic() + timeout
    while (await client.status()).active > 1:
        if time.monotonic() > deadline:
            raise GatewayError(f"Requests are still running after {timeout:.0f} s.", "Stop it without --wait, or give it a longer --timeout.")
        await asyncio.sleep(0.1)


async def load_models(client: GatewayClient, timeout: float) -> list[str]:
    """Load the models that "auto" means, so that the first request finds them ready; their names.

    Raises QwencoderError; GatewayError when it takes longer than `timeout` seconds. They go on loading then.
    """
    status = await client.status()
    wanted = dict.fromkeys(name for name in (status.completion_model, status.chat_model) if name)
    try:
        answers = [await asyncio.wait_for(client.service.json("POST", "/models/load", {"model_name": name}), timeout) for name in wanted or ("",)]
    except asyncio.TimeoutError:
        raise GatewayError(f"The service runs, but its model was not loaded within {timeout:.0f} s.", "Wait with: qwencoder-lsp status") from None
    return [answer["model_name"] for answer in answers]


async def _is_free(client: GatewayClient) -> bool:
    deadline = time.monotonic() + LEFT_S
    while (status := await client.status()).active or status.listening:
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.05)
    return status.windows == 0


def _wait(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not (held := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return held


def _last_line(log: os.PathLike[str]) -> str:
    with open(log, encoding="utf-8", errors="replace") as text:  # noqa: PTH123 - any path
        lines = text.read().strip().splitlines()
    return lines[-1] if lines else "it said nothing"
