"""What is installed: catalogue models in the models directory, and GGUF files that the user names by path.

Checks here are cheap (size and the first bytes), because they run at every start; the full checksum is compared when a file is pulled.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from qwencoder_lsp import paths
from qwencoder_lsp.errors import ModelCorrupt, ModelError, ModelMissing
from qwencoder_lsp.models.catalogue import ModelEntry, find, load_catalogue

GGUF_MAGIC = b"GGUF"  # https://github.com/ggml-org/ggml/blob/master/docs/gguf.md


@dataclass(frozen=True, slots=True)
class InstalledModel:
    """A model file that is here and looks sound. size: bytes. entry: None for a file outside the catalogue."""

    name: str
    path: Path
    size: int
    entry: ModelEntry | None

    def has_role(self, role: str) -> bool:
        """Whether the catalogue says that the model is good for `role`; False outside the catalogue, where nothing is known."""
        return self.entry is not None and role in self.entry.roles


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One line of `models list`. state: "installed", "missing" or "damaged"."""

    name: str
    title: str
    bytes: int
    roles: tuple[str, ...]
    licence: str
    state: str


def path_of(entry: ModelEntry) -> Path:
    """Where the entry's file belongs, whether or not it is there."""
    return paths.models_dir() / entry.file


def installed(catalogue: Sequence[ModelEntry] | None = None) -> tuple[InstalledModel, ...]:
    """The sound catalogue models on this machine, in catalogue order; damaged ones are left out (`table` shows them)."""
    found = []
    for entry in load_catalogue() if catalogue is None else catalogue:
        try:
            found.append(_installed(entry))
        except ModelError:
            continue  # a missing or damaged model is not installed; `resolve` says why when someone asks for it
    return tuple(found)


def resolve(name_or_path: str, catalogue: Sequence[ModelEntry] | None = None) -> InstalledModel:
    """The model behind a catalogue name or the path of a GGUF file (anything with a separator, or ending in ".gguf").

    Raises ModelUnknown for a name outside the catalogue, ModelMissing when the file is not there, ModelCorrupt when its size
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


def table(catalogue: Sequence[ModelEntry] | None = None) -> tuple[ModelRow, ...]:
    """Every catalogue model with its state on this machine, in catalogue order."""
    return tuple(
        ModelRow(entry.name, entry.title, entry.bytes, tuple(sorted(entry.roles)), entry.licence, state(entry))
        for entry in (load_catalogue() if catalogue is None else catalogue)
    )


def state(entry: ModelEntry) -> str:
    """ "installed", "missing" or "damaged"."""
    try:
        _installed(entry)
    except ModelMissing:
        return "missing"
    except ModelError:
        return "damaged"
    return "installed"


def _installed(entry: ModelEntry) -> InstalledModel:
    path = path_of(entry)
    command = f"qwencoder-lsp models pull {entry.name}"
    try:
        size = _checked_size(path)
    except FileNotFoundError as error:
        raise ModelMissing(f"The model {entry.name} is not installed.", f"Run: {command}") from error
    if size != entry.bytes:
        raise ModelCorrupt(f"{path} has {size} bytes instead of {entry.bytes}.", f"Fetch it again: {command}")
    return InstalledModel(entry.name, path, size, entry)


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
