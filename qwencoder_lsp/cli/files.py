"""Files on the command line: read as documents, written at once or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from qwencoder_lsp.core.languages import language_of
from qwencoder_lsp.core.text import Snapshot
from qwencoder_lsp.errors import RequestError


def read_snapshot(path: Path) -> Snapshot:
    """A file as a document in the current folder's workspace. Raises RequestError when it cannot be read or is not UTF-8."""
    try:
        return as_snapshot(path, path.read_bytes().decode("utf-8"))
    except UnicodeDecodeError:
        raise RequestError(f"{path} is not UTF-8 text.", "Convert it first.") from None
    except OSError as error:
        raise RequestError(f"{path} cannot be read ({error.strerror}).", "Correct the path.") from error


def as_snapshot(path: Path, text: str) -> Snapshot:
    """`text` as the document at `path`."""
    absolute = path.absolute()
    root = str(Path.cwd()) if absolute.is_relative_to(Path.cwd()) else None
    return Snapshot(absolute.as_uri(), text, language_of(path.name), str(absolute), root)


def shown(path: Path) -> str:
    """The path as people and tools want it: relative to the current folder where it lies in it, with forward slashes."""
    absolute = path.absolute()
    return (absolute.relative_to(Path.cwd()) if absolute.is_relative_to(Path.cwd()) else absolute).as_posix()


def write(path: Path, text: str, *, over: str | None) -> None:
    """Put `text` into the file in one step, keeping its permissions. over: what the file has to hold now, None when it must not exist.

    Raises RequestError when it holds something else, or cannot be written; it is then as it was.
    """
    try:
        now = path.read_bytes() if path.exists() else None
        if now != (None if over is None else over.encode("utf-8")):
            raise RequestError(f"{path} was changed meanwhile, so it was not written.", "Run the command again.")
        target = path.resolve()  # a link stays a link
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(text.encode("utf-8"))
            temporary.chmod(target.stat().st_mode & 0o7777 if now is not None else 0o666 & ~_umask())
            temporary.replace(target)
        except BaseException:  # also on Ctrl-C: no half-written file may stay
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise RequestError(f"{path} cannot be written ({error.strerror}).", "Check its permissions and the space on the disk.") from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
