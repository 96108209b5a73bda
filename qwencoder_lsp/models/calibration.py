"""Remembers how fast each model runs on this machine, one small JSON file per measurement in the cache directory.

A measurement belongs to a model file (name and size) and a machine (CPU model and thread count); it is used for nothing else.
A cache can be lost: a file that cannot be read or written costs a log line and a new measurement, never an error.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import platform
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from qwencoder_lsp import paths
from qwencoder_lsp.models.store import InstalledModel

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Speed:
    """Tokens per second: prefill of about 48 tokens, and decode of one sequence. costs: (rows, of them with logits, milliseconds) of a step.

    Raises ValueError unless all are positive and finite.
    """

    prefill: float
    decode: float
    costs: tuple[tuple[int, int, float], ...] = ()

    def __post_init__(self) -> None:
        if not all(math.isfinite(speed) and speed > 0 for speed in (self.prefill, self.decode, *(value for point in self.costs for value in point))):
            raise ValueError(f"impossible speeds {self.prefill}, {self.decode}")


def load(models: Iterable[InstalledModel], threads: int) -> dict[str, Speed]:
    """The remembered speeds of those models with that many threads, by model name; models without a measurement are left out."""
    speeds = {model.name: _read(_key(model, threads)) for model in models}
    return {name: speed for name, speed in speeds.items() if speed is not None}


def save(model: InstalledModel, threads: int, speed: Speed) -> None:
    """Remember a measurement; it replaces an older one."""
    key = _key(model, threads)
    path = _path(key)
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps({"key": key, "speed": asdict(speed)}, indent=1), "utf-8")
        partial.replace(path)
    except OSError as error:
        log.warning("calibration of %s is not remembered: %s", model.name, error)


def _key(model: InstalledModel, threads: int) -> dict[str, str | int]:
    return {"file": model.path.name, "size": model.size, "cpu": cpu_model(), "threads": threads}


def _path(key: dict[str, str | int]) -> Path:
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    return paths.cache_dir() / "calibration" / f"{digest}.json"


def _read(key: dict[str, str | int]) -> Speed | None:
    path = _path(key)
    try:
        saved = json.loads(path.read_text("utf-8"))
        speed = saved["speed"]
        costs = tuple((int(rows), int(outputs), float(ms)) for rows, outputs, ms in speed["costs"])
        return Speed(float(speed["prefill"]), float(speed["decode"]), costs)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("calibration file %s is ignored: %s: %s", path, type(error).__name__, error)
        return None


@cache
def cpu_model() -> str:
    """The processor's name as the system tells it, else its architecture."""
    try:
        for line in Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines():
            field, _, value = line.partition(":")
            if field.strip() == "model name":
                return value.strip()
    except OSError:
        pass  # only Linux has this file
    return platform.processor() or platform.machine()
