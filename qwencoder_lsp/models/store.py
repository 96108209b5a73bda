"""What is installed: catalogue models in the models directory, and GGUF files that the user names by path.

Checks here are cheap (size and the first bytes), because they run at every start; the full checksum is compared when a file is pulled or on
`verify`. Beside a fetched file lies its receipt, NAME.json: the size and the checksum that it was checked against.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import filelock

from qwencoder_lsp import paths
from qwencoder_lsp.errors import DownloadError, ModelCorrupt, ModelError, ModelMissing
from qwencoder_lsp.models.catalogue import RUNNING, ModelEntry, ModelFile, find, load_catalogue
from qwencoder_lsp.models.partial import SUFFIX, digest

log = logging.getLogger(__name__)

GGUF_MAGIC = b"GGUF"  # https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
CACHE = 300 << 20  # bytes of keys and values to expect of a file that nothing is known of
LOCK = "downloads.lock"
SCRATCH = ".wheel"


@dataclass(frozen=True, slots=True)
class InstalledModel:
    """A model file that is here and looks sound. path: of the first file, if it is split. size: bytes of all. entry: None outside the catalogue."""

    name: str
    path: Path
    size: int
    entry: ModelEntry | None

    def has_role(self, role: str) -> bool:
        """Whether the catalogue says that the model is good for `role`; False outside the catalogue, where nothing is known."""
        return self.entry is not None and role in self.entry.roles

    @property
    def active_bytes(self) -> float:
        """Bytes of weights that one token reads."""
        return self.size * (self.entry.active_share if self.entry else 1.0)

    def memory(self, context: int) -> int:
        """Bytes that it is expected to take with so many tokens of context."""
        cache = self.entry.kv_bytes * context if self.entry and self.entry.kv_bytes else CACHE
        return self.size + cache + RUNNING


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One line of `models list`. state: "installed", "partial" (a download that can go on), "missing" or "damaged". bytes: of the model;
    disk: what it takes here. memory: bytes with the default context."""

    name: str
    model: str
    title: str
    quantisation: str
    bytes: int
    memory: int
    context: int
    roles: tuple[str, ...]
    licence: str
    state: str
    disk: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a fetched file was checked against, and where it came from."""

    bytes: int
    sha256: str
    source: str


def path_of(entry: ModelEntry) -> Path:
    """Where the entry's first file belongs, whether or not it is there."""
    return path_of_file(entry.files[0])


def path_of_file(file: ModelFile) -> Path:
    """Where one file belongs."""
    return Path(file.path) if file.path else paths.models_dir() / file.local_name


def installed(catalogue: Sequence[ModelEntry] | None = None) -> tuple[InstalledModel, ...]:
    """The sound catalogue models on this machine, in catalogue order; damaged ones are left out (`table` shows them)."""
    entries = load_catalogue() if catalogue is None else catalogue
    try:
        here = set(os.listdir(paths.models_dir()))  # noqa: PTH208 - names only: this runs at every keystroke, and most models are not here
    except OSError:
        here = set()
    found = []
    for entry in entries:
        if entry.own or entry.file in here:
            try:
                found.append(_installed(entry))
            except ModelError:
                continue  # a missing or damaged model is not installed; `resolve` says why when someone asks for it
    return tuple(found)


def resolve(name_or_path: str, catalogue: Sequence[ModelEntry] | None = None) -> InstalledModel:
    """The model behind a catalogue name or the path of a GGUF file (anything with a separator, or ending in ".gguf").

    Raises ModelUnknown for a name outside the catalogue, ModelMissing when a file is not there, ModelCorrupt when its size
    differs from the catalogue's or it is no GGUF file, and ModelError when it cannot be read.
    """
    if "/" in name_or_path or os.sep in name_or_path or name_or_path.lower().endswith(".gguf"):
        path = Path(name_or_path).expanduser().absolute()
        try:
            return InstalledModel(path.stem, path, _checked_size(path), None)
        except FileNotFoundError as error:
            raise ModelMissing(
                f"There is no model file {path}.", "Correct the path, or use the name of a model: qwencoder-lsp models list"
            ) from error
    return _installed(find(name_or_path, catalogue))


def table(catalogue: Sequence[ModelEntry] | None = None, context: int = 8192) -> tuple[ModelRow, ...]:
    """Every catalogue model with its state on this machine, in catalogue order."""
    return tuple(_row(entry, context) for entry in (load_catalogue() if catalogue is None else catalogue))


def _row(entry: ModelEntry, context: int) -> ModelRow:
    try:
        here: InstalledModel | ModelEntry = _installed(entry)
    except ModelError:  # the state says so
        here = entry
    size = here.size if isinstance(here, InstalledModel) else here.bytes
    return ModelRow(
        entry.name,
        entry.model,
        entry.title,
        entry.quantisation,
        size,
        here.memory(context),
        entry.context,
        tuple(sorted(entry.roles)),
        entry.licence,
        state(entry),
        sum(size_of(path) for path in files_of(entry)),
    )


def state(entry: ModelEntry) -> str:
    """ "installed", "partial", "missing" or "damaged"."""
    try:
        _installed(entry)
    except ModelMissing:
        return "partial" if not entry.own and files_of(entry) else "missing"
    except ModelError:
        return "damaged"
    return "installed"


def files_of(entry: ModelEntry) -> list[Path]:
    """What is here of the model: its files, unfinished downloads and receipts. The user's own files are theirs."""
    if entry.own:
        return []
    found = []
    for file in entry.files:
        target = path_of_file(file)
        found += [path for path in (target, receipt_path(target), *target.parent.glob(f"{target.name}.*{SUFFIX}*")) if path.exists()]
    return found


def receipt_path(target: Path) -> Path:
    """Where the receipt of a file lies."""
    return target.with_name(target.name + ".json")


def write_receipt(target: Path, receipt: Receipt) -> None:
    """Remember what the file was checked against. Raises OSError."""
    partial = receipt_path(target).with_suffix(".json.new")
    partial.write_text(json.dumps(asdict(receipt)), "utf-8")
    partial.replace(receipt_path(target))


def read_receipt(target: Path) -> Receipt | None:
    """The file's receipt; None when there is none that can be read."""
    path = receipt_path(target)
    try:
        saved = json.loads(path.read_text("utf-8"))
        return Receipt(int(saved["bytes"]), str(saved["sha256"]), str(saved["source"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("receipt %s is ignored: %s: %s", path, type(error).__name__, error)
        return None


def expected(file: ModelFile) -> tuple[int, str]:
    """The size and checksum that the file must have: the catalogue's, else the receipt's; 0 and "" where neither knows."""
    receipt = None if file.bytes and file.sha256 else read_receipt(path_of_file(file))
    return file.bytes or (receipt.bytes if receipt else 0), file.sha256 or (receipt.sha256 if receipt else "")


def verify(entry: ModelEntry, read: Callable[[int], None]) -> str:
    """The model's state after every byte was read: "sound", "damaged", "unknown" (no checksum is known), "missing" or "partial".

    read(bytes of the present file so far) is called after each block. Raises ModelError when a file cannot be read.
    """
    now = state(entry)
    if now != "installed":
        return now
    verdict = "sound"
    for file in entry.files:
        _, sha256 = expected(file)
        try:
            found = digest(path_of_file(file), read)
        except OSError as error:
            raise ModelError(f"{path_of_file(file)} cannot be read ({error.strerror}).", "Check that you may read it.") from error
        if not sha256:
            verdict = "unknown"
        elif found != sha256:
            return "damaged"
    return verdict


def remove(entry: ModelEntry) -> int:
    """Delete what is here of the model; bytes freed. Raises ModelMissing when there is nothing, ModelError when it cannot be deleted."""
    if entry.own:
        raise ModelMissing(f"The model {entry.name} is a file of your own, which is never deleted.", "Delete its TOML file, and the model is gone.")
    found = files_of(entry)
    if not found:
        raise ModelMissing(f"The model {entry.name} is not installed.", "There is nothing to delete.")
    return _delete(found)


def leftovers() -> list[Path]:
    """What nobody needs: unfinished downloads, receipts without a file, scratch directories and old locks. Model files never are."""
    directory = paths.models_dir()
    if not directory.is_dir():
        return []
    found = []
    for path in sorted(directory.iterdir()):
        orphan = path.name.endswith(".gguf.json") and not path.with_name(path.name.removesuffix(".json")).exists()
        lock = path.name.endswith(".lock") and path.name != LOCK
        if orphan or lock or SUFFIX in path.suffixes or path.name.endswith((SCRATCH, ".json.new")):
            found.append(path)
    return found


def prune(found: Sequence[Path]) -> int:
    """Delete leftovers; bytes freed. Raises ModelError."""
    return _delete(found)


@contextmanager
def nothing_is_fetched() -> Iterator[None]:
    """Holds the lock of downloads. Raises DownloadError while one runs."""
    lock = filelock.FileLock(paths.models_dir() / LOCK)
    paths.models_dir().mkdir(parents=True, exist_ok=True)
    try:
        with lock.acquire(timeout=0):
            yield
    except filelock.Timeout as error:
        raise DownloadError("A model is being fetched.", "Wait for its end, or cancel it.") from error


def _delete(found: Sequence[Path]) -> int:
    freed = 0
    for path in found:
        size = size_of(path)
        try:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise ModelError(f"{path} cannot be deleted ({error.strerror}).", "End what uses it (qwencoder-lsp stop), and try again.") from error
        freed += size
    return freed


def size_of(path: Path) -> int:
    """Bytes of a file, or of everything in a directory."""
    if path.is_dir():
        return sum(size_of(child) for child in path.iterdir())
    return path.stat().st_size


def _installed(entry: ModelEntry) -> InstalledModel:
    return InstalledModel(entry.name, path_of(entry), sum(_installed_file(entry, file) for file in entry.files), entry)


def _installed_file(entry: ModelEntry, file: ModelFile) -> int:
    path, command = path_of_file(file), f"qwencoder-lsp models pull {entry.name}"
    try:
        size = _checked_size(path)
    except FileNotFoundError as error:
        if entry.own:
            raise ModelMissing(f"There is no model file {path}.", "Correct the path in the model's TOML file.") from error
        raise ModelMissing(f"The model {entry.name} is not installed.", f"Run: {command}") from error
    wanted, _ = expected(file)
    if wanted and size != wanted:
        raise ModelCorrupt(f"{path} has {size} bytes instead of {wanted}.", f"Fetch it again: {command}")
    return size


def _checked_size(path: Path) -> int:
    """The size in bytes of a file that begins as GGUF files do. FileNotFoundError passes through."""
    try:
        with path.open("rb") as file:
            magic = file.read(len(GGUF_MAGIC))
            size = os.fstat(file.fileno()).st_size
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror}).", "Check that it is a file and that you may read it.") from error
    if magic != GGUF_MAGIC:
        raise ModelCorrupt(f"{path} is not a GGUF file.", "Choose a model file in GGUF format, or fetch one: qwencoder-lsp models list")
    return size
