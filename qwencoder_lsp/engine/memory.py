"""Whether there is memory for a KV memory before it is made: llama.cpp would take it, and the system would end some process for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import psutil

GROUP = Path("/sys/fs/cgroup")
BUFFERS = 160 << 20  # llama.cpp's own for computing, beside the cells
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


def demand(tokens: int, per_token: int) -> str:
    """What so many cells take, in words."""
    return f"{(tokens * per_token + BUFFERS) >> 20:,} MB ({per_token / 1024:.0f} KB for each token)"
