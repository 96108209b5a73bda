"""logs: what gateway, engines, language servers and the service wrote. Numbers and codes, no source text."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from typing import Annotated

import typer

from qwencoder_lsp import paths
from qwencoder_lsp.cli.options import Json
from qwencoder_lsp.errors import NotApplicable
from qwencoder_lsp.observe import lines

LOOK_S = 0.5
SHOWN = 20


def logs(
    tail: Annotated[int | None, typer.Option(help="Lines of each log; 20, or with --since all.", min=0, show_default=False)] = None,
    since: Annotated[str, typer.Option(help="Only what is not older: 10m, 2h, 3d, or 2026-01-31T09:00.", show_default=False)] = "",
    follow: Annotated[bool, typer.Option(help="Go on as lines are written, until Ctrl-C.")] = False,
    as_json: Json = False,
) -> None:
    """Show the logs of gateway, engines, language servers and the service. They hold no source text. Exit code 2 when there are none."""
    earliest = lines.since(since, time.time()) if since else 0.0
    files = lines.files()
    if not files and not follow:
        raise NotApplicable(f"There are no logs in {paths.log_dir()} yet.", "They begin with the first editor window, or: qwencoder-lsp manage start")
    offsets = {}
    for file in files:
        found, offsets[file] = lines.tail(file, SHOWN if tail is None and not since else tail, earliest)
        if as_json:
            _json(file.stem, found)
        else:
            print("\n".join([f"== {file}", *(line.text for line in found)]), flush=True)
    while follow:
        time.sleep(LOOK_S)
        for file in lines.files():
            text, offsets[file] = lines.more(file, offsets.get(file, 0))
            if as_json:
                _json(file.stem, list(lines.read(text.splitlines())))
            elif text:
                print(text, end="", flush=True)


def _json(log: str, found: list[lines.Line]) -> None:
    """One object per line, with the log's name."""
    for line in found:
        print(json.dumps({"log": log, **asdict(line)}), flush=True)
