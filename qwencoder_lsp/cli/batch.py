"""batch run: many requests from a file, below anything interactive."""

from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from qwencoder_lsp.cli.options import Model, settings, with_gateway
from qwencoder_lsp.errors import RequestError
from qwencoder_lsp.gateway.client import GatewayClient
from qwencoder_lsp.http.batch_store import UNFINISHED, BatchStore, Line, read_line

POLL_S = 0.3


def run(
    file: Annotated[Path, typer.Argument(help='JSON lines: {"custom_id": ..., "body": {...}}, as for OpenAI\'s batches.')],
    output: Annotated[Path | None, typer.Option(help="Where the answers go; otherwise beside the file, with .output.jsonl at the end.")] = None,
    endpoint: Annotated[str, typer.Option(help="/v1/chat/completions, /v1/completions or /v1/embeddings.")] = "/v1/chat/completions",
    model: Model = "",
) -> None:
    """Answer every request of a file. What is interactive goes first. Ctrl-C stops it and keeps what was answered; the same command goes on."""
    target = output or file.with_suffix(".output.jsonl")
    store = BatchStore()
    done = _answered(target)
    with_gateway(settings(model), lambda client: _run(client, store, file, target, endpoint, done))


def _answered(target: Path) -> set[str]:
    """What an earlier run has answered already; what failed then is asked again."""
    lines = target.read_bytes() if target.exists() else b""
    rows = [json.loads(line) for line in lines.splitlines() if line]
    return {row["custom_id"] for row in rows if row["response"]["status_code"] == 200}


async def _run(client: GatewayClient, store: BatchStore, file: Path, target: Path, endpoint: str, done: set[str]) -> None:
    stored = await asyncio.to_thread(_kept, store, file, endpoint, done)
    batch = await client.service.json("POST", "/v1/batches", {"input_file_id": stored, "endpoint": endpoint})
    path = f"/v1/batches/{batch['id']}"
    console = Console(stderr=True)
    try:
        with Progress(TextColumn(file.name), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console) as bar:
            task = bar.add_task("", total=None)
            while batch["status"] in UNFINISHED:
                await asyncio.sleep(POLL_S)
                batch = await client.service.json("GET", path)
                counts = batch["request_counts"]
                bar.update(task, total=counts["total"] or None, completed=counts["completed"] + counts["failed"])
    except BaseException:  # Ctrl-C
        batch = await client.service.json("POST", f"{path}/cancel", {})
        raise
    finally:
        await asyncio.to_thread(_collect, store, batch, target)
    if batch["errors"]:
        first = batch["errors"]["data"][0]
        raise RequestError(f"{file}, line {first['line']}: {first['message']}", "Correct the file.")
    counts = batch["request_counts"]
    console.print(f"{counts['completed']} answered, {counts['failed']} failed, {len(done)} were there already: {target}")


def _kept(store: BatchStore, file: Path, endpoint: str, done: set[str]) -> str:
    try:
        lines = file.read_bytes().splitlines()
    except OSError as error:
        raise RequestError(f"{file} cannot be read ({error.strerror}).", "Correct the path.") from error
    left = [line for line in lines if line.strip() and not _is_done(line, endpoint, done)]
    if done and not left:
        raise RequestError("Every request of the file is answered already.", "Delete the output to ask again.")
    return store.add(io.BytesIO(b"\n".join(left) + b"\n"), file.name).id


def _is_done(line: bytes, endpoint: str, done: set[str]) -> bool:
    found = read_line(line.decode("utf-8", "replace"), endpoint)
    return isinstance(found, Line) and found.custom_id in done


def _collect(store: BatchStore, batch: dict[str, Any], target: Path) -> None:
    """Append the answers to the target, and forget the copies."""
    for name in ("output_file_id", "error_file_id", "input_file_id"):
        stored = store.file(batch[name] or "")
        if stored is None:
            continue
        if name != "input_file_id":
            with target.open("ab") as out:
                out.write(store.path(stored).read_bytes())
        if batch["status"] not in UNFINISHED:
            store.delete(stored)
