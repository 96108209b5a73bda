"""Files and batches on disk, in the private data directory: what is asked, what was answered so far, and how far each batch is.

A batch writes each answer as it comes, so that after a restart only what is missing is asked again. Knows nothing of HTTP or engines.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import time
from collections.abc import Container, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

from qwencoder_lsp import paths
from qwencoder_lsp.errors import RequestError

MOST_LINES = 50_000  # as at OpenAI
MOST_PROBLEMS = 20
UNFINISHED = ("validating", "in_progress", "finalizing", "cancelling")


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file. purpose: "batch" or "batch_output"; size: bytes; created: Unix time; owner: whose key it came with, empty without keys."""

    id: str
    filename: str
    purpose: str
    size: int
    created: int
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a line of a batch's file; lines count from 1."""

    line: int
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch. status and times as in OpenAI's API; problems: why it failed; owner: that of its file."""

    id: str
    endpoint: str
    input_file: str
    created: int
    status: str = "validating"
    total: int = 0
    completed: int = 0
    failed: int = 0
    output_file: str = ""
    error_file: str = ""
    times: dict[str, int] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    owner: str = ""

    def now(self, status: str) -> Batch:
        """The batch in that state from now on."""
        return replace(self, status=status, times={**self.times, f"{status}_at": int(time.time())})


@dataclass(frozen=True, slots=True)
class Line:
    """One request of a batch."""

    custom_id: str
    body: dict[str, Any]


class BatchStore:
    """One directory. Every method may block on the disk; writing replaces whole files or appends whole lines."""

    def __init__(self, directory: Path | None = None) -> None:
        self._directory = directory or paths.batches_dir()

    def add(self, source: BinaryIO, filename: str, purpose: str = "batch", owner: str = "") -> StoredFile:
        """Keep a copy of what `source` holds."""
        id_ = f"file-{secrets.token_hex(12)}"
        with self._open(self._content(id_), "wb") as target:
            shutil.copyfileobj(source, target)
            size = target.tell()
        stored = StoredFile(id_, filename, purpose, size, int(time.time()), owner)
        self._write(stored.id, stored)
        return stored

    def files(self) -> list[StoredFile]:
        """All of them, the newest first."""
        return sorted((StoredFile(**fields) for fields in self._read_all("file-")), key=lambda f: f.created, reverse=True)

    def file(self, id_: str) -> StoredFile | None:
        """The file of that id."""
        fields = self._read(id_, "file-")
        return StoredFile(**fields) if fields else None

    def path(self, file: StoredFile) -> Path:
        """Where its content is."""
        return self._content(file.id)

    def delete(self, file: StoredFile) -> None:
        """Forget a file and its content."""
        self._content(file.id).unlink(missing_ok=True)
        (self._directory / f"{file.id}.json").unlink(missing_ok=True)

    def begin(self, endpoint: str, input_file: StoredFile, metadata: dict[str, str]) -> Batch:
        """A new batch, which has still to be validated."""
        batch = Batch(f"batch_{secrets.token_hex(12)}", endpoint, input_file.id, int(time.time()), metadata=metadata, owner=input_file.owner)
        self.save(batch)
        return batch

    def batches(self) -> list[Batch]:
        """All of them, the newest first."""
        return sorted(map(_batch, self._read_all("batch_")), key=lambda b: (b.created, b.id), reverse=True)

    def batch(self, id_: str) -> Batch | None:
        """The batch of that id."""
        fields = self._read(id_, "batch_")
        return _batch(fields) if fields else None

    def save(self, batch: Batch) -> None:
        """Write down how far it is."""
        self._write(batch.id, batch)

    def check(self, batch: Batch) -> tuple[int, tuple[Problem, ...]]:
        """How many requests its file holds, and what is wrong with them."""
        problems: list[Problem] = []
        seen: set[str] = set()
        count = 0
        for number, text in self._lines(batch.input_file):
            count += 1
            found = read_line(text, batch.endpoint)
            if isinstance(found, str):
                problems.append(Problem(number, "invalid_line", found))
            elif found.custom_id in seen:
                problems.append(Problem(number, "duplicate_custom_id", f"custom_id {found.custom_id!r} is there already."))
            else:
                seen.add(found.custom_id)
            if len(problems) >= MOST_PROBLEMS:
                break
        if not count:
            problems.append(Problem(1, "empty_file", "The file holds no request."))
        if count > MOST_LINES:
            problems.append(Problem(MOST_LINES + 1, "too_many_lines", f"A batch has at most {MOST_LINES} requests."))
        return count, tuple(problems)

    def missing(self, batch: Batch, done: Container[str]) -> Iterator[Line]:
        """The requests of a valid batch whose custom_id is not in `done`."""
        for _, text in self._lines(batch.input_file):
            found = read_line(text, batch.endpoint)
            if isinstance(found, Line) and found.custom_id not in done:
                yield found

    def answered(self, batch: Batch) -> dict[str, bool]:
        """By custom_id, whether it went well. A line that a crash left half-written, or that is damaged, is taken out."""
        found: dict[str, bool] = {}
        for file, good in ((self._answers(batch, failed=False), True), (self._answers(batch, failed=True), False)):
            if not file.exists():
                continue
            data = file.read_bytes()
            answers = [(line, _custom_id(line)) for line in data.splitlines(keepends=True) if line.endswith(b"\n")]
            if len(whole := b"".join(line for line, id_ in answers if id_ is not None)) != len(data):
                with self._open(partial := file.with_suffix(".tmp"), "wb") as mended:
                    mended.write(whole)
                partial.replace(file)
            found.update({id_: good for _, id_ in answers if id_ is not None})
        return found

    def answer(self, batch: Batch, line: dict[str, Any], *, failed: bool) -> None:
        """Append one answer."""
        with self._open(self._answers(batch, failed=failed), "ab") as file:
            file.write(json.dumps(line).encode() + b"\n")

    def finish(self, batch: Batch) -> Batch:
        """The batch with its answers as files."""
        if not batch.output_file:
            batch = replace(batch, output_file=self._published(batch, failed=False))
            self.save(batch)
        if not batch.error_file:
            batch = replace(batch, error_file=self._published(batch, failed=True))
            self.save(batch)
        for failed in (False, True):
            self._answers(batch, failed=failed).unlink(missing_ok=True)
        return batch

    def _published(self, batch: Batch, *, failed: bool) -> str:
        """The id of a file with the answers of one kind; empty where there are none."""
        source = self._answers(batch, failed=failed)
        if not source.exists():
            return ""
        with source.open("rb") as answers:
            return self.add(answers, f"{batch.id}_{'errors' if failed else 'output'}.jsonl", "batch_output", batch.owner).id

    def _answers(self, batch: Batch, *, failed: bool) -> Path:
        return self._directory / f"{batch.id}.{'errors' if failed else 'output'}.part"

    def _content(self, id_: str) -> Path:
        return self._directory / f"{id_}.jsonl"

    def _lines(self, file: str) -> Iterator[tuple[int, str]]:
        try:
            with self._content(file).open(encoding="utf-8", errors="replace") as text:
                yield from ((number, line) for number, line in enumerate(text, 1) if line.strip())
        except FileNotFoundError:
            raise RequestError("The file of the batch has been deleted.", "Upload it again.") from None

    def _open(self, path: Path, mode: str) -> Any:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return open(path, mode, opener=lambda name, flags: os.open(name, flags, 0o600))

    def _write(self, id_: str, value: StoredFile | Batch) -> None:
        partial = self._directory / f"{id_}.tmp"
        with self._open(partial, "wb") as file:
            file.write(json.dumps(asdict(value)).encode())
        partial.replace(self._directory / f"{id_}.json")

    def _read(self, id_: str, kind: str) -> dict[str, Any] | None:
        if not (id_.startswith(kind) and id_.removeprefix(kind).isalnum()):  # it becomes part of a path
            return None
        try:
            found: dict[str, Any] = json.loads((self._directory / f"{id_}.json").read_text("utf-8"))
        except FileNotFoundError:
            return None
        return found

    def _read_all(self, kind: str) -> list[dict[str, Any]]:
        found = (self._read(path.stem, kind) for path in self._directory.glob(f"{kind}*.json"))
        return [fields for fields in found if fields]


def _custom_id(answer: bytes) -> str | None:
    """Of a line with an answer; None where it is damaged."""
    try:
        id_ = json.loads(answer)["custom_id"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return id_ if isinstance(id_, str) else None


def _batch(fields: dict[str, Any]) -> Batch:
    return Batch(**{**fields, "problems": tuple(Problem(**p) for p in fields["problems"])})


def read_line(text: str, endpoint: str) -> Line | str:
    """The request in one line, or what is wrong with it."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return "It is not JSON."
    if not isinstance(found, dict) or not isinstance(found.get("custom_id"), str) or not isinstance(found.get("body"), dict):
        return "It needs custom_id (text) and body (an object)."
    if found.get("method", "POST") != "POST" or found.get("url", endpoint) != endpoint:
        return f"method and url must be POST {endpoint}."
    if found["body"].get("stream"):
        return "A batch cannot stream."
    return Line(found["custom_id"], found["body"])
