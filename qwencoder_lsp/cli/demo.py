"""demo: a real session on a sample project."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qwencoder_lsp.cli.models import fetch
from qwencoder_lsp.cli.options import Model
from qwencoder_lsp.errors import ModelMissing
from qwencoder_lsp.models import choose, store


def demo(
    model: Model = "",
    svg: Annotated[Path | None, typer.Option(help="Also write the session to this picture.", show_default=False)] = None,
) -> None:
    """Show the language server at work on a sample project: ghost text, a review finding and its fix, with times. Fetches the model if missing."""
    from qwencoder_lsp.demo.session import play

    name = model or choose.recommended()
    if name != "scripted":
        try:
            store.resolve(name)
        except ModelMissing:
            fetch(name, "auto")
    play(name, svg)
