"""The service process: holds the lock, keeps the gateway serving on TCP, and starts it again when it is lost.

In: settings and API keys, from files and environment as for `serve`. Out: `running.json`, and what `tell` gets once: that it serves.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import psutil

from qwencoder_lsp.errors import QwencoderError
from qwencoder_lsp.gateway.client import GatewayClient
from qwencoder_lsp.gateway.find import connect
from qwencoder_lsp.gateway.protocol import Listening, ListenRequest
from qwencoder_lsp.operate import record
from qwencoder_lsp.operate.keys import load_keys
from qwencoder_lsp.operate.record import Options, Running
from qwencoder_lsp.settings import Settings

log = logging.getLogger(__name__)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
LASTED_S = 60.0  # a gateway that served this long was a good one: the pause before the next is short again


def listen_request(settings: Settings) -> ListenRequest:
    """What the gateway is asked to serve. Raises SettingsError when the keys cannot be read."""
    own = settings.gateway
    keys = load_keys(settings, os.environ.get("QWENCODER_API_KEYS", ""))
    return ListenRequest(own.host, own.port, keys, own.key_concurrency if keys else 0, own.key_rate, own.max_body_mb, own.ollama_port)


async def serve_in_background(settings: Settings, options: Options, stopping: asyncio.Event, tell: Callable[[Running], None]) -> None:
    """Serve until `stopping`. The caller holds the lock.

    tell: called once, when it serves for the first time. Raises QwencoderError when it cannot serve at all; after that a lost gateway is replaced.
    """
    me = psutil.Process()
    running = Running(me.pid, me.create_time(), options)
    record.write_running(running)
    pause = FIRST_PAUSE_S

    def serving(address: str) -> None:
        nonlocal running
        first = not running.address
        running = replace(running, state="serving", address=address, since=running.since or time.time(), error="")
        record.write_running(running)
        log.info("serving on %s", address)
        if first:
            tell(running)

    try:
        while not stopping.is_set():
            began = time.monotonic()
            try:
                await _until(stopping, _serve(settings, serving))
            except QwencoderError as error:
                if not running.address:
                    raise
                pause = FIRST_PAUSE_S if time.monotonic() - began > LASTED_S else min(LONGEST_PAUSE_S, 2 * pause)
                log.warning("the gateway is lost, it is started again in %.1f s: %s", pause, error)
                running = replace(running, state="restarting", error=str(error))
                record.write_running(running)
                await _until(stopping, asyncio.sleep(pause))
    finally:
        record.forget_running()
    log.info("stopped")


async def _serve(settings: Settings, serving: Callable[[str], None]) -> None:
    """Until the gateway goes: GatewayError or EngineCrashed. RequestError when the address cannot be had."""
    client: GatewayClient = await connect(settings)
    try:
        async with aclosing(client.listen(listen_request(settings))) as events:
            async for event in events:
                if isinstance(event, Listening):
                    serving(event.address)
    finally:
        await client.close()


async def _until(stopping: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Run `work` to its end, or to `stopping`, whichever comes first."""
    task, stop = asyncio.create_task(work), asyncio.create_task(stopping.wait())
    await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    if stopping.is_set():
        task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        if not stopping.is_set():
            raise
