"""A file as the index keeps it: chunks of text without secrets, symbols, imports. Runs in worker processes; what goes in and out can be pickled."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

from qwencoder_lsp.context.imports import imports, key
from qwencoder_lsp.context.outline import Symbol, chunks, outline
from qwencoder_lsp.context.secrets import redact
from qwencoder_lsp.context.walk import Entry, Skip, read
from qwencoder_lsp.core.languages import language_of

_WORD = re.compile(r"[^\W\d]\w{2,}")
MOST_SYMBOLS = 5000  # of a file; one with more is data


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive lines of a file, from `line` (0-based) to `end` (exclusive)."""

    line: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class Parsed:
    """One file. skip: why it has no content here. imports: for each the key of the file it may be, and the ends of its path, joined by newlines."""

    entry: Entry
    digest: bytes = b""
    language: str = ""
    lines: int = 0
    skip: Skip | None = None
    chunks: tuple[Chunk, ...] = ()
    symbols: tuple[Symbol, ...] = ()
    imports: tuple[tuple[str, str], ...] = field(default=())


def parse_file(root: Path, entry: Entry, known: bytes = b"") -> Parsed | None:
    """The file as it is on disk now; None when its text still has the digest `known`."""
    text = read(root, entry.path)
    if isinstance(text, Skip):
        return Parsed(entry, skip=text)
    mark = digest(text)
    return None if mark == known else parse(entry, text, mark)


def parse(entry: Entry, text: str, mark: bytes) -> Parsed:
    """The text of a file, with "\\n" as its only line ending, cut up."""
    language = language_of(entry.path)
    clean = redact(text)
    found = outline(clean, language)
    symbols = found.symbols[:MOST_SYMBOLS]
    lines = clean.split("\n")
    if lines and not lines[-1]:
        lines.pop()
    cut = tuple(Chunk(a, b, "\n".join(lines[a:b]) + "\n") for a, b in chunks(len(lines), symbols))
    targets = {(key(i.ends[0].replace("/*.go", ".go")), "\n".join(i.ends)) for i in imports(found.imports, language, entry.path)}
    return Parsed(entry, mark, language, len(lines), None, cut, symbols, tuple(sorted(targets)))


def words(text: str) -> str:
    """The different words of a chunk that can be searched for, joined by spaces; the same for the same text always."""
    return " ".join(sorted(set(_WORD.findall(text))))


def digest(text: str) -> bytes:
    """What tells one text from another."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
