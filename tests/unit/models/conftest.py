"""A small fake model and an empty home."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from qwencoder_lsp.models.catalogue import ModelEntry, parse_entry

PIECE = 300_000
PIECES = tuple((b"GGUF" if part == 0 else b"") + random.Random(part).randbytes(PIECE) for part in range(3))  # noqa: S311  the bytes must be the same in every run
MODEL = b"".join(PIECES)
TOML = f"""
name = "tiny"
title = "Tiny"
family = "test"
parameters = "0"
quantisation = "none"
context = 512
licence = "CC0-1.0"
roles = ["completion", "chat"]
repository = "nobody/tiny"
revision = "0"
file = "tiny.gguf"
bytes = {len(MODEL)}
sha256 = "{hashlib.sha256(MODEL).hexdigest()}"
[sources.pypi]
note = "made by the test"
package = "qwencoder-tiny-part{{part}}"
version = "1.0.0"
parts = {len(PIECES)}
member = "qwencoder_tiny_part{{part}}/data/part{{part:02d}}.bin"
"""


@dataclass(frozen=True)
class TinyModel:
    """The catalogue entry, its TOML text, and the bytes of the right file, whole and in pieces."""

    entry: ModelEntry
    toml: str
    content: bytes
    pieces: tuple[bytes, ...]

    def of_first_pieces(self, count: int) -> ModelEntry:
        """The entry of a shorter model, for tests that need fewer downloads."""
        assert self.entry.pypi is not None
        content = b"".join(self.pieces[:count])
        return replace(self.entry, bytes=len(content), sha256=hashlib.sha256(content).hexdigest(), pypi=replace(self.entry.pypi, parts=count))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty QWENCODER_HOME."""
    path = tmp_path / "home"
    monkeypatch.setenv("QWENCODER_HOME", str(path))
    return path


@pytest.fixture
def tiny() -> TinyModel:
    """The fake model."""
    return TinyModel(parse_entry(TOML), TOML, MODEL, PIECES)
