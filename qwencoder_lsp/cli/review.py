"""review: findings in files or in a change, for people and for CI."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from qwencoder_lsp.cli.files import as_snapshot, read_snapshot, shown, write
from qwencoder_lsp.cli.options import Model, settings, with_gateway
from qwencoder_lsp.cli.reports import FORMATS, Reviewed
from qwencoder_lsp.context import changes
from qwencoder_lsp.core.languages import language_of
from qwencoder_lsp.core.results import Review, Severity
from qwencoder_lsp.core.text import Edit, Snapshot, Span, apply_edits
from qwencoder_lsp.errors import RequestError
from qwencoder_lsp.features.review import review as review_document
from qwencoder_lsp.features.review_changes import review_changes
from qwencoder_lsp.gateway.client import GatewayClient
from qwencoder_lsp.grammars import GRAMMARS
from qwencoder_lsp.postprocess.syntax import parse_errors
from qwencoder_lsp.settings import Settings

LARGEST = 400_000  # code points of a file that is taken on when it was not named
CODE = GRAMMARS.keys() - {"html", "css", "sql", "yaml", "markdown"}  # languages with bugs that a function can have
SEVERITIES = [severity.value for severity in Severity]  # the worst first


@dataclass(frozen=True, slots=True)
class _Work:
    """A document to review; with spans, only what of it was changed."""

    path: Path
    snapshot: Snapshot
    spans: tuple[Span, ...] | None = None


def review(
    paths: Annotated[list[Path] | None, typer.Argument(help="Files and folders; in folders, what git knows.", show_default=False)] = None,
    diff: Annotated[str, typer.Option(help="Only what differs from this revision, such as main or HEAD.", show_default=False)] = "",
    staged: Annotated[bool, typer.Option("--staged", help="Only what is staged.")] = False,
    patch: Annotated[Path | None, typer.Option(help="Only what this patch changed; it must be applied.", show_default=False)] = None,
    format_: Annotated[str, typer.Option("--format", help=f"One of: {', '.join(FORMATS)}.")] = "text",
    fail_on: Annotated[str, typer.Option(help=f"Exit code 1 from this severity on: {', '.join(SEVERITIES)}, or never.")] = "never",
    fix: Annotated[bool, typer.Option("--fix", help="Write the suggested changes into the files.")] = False,
    model: Model = "",
) -> None:
    """Review files or a change (experimental: findings are suspicions). Exit code 1 when there are some of the severity of --fail-on or worse."""
    if format_ not in FORMATS or fail_on not in [*SEVERITIES, "never"]:
        raise RequestError(f"--format is one of {', '.join(FORMATS)}; --fail-on is one of {', '.join(SEVERITIES)}, never.", "Correct it.")
    if sum(map(bool, (paths, diff, staged, patch))) != 1:
        raise RequestError("Say what to review: PATHS, --diff REV, --staged or --patch FILE.", "For example: qwencoder-lsp review --diff main")
    work = _work(paths or [], diff, staged, patch)
    chosen = settings(model, Path.cwd())
    reviewed = with_gateway(chosen, lambda client: _run(work, client, chosen)) if work else []
    print(FORMATS[format_](reviewed))
    if fix:
        for one, file in zip(work, reviewed, strict=True):
            _fix(one, file, staged=staged)
    worst = {finding.severity.value for file in reviewed for finding in file.findings}
    if fail_on != "never" and worst & set(SEVERITIES[: SEVERITIES.index(fail_on) + 1]):
        raise typer.Exit(1)


async def _run(work: Sequence[_Work], client: GatewayClient, chosen: Settings) -> list[Reviewed]:
    reviewed = []
    for number, one in enumerate(work, 1):
        print(f"{number}/{len(work)} {shown(one.path)}", file=sys.stderr, flush=True)
        result = await _review(one, client, chosen)
        reviewed.append(Reviewed(shown(one.path), one.snapshot.text, result.findings, result.dropped, result.parts))
    return reviewed


async def _review(one: _Work, client: GatewayClient, chosen: Settings) -> Review:
    if one.spans is None:
        return await review_document(one.snapshot, client, chosen)
    return await review_changes(one.snapshot, one.spans, client, chosen)


def _work(paths: Sequence[Path], diff: str, staged: bool, patch: Path | None) -> list[_Work]:
    if paths:
        files = [file for path in paths for file in (_in_folder(path) if path.is_dir() else [path])]
        return [_Work(file, read_snapshot(file)) for file in dict.fromkeys(files)]
    here = Path.cwd()
    if patch:
        changed = changes.patched_files(here, read_snapshot(patch).text)
    else:
        changed = changes.staged_files(here) if staged else changes.changed_files(here, diff)
    return [_Work(c.path, as_snapshot(c.path, c.text), c.spans) for c in changed if c.spans and language_of(c.path.name) in CODE]


def _in_folder(folder: Path) -> list[Path]:
    """The source files of a folder in languages that can be checked."""
    return [p for p in changes.listed_files(folder) if language_of(p.name) in CODE and p.stat().st_size <= LARGEST and _is_text(p)]


def _is_text(path: Path) -> bool:
    try:
        path.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _fix(one: _Work, file: Reviewed, *, staged: bool) -> None:
    """Write the suggested changes that leave the file as sound as it was, each on its own."""
    if staged and one.path.read_bytes() != file.text.encode("utf-8"):
        print(f"{file.path}: not fixed, because the file is not as it is staged.", file=sys.stderr)
        return
    edits: list[Edit] = []
    for finding in file.findings:
        if finding.replacement is None or (edits and finding.span.start < edits[-1].span.end):
            continue
        more = [*edits, Edit(finding.span, finding.replacement)]
        if (parse_errors(apply_edits(file.text, more), one.snapshot.language) or 0) <= (parse_errors(file.text, one.snapshot.language) or 0):
            edits = more
    if edits:
        write(one.path, apply_edits(file.text, edits), over=file.text)
        print(f"{file.path}: {len(edits)} of {len(file.findings)} fixed.", file=sys.stderr)
