"""What the KV of a token depends on besides the tokens before it, as a short key. KV is never used under another key than its own."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

PIECES, PIECE = 64, 4096  # of a file, evenly spread


def fingerprint(path: Path) -> bytes:
    """What tells the content of a model or adapter file: size, time of change, and a digest of pieces from all of it.

    Reading all of a model would take longer than loading it. Raises OSError.
    """
    info = path.stat()
    return _fingerprint(path, info.st_size, info.st_mtime_ns)


@lru_cache(maxsize=64)
def _fingerprint(path: Path, size: int, changed: int) -> bytes:
    digest = hashlib.blake2b(f"{size}|{changed}".encode(), digest_size=16)
    with path.open("rb") as file:
        for i in range(PIECES):
            file.seek(max(0, (size - PIECE) * i // (PIECES - 1)))
            digest.update(file.read(PIECE))
    return digest.digest()


def root_of(model: bytes, build: str, rope: str, adapters: Sequence[tuple[bytes, float]] = (), kv_type: str = "f16") -> bytes:
    """The key. model, adapters: fingerprints, the latter with their scales; build: of llama.cpp; rope: how positions are encoded."""
    parts = [build, rope, kv_type, *(f"{print_.hex()}*{scale!r}" for print_, scale in sorted(adapters))]
    return hashlib.blake2b(model + "|".join(parts).encode(), digest_size=16).digest()
