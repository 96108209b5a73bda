"""tests, docs, commit-message: what the model writes for files and changes."""

from __future__ import annotations

import difflib
import shlex
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from qwencoder_lsp.cli.files import read_snapshot, shown, write
from qwencoder_lsp.cli.options import Model, settings, with_gateway
from qwencoder_lsp.context import changes
from qwencoder_lsp.core.text import Snapshot, Span
from qwencoder_lsp.errors import AnswerError, RequestError
from qwencoder_lsp.features.commit_message import commit_message as message_of
from qwencoder_lsp.features.document import document_all
from qwencoder_lsp.features.generate_tests import Tests, generate_tests
from qwencoder_lsp.features.rewrite import region_limit
from qwencoder_lsp.gateway.client import GatewayClient
from qwencoder_lsp.settings import Settings

RUN_S = 120.0

Write = Annotated[bool, typer.Option("--write", help="Write the files instead of printing what would change.")]


def tests(
    place: Annotated[str, typer.Argument(metavar="FILE[:LINE]", help="Test the function at the line, or all of the file.")],
    write_: Write = False,
    run: Annotated[
        str, typer.Option(help="Run this command with the test file's path behind it, after --write; exit code 1 when it fails.", show_default=False)
    ] = "",
    model: Model = "",
) -> None:
    """Write tests into the file where the project has them, with its framework."""
    if run and not write_:
        raise RequestError("--run needs --write.", "Add --write, so that there is a file to run.")
    path, line = _place(place)
    snapshot = read_snapshot(path)
    chosen = settings(model, Path(snapshot.root) if snapshot.root else None)
    made = with_gateway(chosen, lambda client: generate_tests(snapshot, _span(snapshot, line, chosen), _read, client, chosen))
    if not write_:
        _print_change(made.path, made.before, made.after)
        return
    write(made.path, made.after, over=None if made.new else made.before)
    print(f"{shown(made.path)}: {'made' if made.new else 'added to'}, {made.framework}{_verdict(made, run)}")


def docs(
    paths: Annotated[list[Path], typer.Argument(help="Source files.")],
    write_: Write = False,
    model: Model = "",
) -> None:
    """Document the functions that have no documentation yet, in the convention of their file."""
    for path in paths:
        snapshot = read_snapshot(path)
        chosen = settings(model, Path(snapshot.root) if snapshot.root else None)
        after = with_gateway(chosen, partial(_documented, snapshot, chosen))
        if write_ and after != snapshot.text:
            write(path, after, over=snapshot.text)
        elif not write_:
            _print_change(path, snapshot.text, after)


def commit_message(model: Model = "") -> None:
    """Print a message for what is staged, for example: git commit -m "$(qwencoder-lsp commit-message)" --edit"""
    chosen = settings(model, Path.cwd())
    diff = changes.staged_diff(Path.cwd())
    message, unseen = with_gateway(chosen, lambda client: message_of(diff, str(Path.cwd()), client, chosen))
    print(message)
    if unseen:
        print(f"The change is long: {unseen} characters of it were not looked at.", file=sys.stderr)


async def _documented(snapshot: Snapshot, chosen: Settings, client: GatewayClient) -> str:
    text, _, refused = await document_all(snapshot, client, chosen)
    for sentence in refused:
        print(sentence, file=sys.stderr)
    return text


def _span(snapshot: Snapshot, line: int | None, chosen: Settings) -> Span:
    lines = snapshot.text.split("\n")
    if line is None:
        if len(snapshot.text) > region_limit(chosen):
            raise RequestError("The file is too long to be tested at once.", "Name a function by its line: FILE:LINE")
        return Span(0, len(snapshot.text))
    if not 0 < line <= len(lines):
        raise RequestError(f"The file has {len(lines)} lines, not {line}.", "Correct the line.")
    start = sum(len(one) + 1 for one in lines[: line - 1])
    at = start + len(lines[line - 1]) - len(lines[line - 1].lstrip())
    return Span(at, at)


def _place(place: str) -> tuple[Path, int | None]:
    path, _, line = place.rpartition(":")
    return (Path(path), int(line)) if path and line.isdecimal() else (Path(place), None)


def _read(path: Path) -> str | None:
    return read_snapshot(path).text if path.exists() else None


def _verdict(made: Tests, command: str) -> str:
    """What running the tests says, as the end of a sentence. Raises AnswerError when they fail."""
    if not command:
        return ""
    try:
        done = subprocess.run([*shlex.split(command), str(made.path)], stdin=subprocess.DEVNULL, timeout=RUN_S, check=False)
    except (OSError, ValueError) as error:
        raise RequestError(f"--run {command!r} cannot be started ({error}).", "Correct the command.") from error
    except subprocess.TimeoutExpired:
        raise AnswerError(f"The tests did not end within {RUN_S:.0f} s.", f"They are in {shown(made.path)}; look at them.") from None
    if done.returncode:
        raise AnswerError(f"The tests in {shown(made.path)} do not pass.", "Look at them: either they or the code are wrong.")
    return ", and they pass"


def _print_change(path: Path, before: str, after: str) -> None:
    name = shown(path)
    lines = difflib.unified_diff(before.splitlines(keepends=True), after.splitlines(keepends=True), f"a/{name}", f"b/{name}")
    print("".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines), end="")
