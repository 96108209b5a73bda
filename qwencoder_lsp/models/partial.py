"""A file that appears under its name only when it is complete and its checksum is right, and that survives an interruption until then.

Bytes go to NAME.DIGEST.partial beside the target, where DIGEST begins the checksum of the whole: whatever source goes on with it later
continues the same file. `commit` checks, syncs and renames in one step; a file that turns out to be wrong is deleted.
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
SUFFIX = ".partial"


class PartialFile:
    """A context manager around one such file. size: bytes that the complete file has. sha256: hex. `written` counts the bytes so far,
    those of an earlier attempt included."""

    def __init__(self, target: Path, size: int, sha256: str) -> None:
        self.target = target
        self.size = size
        self.sha256 = sha256
        self.path = target.with_name(f"{target.name}.{sha256[:16]}{SUFFIX}")

    def __enter__(self) -> PartialFile:
        self._file = self.path.open("ab")
        self.written = self._file.tell()
        if self.written > self.size:
            self.cut(0)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()  # writes what is buffered, so a full disk can show here
        if isinstance(error, ModelCorrupt) or not self.written:
            self.path.unlink(missing_ok=True)

    @property
    def remaining(self) -> int:
        """Bytes that are still missing."""
        return self.size - self.written

    def write(self, block: bytes) -> None:
        """Append. Raises ModelCorrupt as soon as there is more than the file may hold, and OSError when the disk refuses."""
        if len(block) > self.remaining:
            raise ModelCorrupt(f"The source is longer than the {self.size} bytes that {self.target.name} has.", "Use another source: --source FILE")
        self._file.write(block)
        self.written += len(block)

    def copy_from(self, stream: IO[bytes], wrote: Callable[[int], None]) -> None:
        """Append the whole stream; wrote(bytes so far) is called after each block and may raise to stop. Raises as `write` does."""
        while block := stream.read(BLOCK):
            self.write(block)
            wrote(self.written)

    def flush(self) -> None:
        """Hand what is buffered to the system, where a kill of this process does not reach it."""
        self._file.flush()

    def cut(self, length: int) -> None:
        """Forget what is behind the first `length` bytes."""
        self._file.truncate(length)
        self.written = length

    def commit(self, checked: Callable[[int], None], verified: Callable[[], None]) -> None:
        """Put the file in place; checked(bytes so far) is called while it is read again, and may raise to stop; verified() just before the rename.

        Raises ModelCorrupt when the size or the checksum is wrong, and OSError when the disk refuses.
        """
        if self.remaining:
            raise ModelCorrupt(
                f"The source ended after {self.written} of the {self.size} bytes that {self.target.name} has.", "Try again, or use another source."
            )
        self._file.flush()
        if digest(self.path, checked) != self.sha256:
            raise ModelCorrupt(f"The checksum of the fetched {self.target.name} is wrong.", "Try again, or use another source.")
        os.fsync(self._file.fileno())
        self._file.close()
        verified()
        self.path.replace(self.target)
        _sync_directory(self.target.parent)


def digest(path: Path, read: Callable[[int], None]) -> str:
    """The SHA-256 of a file, hex; read(bytes so far) is called after each block and may raise to stop."""
    state, done = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            state.update(block)
            done += len(block)
            read(done)
    return state.hexdigest()


def _sync_directory(path: Path) -> None:
    if sys.platform == "win32":
        return  # directories cannot be opened there, and the rename is journalled
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
