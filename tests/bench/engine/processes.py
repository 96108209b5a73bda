"""What the kernel says about processes and the machine (Linux): trees, processor time, private memory, and the load that is not ours."""

from __future__ import annotations

import os
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def tree(*roots: int) -> list[int]:
    """The processes and all that descend from them, as far as they live."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found: list[int] = []
    waiting = [pid for pid in roots if _stat(pid)]
    while waiting:
        found.append(waiting.pop())
        waiting += [pid for pid in children.get(found[-1], []) if pid not in found]
    return found


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    fields = _stat(pid)
    return bool(fields) and fields[0] != "Z"


def processor_seconds(pids: list[int]) -> float:
    """The processor time of these processes and of their children that have ended."""
    return sum(sum(map(int, fields[11:15])) for pid in pids if (fields := _stat(pid))) / TICKS


def busy_seconds() -> float:
    """The processor time that the whole machine has used, idle and waiting for disks apart."""
    with open("/proc/stat", encoding="ascii") as file:  # noqa: PTH123 - plain read of a kernel file
        user, nice, system, _, _, irq, softirq, steal, *_ = (int(field) for field in file.readline().split()[1:])
    return (user + nice + system + irq + softirq + steal) / TICKS


def private_mb(pid: int) -> float:
    """Private dirty memory in MB; 0 when the process has gone."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii")
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Private_Dirty:")) / 1024


def command_line(pid: int) -> str:
    """The arguments, joined by blanks; empty when the process has gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
    except OSError:
        return ""


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on, or nothing."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - plain read of a kernel file
            return file.read().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return []
