"""The log files, read: lines with their times, of one file or of all.

Ours begin with a UTC time as observe.log writes it; a line without one (a traceback, native output) belongs to the line before.
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from qwencoder_lsp import paths
from qwencoder_lsp.errors import RequestError

_STAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3})Z (DEBUG|INFO|WARNING|ERROR|CRITICAL) ")
_AGO = re.compile(r"(\d+)\s*(s|m|h|d)")
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


@dataclass(frozen=True, slots=True)
class Line:
    """text: without its end. at: seconds since the epoch, 0.0 while no time was seen. level: empty for a line that is not ours."""

    text: str
    at: float = 0.0
    level: str = ""


def files() -> list[Path]:
    """The logs of all kinds of processes, without the rotated ones."""
    return sorted(paths.log_dir().glob("*.log"))


def since(text: str, now: float) -> float:
    """ "10m", "2h", "3d", "90s" ago, or an ISO 8601 time, local unless it says otherwise; as seconds since the epoch. Raises RequestError."""
    if ago := _AGO.fullmatch(text.strip()):
        return now - timedelta(**{UNITS[ago[2]]: int(ago[1])}).total_seconds()
    try:
        return datetime.fromisoformat(text.strip().replace("Z", "+00:00")).timestamp()
    except ValueError:
        raise RequestError(f"{text!r} is not a time.", "For example: 10m, 2h, 3d, or 2026-01-31T09:00") from None


def read(lines: Iterable[str]) -> Iterator[Line]:
    """Each line with its time, or that of the line before."""
    at = 0.0
    for line in lines:
        stamp = _STAMP.match(line)
        if stamp:
            at = datetime.fromisoformat(stamp[1]).replace(tzinfo=timezone.utc).timestamp()
        yield Line(line.rstrip("\n"), at, stamp[2] if stamp else "")


def tail(file: Path, number: int | None, earliest: float = 0.0) -> tuple[list[Line], int]:
    """The last `number` lines of a file, or all, that are not older than `earliest`, and the offset behind them. A file that has gone has none."""
    try:
        with file.open("rb") as text:
            found = deque((line for line in read(raw.decode("utf-8", "replace") for raw in text) if line.at >= earliest), number)
            return list(found), text.tell()
    except FileNotFoundError:
        return [], 0


def more(file: Path, offset: int) -> tuple[str, int]:
    """What was written behind `offset`, and the new offset. A file that was rotated is read from its start."""
    try:
        with file.open("rb") as text:
            text.seek(offset if offset <= os.fstat(text.fileno()).st_size else 0)
            return text.read().decode("utf-8", "replace"), text.tell()
    except FileNotFoundError:
        return "", 0


def last_error() -> tuple[str, Line] | None:
    """The latest line of level ERROR in any log, with the name of its log."""
    found = [(file.stem, line) for file in files() for line in tail(file, 2000)[0] if line.level in ("ERROR", "CRITICAL")]
    return max(found, key=lambda item: item[1].at, default=None)
