"""Blocks of computed prefixes on disk, so that a workspace is warm when the machine has been off.

One file per block, `WORKSPACE/ROOT/KEY` under a private directory, with the key of hosttier.py as its name. The key says everything that the
bytes depend on: model, adapters, KV type, rope, build and the tokens, so that a block of another kind is never found. A file is written once,
completely or not at all, and checked when it is read. A workspace's directory holds blocks of its own prompts only.
Knows nothing of llama.cpp. One thread writes; the engine's thread reads.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import queue
import re
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from qwencoder_lsp.engine.hosttier import BLOCK, Block, Ids
from qwencoder_lsp.errors import QwencoderError
from qwencoder_lsp.paths import check_private

log = logging.getLogger(__name__)

MAGIC = b"QWENCODER-KV-1\n\0"
DIGEST = 16  # bytes of blake2b over key, tokens and data
HEAD = len(MAGIC) + DIGEST + BLOCK * 4
DAY_S = 86400.0
WORKSPACE = re.compile(r"[0-9a-f]{32}")
_NAME = re.compile(r"[0-9a-f]{32}")
_TEMPORARY = ".part"
_Prompt = tuple[str, bytes, Sequence[tuple[bytes, Block]]]


class DiskTier:
    """directory: made when first written to, for this user alone. budget: bytes of all workspaces together; a block unused for longest goes first.
    days: a block unused for longer than that goes too."""

    def __init__(self, directory: Path, budget: int, days: float) -> None:
        self._directory = directory
        self._budget, self._age_s = budget, days * DAY_S
        self._files: dict[bytes, Path] = {}
        self._opened: set[str] = set()
        self._todo: queue.Queue[_Prompt | None] = queue.Queue()
        self._writer: threading.Thread | None = None

    def __len__(self) -> int:
        return len(self._files)

    def open(self, workspace: str) -> None:
        """Look what is there for `workspace`. Blocks are read when they are wanted."""
        if workspace in self._opened:
            return
        self._opened.add(workspace)
        strangers = 0
        for file in _files(self._directory / workspace):
            if _NAME.fullmatch(file.name):
                self._files[bytes.fromhex(file.name)] = file
            elif not file.name.endswith(_TEMPORARY):
                strangers += 1
        if strangers:
            log.warning("%d files among the saved prefixes are not ours and are ignored", strangers)

    def get(self, key: bytes, tokens: Ids) -> Block | None:
        """The block, if it is there, undamaged, and really that of `tokens`."""
        file = self._files.get(key)
        if file is None:
            return None
        try:
            data = np.fromfile(file, np.uint8)
            block = _parse(key, data)
        except OSError as error:
            log.info("a saved prefix cannot be read (%s)", error.strerror)
            self._files.pop(key, None)
            return None
        if block is None:
            log.warning("a saved prefix is damaged and is deleted")
            self._files.pop(key, None)
            with contextlib.suppress(OSError):  # then it is found damaged once more
                file.unlink()
            return None
        return block if np.array_equal(block.tokens, tokens) else None

    def put(self, workspace: str, root: bytes, blocks: Sequence[tuple[bytes, Block]]) -> None:
        """Have the blocks of one prompt, in their order, written in the background; blocks that are there count as used now."""
        if self._writer is None:
            self._writer = threading.Thread(target=self._write_all, name="prefixes to disk", daemon=True)
            self._writer.start()
        self._todo.put((workspace, root, blocks))

    def flush(self, seconds: float) -> bool:
        """Wait until all is written. False when it took longer."""
        if self._writer is None:
            return True
        self._todo.put(None)
        self._writer.join(seconds)
        done = not self._writer.is_alive()
        if done:
            self._writer = None
        return done

    def trim(self) -> None:
        """Delete what is too old or too much, of every workspace."""
        now, found, total = time.time(), list[tuple[float, int, Path]](), 0
        for file in _files(self._directory, depth=3):
            with contextlib.suppress(OSError):  # another process deletes too
                info = file.stat()
                if file.name.endswith(_TEMPORARY):
                    if now - info.st_mtime > DAY_S:
                        file.unlink()
                elif _NAME.fullmatch(file.name):
                    found.append((info.st_mtime, info.st_size, file))
                    total += info.st_size
        for used, size, file in sorted(found):
            if total <= self._budget and now - used <= self._age_s:
                break
            with contextlib.suppress(OSError):
                file.unlink()
                total -= size
                self._files.pop(bytes.fromhex(file.name), None)
                file.parent.rmdir()  # fails while there are others
                file.parent.parent.rmdir()

    def _write_all(self) -> None:
        wrote = True  # what has become too old meanwhile goes
        while (prompt := self._todo.get()) is not None:
            try:
                wrote |= self._write(*prompt)
            except (OSError, QwencoderError) as error:  # a full disk, or a directory that others can enter: the next start is not warm
                log.warning("computed prefixes cannot be saved: %s", error)
            if wrote and self._todo.qsize() <= 1:  # the last one may be the sign to end
                self.trim()
                wrote = False

    def _write(self, workspace: str, root: bytes, blocks: Sequence[tuple[bytes, Block]]) -> bool:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        check_private(self._directory)
        folder = self._directory
        for name in (workspace, root.hex()):
            folder /= name
            folder.mkdir(mode=0o700, exist_ok=True)
        now, wrote = time.time(), False
        for i, (key, block) in enumerate(blocks):
            file = folder / key.hex()
            if not file.exists():
                _write_file(file, key, block)
                wrote = True
            self._files[key] = file
            with contextlib.suppress(OSError):
                os.utime(file, (now - i / 1000, now - i / 1000))  # a block is of no use without those before it, so they are to go last
        return wrote


def _files(directory: Path, depth: int = 2) -> Iterator[Path]:
    """The plain files so many levels below; links are not followed."""
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False) and depth > 1:
                    yield from _files(Path(entry.path), depth - 1)
                elif entry.is_file(follow_symlinks=False) and depth == 1:
                    yield Path(entry.path)
    except OSError:  # not there yet, or gone meanwhile
        return


def _parse(key: bytes, data: npt.NDArray[np.uint8]) -> Block | None:
    """The block in a file's bytes, or None when they are not what was written."""
    if len(data) < HEAD or data[: len(MAGIC)].tobytes() != MAGIC:
        return None
    body = data[len(MAGIC) + DIGEST :]
    if _digest(key, body.data) != data[len(MAGIC) : len(MAGIC) + DIGEST].tobytes():
        return None
    return Block(np.frombuffer(body[: BLOCK * 4].tobytes(), "<i4").astype(np.int32), body[BLOCK * 4 :])


def _digest(key: bytes, *parts: bytes | memoryview) -> bytes:
    digest = hashlib.blake2b(key, digest_size=DIGEST)
    for part in parts:
        digest.update(part)
    return digest.digest()


def _write_file(file: Path, key: bytes, block: Block) -> None:
    tokens = block.tokens.astype("<i4").tobytes()
    part = file.with_name(f"{file.name}.{os.getpid()}{_TEMPORARY}")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
            out.write(MAGIC + _digest(key, tokens, block.data.data) + tokens)
            out.write(block.data.data)
        part.replace(file)
    except OSError:
        part.unlink(missing_ok=True)
        raise
