"""A file that appears under its name only when it is complete and its checksum is right.

Bytes go to NAME.partial beside the target; `commit` checks, syncs and renames in one step. Without a commit the partial file is deleted
and whatever was under the name before stays.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO

from qwencoder_lsp.errors import ModelCorrupt

BLOCK = 1 << 20


class VerifiedFile:
    """A context manager around one such file. size: bytes that the complete file has. sha256: hex. `written` counts the bytes so far."""

    def __init__(self, target: Path, size: int, sha256: str) -> None:
        self.written = 0
        self._target = target
        self._size = size
        self._sha256 = sha256
        self._partial = target.with_name(target.name + ".partial")
        self._hash = hashlib.sha256()

    def __enter__(self) -> VerifiedFile:
        self._file = self._partial.open("wb")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self._file.close()
        finally:  # closing writes what is buffered, so a full disk can show here
            self._partial.unlink(missing_ok=True)  # after a commit it is gone already

    @property
    def remaining(self) -> int:
        """Bytes that are still missing."""
        return self._size - self.written

    def copy_from(self, stream: IO[bytes], wrote: Callable[[int], None]) -> None:
        """Append the whole stream; wrote(bytes so far) is called after each block and may raise to stop.

        Raises ModelCorrupt as soon as there is more than the file may hold, and OSError when the disk refuses.
        """
        while block := stream.read(BLOCK):
            if len(block) > self.remaining:
                raise ModelCorrupt(
                    f"The source is longer than the {self._size} bytes that {self._target.name} has.", "Use another source: --source FILE"
                )
            self._file.write(block)
            self._hash.update(block)
            self.written += len(block)
            wrote(self.written)

    def commit(self) -> None:
        """Put the file in place. Raises ModelCorrupt when the size or the checksum is wrong, and OSError when the disk refuses."""
        if self.written != self._size:
            raise ModelCorrupt(
                f"The source ended after {self.written} of the {self._size} bytes that {self._target.name} has.",
                "Try again, or use another source.",
            )
        if self._hash.hexdigest() != self._sha256:
            raise ModelCorrupt(f"The checksum of the fetched {self._target.name} is wrong.", "Try again, or use another source.")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._partial.replace(self._target)
        _sync_directory(self._target.parent)


def matches(path: Path, size: int, sha256: str, read: Callable[[int], None]) -> bool:
    """Whether the file at `path` exists with that size and checksum; read(bytes so far) is called after each block and may raise to stop."""
    if not path.is_file() or path.stat().st_size != size:
        return False
    digest, done = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
            done += len(block)
            read(done)
    return digest.hexdigest() == sha256


def _sync_directory(path: Path) -> None:
    if sys.platform == "win32":
        return  # directories cannot be opened there, and the rename is journalled
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
