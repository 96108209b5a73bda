"""setup: the configuration of an editor, shown first, written when the user says so, and taken back."""

from __future__ import annotations

import difflib
import shutil
import sys
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from qwencoder_lsp.cli.files import write
from qwencoder_lsp.editors import setup as steps
from qwencoder_lsp.editors.configurations import PLANS
from qwencoder_lsp.editors.setup import FileEdit
from qwencoder_lsp.errors import RequestError

Editor = Enum("Editor", {name: name for name in PLANS})  # type: ignore[misc]


def setup(
    editor: Annotated[Editor, typer.Argument(help="The editor.", show_choices=True)],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Write without asking.")] = False,
    print_: Annotated[bool, typer.Option("--print", help="Show the changes only.")] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Take back what setup wrote.")] = False,
) -> None:
    """Configure an editor: shows what would change in which file, and asks before it is written."""
    name = editor.value
    wanted = None if undo else steps.plan(name, server_command())
    found = steps.edits(name, wanted) if wanted else steps.undo_edits(name)
    changes = [edit for edit in found if edit.before != edit.after]
    for edit in changes:
        _show(edit)
    if print_:
        return
    if changes and not yes and not _agreed():
        print("Nothing was written.")
        raise typer.Exit(1)
    if wanted:
        steps.keep(name, found, {edit.path: _missing_folders(edit.path) for edit in found})
        for edit in changes:
            _write(edit)
        print(wanted.then if changes else f"{name} is set up already. {wanted.then}")
        return
    for edit in changes:
        _write(edit)
    for folder in steps.forget(name):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    print(f"What setup wrote for {name} is gone.")


def server_command() -> list[str]:
    """How an editor starts this server: by name where that finds this installation, else by its path."""
    name = "qwencoder-lsp"
    own = Path(sys.executable).parent / (f"{name}.exe" if sys.platform == "win32" else name)
    found = shutil.which(name)
    if found and (not own.exists() or own.samefile(found)):
        return [name, "--stdio"]
    if own.exists():
        return [str(own), "--stdio"]
    return [sys.executable, "-m", "qwencoder_lsp.cli", "--stdio"]


def _agreed() -> bool:
    if not sys.stdin.isatty():
        raise RequestError("There is nobody to ask, so nothing was written.", "Add --yes to write it, or --print to see it only.")
    return typer.confirm("Write this?", default=True)


def _show(edit: FileEdit) -> None:
    before, after = ((text or "").splitlines(keepends=True) for text in (edit.before, edit.after))
    names = ("/dev/null" if edit.before is None else str(edit.path), "/dev/null" if edit.after is None else str(edit.path))
    for line in difflib.unified_diff(before, after, *names):
        print(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n", end="")


def _write(edit: FileEdit) -> None:
    if edit.after is not None:
        write(edit.path, edit.after, over=edit.before)
        return
    try:
        edit.path.unlink()
    except OSError as error:
        raise RequestError(f"{edit.path} cannot be removed ({error.strerror}).", "Check its permissions.") from error


def _missing_folders(path: Path) -> list[Path]:
    return [folder for folder in path.parents if not folder.exists()]
