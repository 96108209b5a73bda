"""Puts a plan into the user's files, and takes it out again.

In: an editor's name. Out: FileEdits to show, then to write. Setting up again first takes out what was put in before, so it changes nothing when
nothing is new.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from qwencoder_lsp.editors import record
from qwencoder_lsp.editors.configurations import PLANS, Plan
from qwencoder_lsp.editors.record import Written
from qwencoder_lsp.errors import RequestError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FileEdit:
    """One file: its text now and then; None where there is no file. base: its text without anything of ours."""

    path: Path
    before: str | None
    after: str | None
    base: str | None


def plan(editor: str, command: list[str]) -> Plan:
    """What the editor is given. Raises RequestError for an editor that is not known."""
    if editor not in PLANS:
        raise RequestError(f"{editor} is not an editor that setup knows.", f"There are: {', '.join(PLANS)}.")
    return PLANS[editor](command)


def edits(editor: str, wanted: Plan) -> list[FileEdit]:
    """What setting up would change, unchanged files included. Raises RequestError with the file's name when one cannot be read or merged."""
    known = {Path(one.path): one for one in record.load(editor)}
    found = []
    for path, merged in wanted.files.items():
        before = _read(path)
        base = before
        if before is not None and path in known:
            try:
                base = _without(before, known[path])
            except RequestError:  # edited since: what is there now is where we begin
                base = before
        found.append(FileEdit(path, before, _named(path, partial(merged, base or "")), base))
    return found


def undo_edits(editor: str) -> list[FileEdit]:
    """What taking it back would change. Raises RequestError when nothing was set up, or where our lines are not there as written."""
    known = record.load(editor)
    if not known:
        raise RequestError(f"setup has not changed anything for {editor}.", f"To set it up: qwencoder-lsp setup {editor}")
    found = []
    for one in known:
        path = Path(one.path)
        before = _read(path)
        if before is not None:
            after = _named(path, partial(_without, before, one))
            found.append(FileEdit(path, before, after, after))
    return found


def keep(editor: str, done: list[FileEdit], folders: dict[Path, list[Path]]) -> None:
    """Remember what was written, so that it can be taken back. folders: those made for a file, the innermost first."""
    known = {one.path: one for one in record.load(editor)}
    written = []
    for edit in done:
        old = known.get(str(edit.path))
        made = [str(folder) for folder in folders.get(edit.path, [])] or (old.folders if old else [])
        written.append(Written(str(edit.path), edit.base is None, made, record.hunks(edit.base or "", edit.after or "")))
    record.save(editor, written)


def forget(editor: str) -> list[Path]:
    """Remove the record. Returns the folders that setup made, the innermost first; they may hold the user's files by now."""
    made = {Path(folder) for one in record.load(editor) for folder in one.folders}
    record.save(editor, [])
    return sorted(made, key=lambda folder: len(folder.parts), reverse=True)


def _without(text: str, one: Written) -> str | None:
    """The text without what was written; None for a file that then holds nothing and was made by us."""
    left = record.reverted(text, one.hunks)
    return None if one.created and not left else left


def _read(path: Path) -> str | None:
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"{path} cannot be read ({type(error).__name__}).", "Correct it, then try again.") from error


def _named(path: Path, merge: Callable[[], T]) -> T:
    """What `merge` makes of a file; its errors say which file they are about."""
    try:
        return merge()
    except RequestError as error:
        raise RequestError(f"{path}: {error.message}", error.hint) from error
