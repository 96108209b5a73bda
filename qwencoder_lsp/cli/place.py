"""A place as it is written on the command line: FILE:LINE:COL."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from qwencoder_lsp.cli.files import read_snapshot
from qwencoder_lsp.core.text import Snapshot
from qwencoder_lsp.errors import RequestError


def place_in_file(place: str, root: Path | None = None) -> tuple[Snapshot, int]:
    """The file as it is on disk, and the offset. root: the workspace folder; None: the current one. Raises RequestError."""
    path, line, column = _parse(place)
    snapshot = read_snapshot(path)
    if root is not None and Path(snapshot.path or "").is_relative_to(root):
        snapshot = replace(snapshot, root=str(root))
    return snapshot, _offset(snapshot.text, line, column)


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
