"""Names a file as its repository knows it.

A document's absolute path and workspace folder go in; the repository's name and the path in it come out, as Qwen's repository layout wants them.
Looks for `.git` on the disk once per directory; reads nothing.
"""

from __future__ import annotations

import hashlib
import platform
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Place:
    """A file in its repository: the repository's name, and the path relative to it with forward slashes. Both are empty when unknown."""

    repo: str = ""
    path: str = ""


def locate(path: str | None, root: str | None) -> Place:
    """The place of the file `path`: in the nearest directory above it that has a `.git` (a directory, or a file in worktrees and submodules),
    otherwise in the workspace folder `root`, otherwise alone. None for a document that is not on disk has no place."""
    if path is None:
        return Place()
    file = Path(path)
    top = _repository(file.parent)
    if top is None and root is not None and file.is_relative_to(root):
        top = Path(root)
    if top is None:
        return Place("", file.name)
    return Place(top.name, file.relative_to(top).as_posix())


@lru_cache(maxsize=64)
def workspace_key(root: str | None) -> str:
    """What stands for a workspace folder where its name is nobody's business: 32 hexadecimal digits, the same in each session of this user on this
    machine. Empty without a folder."""
    if root is None:
        return ""
    return hashlib.sha256(f"{Path.home()}@{platform.node()}:{root}".encode("utf-8", "surrogateescape")).hexdigest()[:32]


@lru_cache(maxsize=4096)
def _repository(directory: Path) -> Path | None:
    return next((parent for parent in (directory, *directory.parents) if (parent / ".git").exists()), None)
