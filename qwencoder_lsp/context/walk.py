"""The files of a workspace folder that belong into an index, and their text.

A folder goes in; paths with size and time come out, and for each of them its text or why it has none. Nothing outside the folder is reached: links
are not followed, as git does not. What vanishes or cannot be read meanwhile is passed over.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path, PurePosixPath

from qwencoder_lsp.context.ignore import FILES, Ignore
from qwencoder_lsp.context.secrets import secret_path
from qwencoder_lsp.core.languages import language_of

MAX_BYTES = 1 << 20  # of a source file; larger ones are data or generated
MAX_OTHER_BYTES = 128 << 10  # of a file in no programming language: text, configuration
MAX_LINE, MAX_MEAN_LINE = 20_000, 400  # code points; longer ones are minified
VIRTUAL = "pyvenv.cfg"  # a Python environment, whatever its directory is called
PROSE = frozenset({"plaintext", "markdown", "restructuredtext", "latex", "json", "yaml", "toml", "ini", "html", "css", "xml", "sql"})
_DATA_SUFFIXES = """
.csv .tsv .lock .log .map .svg .ipynb .po .pot .mo .min.js .min.css .bundle.js .snap .dat .out .diff .patch .srt .bib .ics .vcf .png .jpg .jpeg .gif
.ico .webp .pdf .zip .gz .bz2 .xz .zst .7z .tar .whl .jar .class .so .a .o .dll .dylib .exe .bin .pyc .pyd .wasm .gguf .ttf .otf .woff .woff2 .eot
.mp3 .mp4 .wav .ogg .webm .mov .avi .npy .npz .pkl .parquet .db .sqlite .sqlite3 .onnx .pt .safetensors
"""
_DATA = frozenset(_DATA_SUFFIXES.split())
_LOCK_FILES = frozenset(
    {"package-lock.json", "pnpm-lock.yaml", "yarn.lock", "Cargo.lock", "poetry.lock", "uv.lock", "Gemfile.lock", "composer.lock", "go.sum"}
)
_GENERATED = re.compile(
    r"@generated\b|(?i:\b(?:code|file|automatically|auto-?) ?generated\b.{0,80}\bdo not (?:edit|modify)|\bdo not edit\b.{0,80}\bgenerated)", re.DOTALL
)


class Skip(str, Enum):
    """Why a file is not in the index."""

    SECRET = "made for secrets"  # noqa: S105 - says so
    DATA = "data"
    LARGE = "too large"
    BINARY = "binary"
    MINIFIED = "minified"
    GENERATED = "generated"
    NAME = "its name is not UTF-8"
    UNREADABLE = "cannot be read"


@dataclass(frozen=True, slots=True)
class Entry:
    """A file. path: relative to the folder, with forward slashes; mtime in nanoseconds."""

    path: str
    size: int
    mtime: int


def walk(root: Path) -> Iterator[Entry | Skip]:
    """The files under `root` that the ignore rules leave in, directory by directory; a Skip for each that stays out for another reason."""
    stack = [(str(root), "", Ignore.of(root))]
    while stack:
        directory, prefix, above = stack.pop()
        try:
            with os.scandir(directory) as entries:
                found = list(entries)
        except OSError:  # gone, or not ours to read
            continue
        names = {entry.name for entry in found}
        if prefix and VIRTUAL in names:
            continue
        rules = above.within(Path(directory), prefix[:-1], names & set(FILES))
        for entry in found:
            path = prefix + entry.name
            try:
                if entry.is_dir(follow_symlinks=False):
                    if not rules.leaves_out(path, entry.name, directory=True):
                        stack.append((entry.path, path + "/", rules))
                elif entry.is_file(follow_symlinks=False) and not rules.leaves_out(path, entry.name, directory=False):
                    info = entry.stat(follow_symlinks=False)
                    yield reason if (reason := _unfit(path, info.st_size)) else Entry(path, info.st_size, info.st_mtime_ns)
            except OSError:
                yield Skip.UNREADABLE


def entry_at(root: Path, path: str) -> Entry | None:
    """The file at `path` in the folder as `walk` would give it; None when it would not."""
    rules = Ignore.of(root)
    parts = PurePosixPath(path).parts
    directory = root
    for depth, part in enumerate(parts):
        if directory.is_symlink() and depth:
            return None
        rules = rules.within(directory, "/".join(parts[:depth]), {name for name in FILES if (directory / name).is_file()})
        if rules.leaves_out("/".join(parts[: depth + 1]), part, directory=depth + 1 < len(parts)):
            return None
        directory /= part
    try:
        info = directory.lstat()
    except OSError:
        return None
    is_file = (info.st_mode & 0o170000) == 0o100000
    return Entry(path, info.st_size, info.st_mtime_ns) if is_file and not _unfit(path, info.st_size) else None


def read(root: Path, path: str) -> str | Skip:
    """The file's text, with "\\n" as its only line ending, or why it has none."""
    try:
        data = (root / path).read_bytes()
    except OSError:
        return Skip.UNREADABLE
    if len(data) > MAX_BYTES:  # it has grown since
        return Skip.LARGE
    text = decoded(data)
    if text is None:
        return Skip.BINARY
    lines = text.count("\n") + 1
    if len(text) > 2 * MAX_MEAN_LINE and (len(text) / lines > MAX_MEAN_LINE or max(map(len, text.split("\n"))) > MAX_LINE):
        return Skip.MINIFIED
    if language_of(path) not in PROSE and _GENERATED.search(text, 0, 2000):
        return Skip.GENERATED
    return text


def decoded(data: bytes) -> str | None:
    """The text of a file, with "\\n" as its only line ending; None when it looks binary."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = data.decode("utf-16", "replace")
    elif b"\0" in data:
        return None
    else:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = data.decode("cp1252", "replace")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _unfit(path: str, size: int) -> Skip | None:
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return Skip.NAME
    if secret_path(path):
        return Skip.SECRET
    name = path[path.rfind("/") + 1 :]
    if name in _LOCK_FILES or any(name[at:].lower() in _DATA for at, c in enumerate(name) if c == "."):
        return Skip.DATA
    if size > (MAX_OTHER_BYTES if language_of(name) in PROSE else MAX_BYTES):
        return Skip.LARGE
    return None
