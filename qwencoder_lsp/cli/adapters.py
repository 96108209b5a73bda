"""adapters list, add, remove."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from qwencoder_lsp.cli.options import Json
from qwencoder_lsp.models import adapters


def list_adapters(as_json: Json = False) -> None:
    """Show the LoRA adapters that are installed."""
    here = adapters.installed()
    if as_json:
        print(json.dumps([{"name": a.name, "path": str(a.path), "bytes": a.size} for a in here]))
        return
    for a in here:
        print(f"{a.name:24} {a.size / 1e6:8.1f} MB  {a.path}")
    if not here:
        print("No adapter is installed. Add one: qwencoder-lsp adapters add FILE")


def add(
    file: Annotated[Path, typer.Argument(help="A LoRA adapter in GGUF format, made for the model that it is to be used with.")],
    name: Annotated[str, typer.Option(help="Its name here; otherwise that of the file.")] = "",
) -> None:
    """Install a LoRA adapter. A running gateway knows it at once."""
    added = adapters.add(file, name)
    print(f"{added.name} is installed. Use it by the settings model.completion_adapter and model.chat_adapter, or the field adapter of a request.")


def remove(name: Annotated[str, typer.Argument(help="A name from `qwencoder-lsp adapters list`.")]) -> None:
    """Delete an installed adapter. Requests that run go on to their end under it."""
    print(f"{adapters.remove(name).name} is removed.")
