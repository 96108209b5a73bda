"""What the installed llama.cpp can compute on: `python -m qwencoder_lsp.engine.devices` prints it as JSON.

A process of its own, because a library built for another processor ends the one that loads it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass

from qwencoder_lsp import paths
from qwencoder_lsp.errors import EngineFailed

PROBE_S = 60.0


@dataclass(frozen=True, slots=True)
class Device:
    """One device of llama.cpp. backend: "CPU", "CUDA", "Vulkan", ... kind: "CPU", "GPU", "integrated GPU" or "accelerator". memory, free: bytes."""

    backend: str
    name: str
    kind: str
    memory: int
    free: int


@dataclass(frozen=True, slots=True)
class Build:
    """The installed llama.cpp. offloads: whether it was built for any GPU. problem: why it cannot be used, or ""."""

    version: str = ""
    features: str = ""
    offloads: bool = False
    devices: tuple[Device, ...] = ()
    problem: str = ""


def probe(command: tuple[str, ...] = (sys.executable, "-m", "qwencoder_lsp.engine.devices")) -> Build:
    """Ask a process of its own; never raises."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PROBE_S, check=False, cwd=paths.NEUTRAL, env=paths.neutral_environment()
        )
        told = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else None
    except (OSError, subprocess.TimeoutExpired, ValueError, IndexError) as error:
        return Build(problem=f"It cannot be asked ({type(error).__name__}).")
    if told is None:
        last = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "")
        return Build(problem=f"It ends the process that loads it (status {done.returncode}). {last}".strip())
    return Build(**{**told, "devices": tuple(Device(**device) for device in told["devices"])})


def main() -> None:
    """Print the Build as JSON."""
    from qwencoder_lsp.engine import binding

    out = os.fdopen(os.dup(1), "w")  # what native code prints is not ours
    os.dup2(2, 1)
    binding.quiet_native_log()
    problem = ""
    try:
        binding.probe_layout()
    except EngineFailed as error:
        problem = str(error)
    found = Build(binding.version(), binding.build_info(), binding.gpu_available(), binding.devices(), problem)
    print(json.dumps(asdict(found)), file=out, flush=True)


if __name__ == "__main__":
    main()
