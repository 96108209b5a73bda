"""Whether there is memory for a KV memory before it is made: llama.cpp would take it, and the system would end some process for it."""

from __future__ import annotations

import ctypes
import logging
import os
from dataclasses import dataclass
from pathlib import Path

import psutil

log = logging.getLogger(__name__)

GROUP = Path("/sys/fs/cgroup")
BUFFERS = 160 << 20  # llama.cpp's own for computing, beside the cells
DONT_NEED = 4  # MADV_DONTNEED of Linux
RESERVE = 512 << 20  # of the machine's memory that is left to others


@dataclass(frozen=True, slots=True)
class Room:
    """Bytes that may be used, and what bounds them, in words."""

    bytes: int
    why: str

    def cells(self, per_token: int) -> int:
        """How many cells that is."""
        return max(0, self.bytes - BUFFERS) // max(1, per_token)


def room(limit: int, used: int, *, shared: bool = True) -> Room:
    """For one more KV memory. limit: bytes that this process may use in all, 0 for no limit; used: what it has already by its own account.
    shared: whether the cells lie in the machine's memory; on a GPU only llama.cpp can tell what is free."""
    free = max(0, free_bytes() - RESERVE) if shared else 1 << 62
    found = Room(free, f"{free >> 20:,} MB of the machine's memory are free for it")
    if not limit:
        return found
    left = max(0, limit - used)
    allowed = Room(left, f"{left >> 20:,} of the {limit >> 20:,} MB that the model may use are left (engine.memory_mb)")
    return min(found, allowed, key=lambda r: r.bytes)


def free_bytes(group: Path = GROUP) -> int:
    """What can be had without another process losing what it needs: of the machine, and of the control group that a container is.

    Page cache counts as free, since the system gives it up (https://docs.kernel.org/admin-guide/cgroup-v2.html, memory.stat).
    """
    available = psutil.virtual_memory().available
    try:
        most = int((group / "memory.max").read_text("ascii"))
        used = int((group / "memory.current").read_text("ascii"))
        stat = dict(line.split() for line in (group / "memory.stat").read_text("ascii").splitlines())
        return min(available, max(0, most - used + int(stat["file"])))
    except (OSError, ValueError, KeyError):  # no such group, or without a limit ("max")
        return available


def give_back_pages(suffix: str = ".gguf") -> None:
    """Take mapped files with that ending out of this process's memory; what is read again comes back from the page cache.

    llama.cpp copies most weights into another layout for the CPU, or onto the GPU, and leaves the file mapped: it would count twice.
    Does nothing where there is no /proc (https://man7.org/linux/man-pages/man2/madvise.2.html).
    """
    try:
        lines = Path("/proc/self/maps").read_text("utf-8", "replace").splitlines()
        advise = ctypes.CDLL(None, use_errno=True).madvise
    except (OSError, AttributeError, TypeError):
        return
    advise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    for line in lines:
        if line.endswith(suffix):
            start, end = (int(part, 16) for part in line.split(" ", 1)[0].split("-"))
            if advise(start, end - start, DONT_NEED):
                log.warning("mapped pages stay: %s", os.strerror(ctypes.get_errno()))


def demand(tokens: int, per_token: int) -> str:
    """What so many cells take, in words."""
    return f"{(tokens * per_token + BUFFERS) >> 20:,} MB ({per_token / 1024:.0f} KB for each token)"
