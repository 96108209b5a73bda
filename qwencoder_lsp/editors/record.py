"""What `setup` has changed, kept so that it can be taken back, also from files that were edited since.

In: texts before and after. Out: hunks of lines, in a JSON file per editor that only the user can read. A record holds the changed lines alone.
"""

from __future__ import annotations

import difflib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from qwencoder_lsp import paths
from qwencoder_lsp.errors import RequestError


@dataclass(frozen=True, slots=True)
class Hunk:
    """Lines with their endings, and the line, from 0, where the new ones stood."""

    line: int
    before: list[str]
    after: list[str]


@dataclass(frozen=True, slots=True)
class Written:
    """One file. created: it was not there; folders: which of its folders were made for it, the innermost first."""

    path: str
    created: bool
    folders: list[str]
    hunks: list[Hunk]


def hunks(before: str, after: str) -> list[Hunk]:
    """What changed, as runs of whole lines."""
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    return [Hunk(j1, old[i1:i2], new[j1:j2]) for tag, i1, i2, j1, j2 in matcher.get_opcodes() if tag != "equal"]


def reverted(text: str, changed: list[Hunk]) -> str:
    """The text with each hunk's new lines back to its old ones. Raises RequestError when the new lines are not there as they were written."""
    lines = text.splitlines(keepends=True)
    for hunk in reversed(changed):
        size = len(hunk.after)
        found = [at for at in range(len(lines) - size + 1) if lines[at : at + size] == hunk.after] if size else [min(hunk.line, len(lines))]
        if not found:
            raise RequestError("The lines that setup wrote were changed since.", "Remove them by hand.")
        at = min(found, key=lambda place: abs(place - hunk.line))
        lines[at : at + size] = hunk.before
    return "".join(lines)


def load(editor: str) -> list[Written]:
    """What was written for an editor; nothing when there is no record."""
    try:
        rows = json.loads(_file(editor).read_text("utf-8"))
        return [Written(**{**row, "hunks": [Hunk(**hunk) for hunk in row["hunks"]]}) for row in rows]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RequestError(f"{_file(editor)} cannot be read ({type(error).__name__}).", "Remove it; what it recorded then stays set up.") from error


def save(editor: str, written: list[Written]) -> None:
    """Keep what was written; an empty list removes the record. Raises RequestError when it cannot be kept."""
    file = _file(editor)
    try:
        if not written:
            file.unlink(missing_ok=True)
            for folder in (file.parent, file.parent.parent):
                if folder.is_dir() and not any(folder.iterdir()):
                    folder.rmdir()
            return
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as out:
            json.dump([asdict(one) for one in written], out)
    except OSError as error:
        raise RequestError(f"{file} cannot be written ({error.strerror}).", "Check its permissions and the space on the disk.") from error


def _file(editor: str) -> Path:
    return paths.setup_dir() / f"{editor}.json"
