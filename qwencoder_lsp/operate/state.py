"""Everything that runs, at one moment: service, gateway, models, memory, editors, the last error. For `status` and whoever watches over it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import asdict
from typing import Any

import psutil

from qwencoder_lsp import __version__, paths
from qwencoder_lsp.errors import GatewayError, QwencoderError
from qwencoder_lsp.gateway import rendezvous
from qwencoder_lsp.gateway.find import HELLO_S, connect
from qwencoder_lsp.gateway.protocol import Status
from qwencoder_lsp.gateway.service import ServiceClient
from qwencoder_lsp.observe import lines, windows
from qwencoder_lsp.operate import record
from qwencoder_lsp.operate.record import Running
from qwencoder_lsp.settings import Settings

ANSWER_S = 5.0  # for /health
SHOWN = "shown"
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104 - where it listens already


async def state(settings: Settings) -> dict[str, Any]:
    """The state as JSON-ready values. Starts nothing.

    state: "running"; "failed" when something that should work does not, `problems` says what; "stopped" when nothing runs.
    """
    running, editors = record.find_running(), [{"pid": pid, **said} for pid, said in windows.ask({"ask": "status"})]
    gateway = await _gateway(settings)
    service = await _service(running)
    problems = _problems(service, gateway)
    if gateway is None and rendezvous.gateway_lives():
        problems.append(f"The gateway does not answer within {HELLO_S:.0f} s.")
    return {
        "state": "failed" if problems else "running" if service or gateway else "stopped",
        "version": __version__,
        "problems": problems,
        "service": service,
        "gateway": gateway and asdict(gateway),
        "memory": _memory(gateway, running),
        "editors": editors,
        "silence": _silence(editors),
        "last_error": _last_error(),
        "logs": str(paths.log_dir()),
    }


def url_of(address: str) -> str:
    """Where a service that listens on "host:port" is reached from this machine."""
    host, _, port = address.rpartition(":")
    return f"http://{EVERYWHERE.get(host, host)}:{port}"


async def health_ms(address: str) -> float | None:
    """How long /health took; None when it did not answer."""
    client, began = ServiceClient.at(url_of(address)), time.monotonic()
    try:
        await asyncio.wait_for(client.json("GET", "/health"), ANSWER_S)
    except (QwencoderError, asyncio.TimeoutError):
        return None
    finally:
        await client.close()
    return (time.monotonic() - began) * 1000


async def _gateway(settings: Settings) -> Status | None:
    try:
        client = await connect(settings, start=False)
    except GatewayError:
        return None
    try:
        return await client.status()
    except GatewayError:  # it went just now
        return None
    finally:
        await client.close()


async def _service(running: Running | None) -> dict[str, Any] | None:
    if running is None:
        return None
    answered = await health_ms(running.address) if running.address else None
    return {**asdict(running), "health_ms": None if answered is None else round(answered, 1)}


def _problems(service: dict[str, Any] | None, gateway: Status | None) -> list[str]:
    found = []
    if service and service["error"]:
        found.append(f"The gateway was lost and is started again: {service['error']}")
    elif service and service["address"] and service["health_ms"] is None:
        found.append(f"The service does not answer on {service['address']} within {ANSWER_S:.0f} s.")
    if gateway:
        found += [f"{model.name}: {model.detail}" for model in gateway.models if model.state == "failed"]
    return found


def _memory(gateway: Status | None, running: Running | None) -> dict[str, Any]:
    """Bytes of resident memory by process, and of the machine."""
    machine = psutil.virtual_memory()
    engines = {model.name: _resident(model.pid) for model in (gateway.models if gateway else ()) if model.pid}
    return {
        "engines": engines,
        "gateway": _resident(gateway.pid) if gateway else 0,
        "service": _resident(running.pid) if running else 0,
        "total": machine.total,
        "available": machine.available,
    }


def _resident(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:  # it has just ended
        return 0


def _silence(editors: list[dict[str, Any]]) -> dict[str, int]:
    """Why the open windows got nothing, and how often, most frequent first."""
    counts: Counter[str] = Counter()
    for editor in editors:
        counts.update({name: count for name, count in editor["counts"].items() if ": " in name and not name.endswith(f": {SHOWN}")})
    return dict(counts.most_common())


def _last_error() -> dict[str, Any] | None:
    found = lines.last_error()
    return {"log": found[0], "at": found[1].at, "text": found[1].text} if found else None
