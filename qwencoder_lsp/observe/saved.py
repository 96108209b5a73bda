"""Traces on disk, where the user wants them: one JSON file per request in a directory that nobody else can enter, the newest KEPT of them.

They hold source text. Entries are those of observe.trace.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from qwencoder_lsp import paths
from qwencoder_lsp.observe.trace import Entry

KEPT = 500


def save(entry: Entry) -> None:
    """Write an entry. Raises OSError when the disk does not take it, GatewayError when others could enter the directory."""
    folder = paths.traces_dir()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    paths.check_private(folder)
    target = folder / f"{int(entry['at'] * 1000):015d}-{entry['request']}.json"
    partial = target.with_suffix(".part")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump(entry, file)
    partial.replace(target)
    for old in sorted(folder.glob("*.json"))[:-KEPT]:
        old.unlink(missing_ok=True)


def load(request: str = "") -> Iterator[Entry]:
    """The saved entries, newest first, or only the one of that request. What cannot be read is left out."""
    for file in sorted(paths.traces_dir().glob("*.json"), reverse=True):
        if file.stem.endswith(f"-{request}" if request else ""):
            with suppress(OSError, ValueError):  # removed meanwhile, or cut off by a full disk
                yield _read(file)


def _read(file: Path) -> Entry:
    entry: Entry = json.loads(file.read_text("utf-8"))
    return entry
