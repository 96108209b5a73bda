"""What git says of a folder: which lines were changed, which files there are, and the staged text.

In: a folder, and a revision, the index or a patch. Out: paths, texts and changed lines. Git is run without hooks, pagers or other programs that a
repository's configuration could name.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from unidiff.errors import UnidiffParseError
from unidiff.patch import PatchedFile, PatchSet

from qwencoder_lsp.core.text import Span
from qwencoder_lsp.errors import RequestError

SAFE = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "core.quotePath=false", "--no-pager")
DIFF = ("diff", "--no-color", "--no-ext-diff", "--no-textconv", "--src-prefix=a/", "--dst-prefix=b/", "--diff-filter=d")


@dataclass(frozen=True, slots=True)
class ChangedFile:
    """A file with its text after the change, and what of it was changed: whole lines; where lines were only removed, the line above them."""

    path: Path
    text: str
    spans: tuple[Span, ...]


def changed_files(folder: Path, revision: str) -> list[ChangedFile]:
    """What differs between `revision` and the working tree. Raises RequestError when git cannot tell."""
    top = top_level(folder)
    diff = _git(top, *DIFF, "--unified=0", "--end-of-options", revision, "--")
    return [_changed(top / file.path, _read(top / file.path), file) for file in _parsed(diff) if not file.is_binary_file]


def changed_lines(path: Path, revision: str) -> tuple[Span, ...] | None:
    """What of one file differs from `revision`; None for a file that git does not know, which is new as a whole.

    Raises RequestError when git cannot tell.
    """
    top = top_level(path.parent)
    if not _git(top, "ls-files", "--", str(path)):
        return None
    diff = _git(top, *DIFF, "--unified=0", "--end-of-options", revision, "--", str(path))
    return next((_changed(path, _read(path), file).spans for file in _parsed(diff) if not file.is_binary_file), ())


def staged_files(folder: Path) -> list[ChangedFile]:
    """What is staged, with the staged text. Raises RequestError when git cannot tell."""
    top = top_level(folder)
    files = [file for file in _parsed(_git(top, *DIFF, "--unified=0", "--cached", "--")) if not file.is_binary_file]
    return [_changed(top / file.path, _git(top, "show", "--no-textconv", f":{file.path}"), file) for file in files]


def patched_files(folder: Path, patch: str) -> list[ChangedFile]:
    """What `patch`, which was applied to `folder`, changed there. Raises RequestError when it is no patch or was not applied."""
    found = []
    for file in _parsed(patch):
        path = folder / file.path
        if file.is_removed_file or file.is_binary_file:
            continue
        if not path.resolve().is_relative_to(folder.resolve()):
            raise RequestError(f"The patch names {file.path}, which is outside of this folder.", "Run it in the folder that the patch is for.")
        text = _read(path)
        lines = text.splitlines()
        for line in (line for hunk in file for line in hunk if line.is_added):
            at = line.target_line_no or 0
            if not 0 < at <= len(lines) or lines[at - 1] != line.value.rstrip("\r\n"):
                raise RequestError(f"The patch is not applied to {file.path}.", "Apply it first: git apply FILE")
        found.append(_changed(path, text, file))
    return found


def staged_diff(folder: Path) -> str:
    """The staged change as a diff. Raises RequestError when git cannot tell."""
    return _git(top_level(folder), *DIFF[:-1], "--cached", "--")


def listed_files(folder: Path) -> list[Path]:
    """The files below `folder` that git tracks or would; outside of a repository all that are not hidden."""
    try:
        names = _git(folder, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", ".").split("\0")
    except RequestError:
        found = [path for path in folder.rglob("*") if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
        return sorted(path for path in found if path.is_file() and not path.is_symlink())
    return sorted(path for name in set(names) if name and (path := folder / name).is_file() and not path.is_symlink())


def top_level(folder: Path) -> Path:
    """The top folder of the repository that holds `folder`. Raises RequestError when there is none."""
    return Path(_git(folder, "rev-parse", "--show-toplevel").rstrip("\n"))


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(folder), *SAFE, *arguments], capture_output=True, stdin=subprocess.DEVNULL, check=False)
    except FileNotFoundError:
        raise RequestError("git is not installed.", "Install it, or name files instead.") from None
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().split("\n")[0]
        raise RequestError(f"git cannot tell: {said}.", "Run it inside of a repository, with a revision that exists.")
    return done.stdout.decode("utf-8", "replace")


def _parsed(patch: str) -> Sequence[PatchedFile]:
    try:
        return list(PatchSet(patch))
    except UnidiffParseError as error:
        raise RequestError(f"This is no patch ({error}).", "Make one with: git diff") from error


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8", "replace")
    except OSError as error:
        raise RequestError(f"{path} cannot be read ({error.strerror}).", "Correct the path.") from error


def _changed(path: Path, text: str, file: PatchedFile) -> ChangedFile:
    lines: set[int] = set()
    for hunk in file:
        added = {line.target_line_no for line in hunk if line.is_added}
        lines |= {at for at in added if at} or {max(hunk.target_start, 1)}
    starts = [0]
    for line in text.split("\n"):
        starts.append(starts[-1] + len(line) + 1)
    spans: list[Span] = []
    for at in sorted(lines):
        if at >= len(starts):
            continue
        start, end = starts[at - 1], min(starts[at], len(text))
        if spans and spans[-1].end == start:
            start = spans.pop().start
        spans.append(Span(start, end))
    return ChangedFile(path, text, tuple(spans))
