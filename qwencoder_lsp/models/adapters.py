"""LoRA adapters that are installed: GGUF files in the adapters directory, each named by its file."""

from __future__ import annotations

import math
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from qwencoder_lsp import paths
from qwencoder_lsp.errors import ModelCorrupt, ModelError, ModelMissing, ModelUnknown, RequestError
from qwencoder_lsp.models.store import GGUF_MAGIC

SUFFIX = ".gguf"
MOST_SCALE = 100.0
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, slots=True)
class InstalledAdapter:
    """An adapter file that is here. size: bytes."""

    name: str
    path: Path
    size: int


def installed() -> tuple[InstalledAdapter, ...]:
    """All of them, by name."""
    files = (f for f in paths.adapters_dir().glob(f"*{SUFFIX}") if f.is_file())
    return tuple(sorted((InstalledAdapter(f.stem, f, f.stat().st_size) for f in files), key=lambda a: a.name))


def find(name: str) -> InstalledAdapter:
    """The installed adapter of that name. Raises ModelUnknown with all names in its hint."""
    here = installed()
    for adapter in here:
        if adapter.name == name:
            return adapter
    names = f"Installed: {', '.join(a.name for a in here)}." if here else "None is installed."
    raise ModelUnknown(f'There is no adapter named "{name}".', f"{names} Add one: qwencoder-lsp adapters add FILE")


def resolve(name_or_path: str) -> InstalledAdapter:
    """The adapter of that name, or the file at that path (anything with a separator, or ending in ".gguf").

    Raises ModelUnknown, ModelMissing when the file is not there.
    """
    path = Path(name_or_path)
    if path.is_absolute():
        try:
            return InstalledAdapter(path.stem, path, path.stat().st_size)
        except OSError as error:
            raise ModelMissing(f"There is no adapter file {path}.", "Correct the path, or see: qwencoder-lsp adapters list") from error
    return find(name_or_path)


def parse(value: str) -> tuple[str, float]:
    """ "NAME:SCALE" as name and scale, 1 where there is none. Raises RequestError for a scale that cannot be one."""
    name, colon, scale = value.rpartition(":")
    try:
        number = float(scale)
    except ValueError:  # of a path with a drive letter
        return value, 1.0
    if not colon:
        return value, 1.0
    if not (math.isfinite(number) and abs(number) <= MOST_SCALE):
        raise RequestError(f"{scale} is no scale of an adapter.", f"Use a number between -{MOST_SCALE:g} and {MOST_SCALE:g}.")
    return name, number


def add(file: Path, name: str = "") -> InstalledAdapter:
    """Copy a GGUF file into the directory under `name` (by default its own), in one step. A running gateway uses it at once.

    Raises RequestError for a name that cannot be one, ModelCorrupt for what is no GGUF file, ModelError when it cannot be read or written.
    """
    name = name or file.stem
    if not _NAME.fullmatch(name):
        raise RequestError(f'"{name}" cannot be the name of an adapter.', "Use letters, digits, dots, dashes and underscores: --name NAME")
    target = paths.adapters_dir() / f"{name}{SUFFIX}"
    part = target.with_name(f".{name}.part")
    try:
        with file.open("rb") as stream:
            if stream.read(len(GGUF_MAGIC)) != GGUF_MAGIC:
                raise ModelCorrupt(f"{file} is not a GGUF file.", "Convert the adapter with llama.cpp's convert_lora_to_gguf.py first.")
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(file, part)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise ModelError(f"The adapter cannot be added ({error.strerror}: {error.filename}).", "Check the file and the disk.") from error
    return InstalledAdapter(name, target, target.stat().st_size)


def remove(name: str) -> InstalledAdapter:
    """Delete an installed adapter. Engines free it when nothing runs. Raises ModelUnknown, ModelError."""
    adapter = find(name)
    try:
        adapter.path.unlink()
    except OSError as error:
        raise ModelError(f"The adapter cannot be removed ({error.strerror}).", "Check who may write to its directory.") from error
    return adapter
