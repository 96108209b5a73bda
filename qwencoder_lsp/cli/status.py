"""status: what runs, how it is, and why an editor got nothing."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from typing import Any

import typer

from qwencoder_lsp.cli.options import Format, Json, settings
from qwencoder_lsp.operate.state import state

CODES = {"running": 0, "failed": 1, "stopped": 2}


def status(form: Format = "text", as_json: Json = False) -> None:
    """Show service, gateway, models, memory, the last error, and what each editor window got or why it got nothing.

    Exit codes: 0 running, 1 something failed, 2 nothing runs.
    """
    now = asyncio.run(state(settings()))
    print(json.dumps(now) if as_json or form == "json" else _text(now))
    raise typer.Exit(CODES[now["state"]])


def _text(now: dict[str, Any]) -> str:
    lines = [f"problem     {problem}" for problem in now["problems"]]
    lines += [_service(now["service"]), *_gateway(now["gateway"])]
    memory = now["memory"]
    used = {**memory["engines"], "gateway": memory["gateway"], "service": memory["service"]}
    parts = ", ".join(f"{name} {_size(size)}" for name, size in used.items() if size)
    lines.append(f"memory      {parts + '; ' if parts else ''}{_size(memory['available'])} of {_size(memory['total'])} available")
    for editor in now["editors"]:
        lines += _editor(editor)
    if error := now["last_error"]:
        when = datetime.fromtimestamp(error["at"]).astimezone().strftime("%Y-%m-%d %H:%M:%S")
        lines.append(f"last error  {when}, {error['log']}: {error['text'].partition(': ')[2] or error['text']}")
    return "\n".join([*lines, f"logs        {now['logs']} (qwencoder-lsp logs)"])


def _service(service: dict[str, Any] | None) -> str:
    if service is None:
        return "service     off; run: qwencoder-lsp manage start"
    answer = f"answers within {service['health_ms']:.0f} ms" if service["health_ms"] is not None else "does not answer"
    since = f", since {datetime.fromtimestamp(service['since']).astimezone().strftime('%Y-%m-%d %H:%M:%S')}" if service["since"] else ""
    return f"service     {service['state']} on {service['address'] or 'no address yet'} (process {service['pid']}){since}, {answer}"


def _gateway(now: dict[str, Any] | None) -> list[str]:
    if now is None:
        return ["gateway     does not run; it starts with the first editor window, or with the service"]
    lines = [
        f"gateway     process {now['pid']}, version {now['version']}, {now['windows']} windows, {now['active']} requests running",
        f"completion  {now['completion_model'] or 'no model installed; run: qwencoder-lsp models pull qwencoder-1.5b'}",
        f"chat        {now['chat_model'] or 'no model installed'}",
        f"HTTP        {now['listening'] or 'off; run: qwencoder-lsp serve'}",
    ]
    for m in now["models"]:
        speed = f", prefill {m['prefill_speed']:.0f} and decode {m['decode_speed']:.0f} tokens/s" if m["prefill_speed"] else ""
        where = f" on {m['device']} (process {m['pid']})" if m["pid"] else ""
        lines.append(f"model       {m['name']}: {m['state']}{where}{speed} {m['detail']}".rstrip())
    return lines


def _editor(window: dict[str, Any]) -> list[str]:
    lines = [f"editor      process {window['pid']}: {window['message']}"]
    lines += [f"  {count:6}  {name}" for name, count in sorted(window["counts"].items(), key=lambda item: -item[1])]
    if last := window["nothing"]:
        lines.append(f"  the latest empty answer: {last['reason']} (qwencoder-lsp trace last; request {last['request']})")
    return lines


def _size(size: int) -> str:
    return f"{size / 2**30:.1f} GB" if size >= 2**30 else f"{size / 2**20:.0f} MB"
