"""serve, stop, status, logs."""

from __future__ import annotations

import json
import os
import time
from collections import deque
from contextlib import aclosing
from dataclasses import asdict
from typing import Annotated, Any

import typer

from qwencoder_lsp import paths
from qwencoder_lsp.cli.options import Json, Model, settings, with_gateway
from qwencoder_lsp.errors import GatewayError
from qwencoder_lsp.gateway import rendezvous
from qwencoder_lsp.gateway.client import GatewayClient
from qwencoder_lsp.gateway.keys import api_keys
from qwencoder_lsp.gateway.protocol import Listening, ListenRequest, Status
from qwencoder_lsp.observe import windows
from qwencoder_lsp.settings import Settings


def serve(
    host: Annotated[str, typer.Option(help="Address to serve on; others than loopback need API keys.", envvar="QWENCODER_HOST")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="TCP port; 0 takes a free one.", envvar="QWENCODER_PORT")] = 11452,
    ollama_port: Annotated[int | None, typer.Option(help="Also serve on this port, for clients that look for Ollama on 11434.")] = None,
    model: Model = "",
) -> None:
    """Serve over HTTP until Ctrl-C: in the gateway that the editors use, which is started if it does not run."""
    own = {"host": host, "port": port} | ({} if ollama_port is None else {"ollama_port": ollama_port})
    chosen = settings(model, gateway=own)
    with_gateway(chosen, lambda client: _serve(client, chosen), local=True)


async def _serve(client: GatewayClient, chosen: Settings) -> None:
    own = chosen.gateway
    keys = api_keys(own.key_file, os.environ.get("QWENCODER_API_KEYS", ""))
    request = ListenRequest(own.host, own.port, keys, own.key_concurrency if keys else 0, own.key_rate, own.max_body_mb, own.ollama_port)
    async with aclosing(client.listen(request)) as events:
        async for event in events:
            if isinstance(event, Listening):
                also = f" and http://{event.ollama}" if event.ollama else ""
                print(f"Serving on http://{event.address}{also} (Ctrl-C ends it)\nDashboard: http://{event.address}/dashboard", flush=True)


def stop() -> None:
    """End the gateway and its engines. Editors start it again at their next request."""

    async def run(client: GatewayClient) -> int:
        pid = (await client.status()).pid
        await client.shutdown()
        return pid

    try:
        pid = with_gateway(settings(), run, start=False, local=True)
    except GatewayError:
        print("No gateway is running.")
        return
    _wait_for_its_end()
    print(f"The gateway (process {pid}) has ended.")


def _wait_for_its_end() -> None:
    deadline = time.monotonic() + 10
    while rendezvous.gateway_lives():
        if time.monotonic() > deadline:
            raise GatewayError("The gateway has not ended within 10 s.", "See: qwencoder-lsp logs")
        time.sleep(0.05)


def status(as_json: Json = False) -> None:
    """Show the gateway, its models, and what each editor window got or why it got nothing. Exit code 1 when no gateway runs."""
    here = [{"pid": pid, **state} for pid, state in windows.ask({"ask": "status"})]
    try:
        now = with_gateway(settings(), lambda client: client.status(), start=False)
    except GatewayError:
        for window in here:
            print(_window(window))
        raise
    print(json.dumps({**asdict(now), "editors": here}) if as_json else "\n".join([_text(now), *map(_window, here)]))


def _text(now: Status) -> str:
    lines = [
        f"gateway     process {now.pid}, version {now.version}, {now.windows} windows, {now.active} requests running",
        f"completion  {now.completion_model or 'no model installed; run: qwencoder-lsp models pull qwencoder-1.5b'}",
        f"chat        {now.chat_model or 'no model installed'}",
        f"HTTP        {now.listening or 'off; run: qwencoder-lsp serve'}",
    ]
    for m in now.models:
        speed = f", prefill {m.prefill_speed:.0f} and decode {m.decode_speed:.0f} tokens/s" if m.prefill_speed else ""
        where = f" on {m.device} (process {m.pid})" if m.pid else ""
        lines.append(f"model       {m.name}: {m.state}{where}{speed} {m.detail}".rstrip())
    return "\n".join(lines)


def _window(window: dict[str, Any]) -> str:
    lines = [f"editor      process {window['pid']}: {window['message']}"]
    lines += [f"  {count:6}  {name}" for name, count in sorted(window["counts"].items(), key=lambda item: -item[1])]
    if last := window["nothing"]:
        lines.append(f"  the latest empty answer: {last['reason']} (qwencoder-lsp trace last; request {last['request']})")
    return "\n".join(lines)


def logs(
    tail: Annotated[int, typer.Option(help="Lines of each log.", min=0)] = 20,
    follow: Annotated[bool, typer.Option(help="Go on as lines are written, until Ctrl-C.")] = False,
) -> None:
    """Show the logs of gateway, engines and language servers. They hold no source text."""
    files = sorted(paths.log_dir().glob("*.log"))
    if not files:
        print(f"There are no logs in {paths.log_dir()} yet.")
    at = {}
    for file in files:
        with file.open(encoding="utf-8", errors="replace") as text:
            print(f"== {file}")
            print("".join(deque(text, tail)), end="", flush=True)
            at[file] = text.tell()
    while follow:
        time.sleep(0.5)
        for file in sorted(paths.log_dir().glob("*.log")):
            with file.open(encoding="utf-8", errors="replace") as text:
                text.seek(at.get(file, 0) if at.get(file, 0) <= file.stat().st_size else 0)
                print(text.read(), end="", flush=True)
                at[file] = text.tell()
