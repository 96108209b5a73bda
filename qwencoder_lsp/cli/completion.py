"""complete: one completion at a place in a file, for scripts and for looking into."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from qwencoder_lsp.cli.files import read_snapshot
from qwencoder_lsp.cli.options import Json, Model, settings, with_gateway
from qwencoder_lsp.core.results import Completion
from qwencoder_lsp.errors import RequestError
from qwencoder_lsp.features.complete import complete as complete_at


def complete(
    place: Annotated[str, typer.Argument(metavar="FILE:LINE:COL", help="Line and column count from 1; the column counts characters.")],
    as_json: Json = False,
    model: Model = "",
) -> None:
    """Print what would be suggested at a place. With --json also the reason, the tokens and the times of gather, render, generate and finish."""
    path, line, column = _parse(place)
    snapshot = read_snapshot(path)
    chosen = settings(model, Path(snapshot.root) if snapshot.root else None)
    offset = _offset(snapshot.text, line, column)
    answer = with_gateway(chosen, lambda client: complete_at(snapshot, offset, client, chosen, explicit=True))
    if as_json:
        fields = asdict(replace(answer, record=None))
        del fields["record"]
        print(json.dumps(fields))
    else:
        print(_text(answer))


def _text(answer: Completion) -> str:
    return answer.suggestion.text if answer.suggestion else f"(nothing: {answer.reason.value}{f', {answer.detail}' if answer.detail else ''})"


def _parse(place: str) -> tuple[Path, int, int]:
    path, _, rest = place.rpartition(":")
    path, _, line = path.rpartition(":")
    if not (path and line.isdecimal() and rest.isdecimal() and int(line) and int(rest)):
        raise RequestError(f"{place!r} is not FILE:LINE:COL.", "For example: src/app.py:12:9")
    return Path(path), int(line), int(rest)


def _offset(text: str, line: int, column: int) -> int:
    lines = text.splitlines(keepends=True) or [""]
    if text.endswith(("\n", "\r")):
        lines.append("")
    if line > len(lines):
        raise RequestError(f"The file has {len(lines)} lines, not {line}.", "Correct the line.")
    width = len(lines[line - 1].rstrip("\r\n"))
    if column > width + 1:
        raise RequestError(f"Line {line} has {width} characters; its last column is {width + 1}.", "Correct the column.")
    return sum(map(len, lines[: line - 1])) + column - 1
