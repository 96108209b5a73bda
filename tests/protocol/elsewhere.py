"""A gateway on another machine in tests: served over TCP with a key, the scripted engine behind it; its members and those who use it as an engine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

KEY = "k" * 24


@contextmanager
def served(env: dict[str, str]) -> Iterator[str]:
    """The URL of `serve` in that environment, with KEY; ends with its gateway."""
    command = [sys.executable, "-m", "qwencoder_lsp.cli", "serve", "--port", "0"]
    process = subprocess.Popen(command, env={**env, "QWENCODER_API_KEYS": KEY}, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("Serving on "), line
        yield line.split()[2]
    finally:
        process.terminate()
        process.communicate(timeout=30)


def member(home: Path, url: str, via: str) -> dict[str, str]:
    """The environment of somebody with a home of their own who uses that gateway: via "team" as their own one, otherwise as an engine."""
    home.mkdir(exist_ok=True)
    env = {name: value for name, value in os.environ.items() if not name.startswith("QWENCODER_")}
    env |= {"QWENCODER_HOME": str(home), "QWENCODER_COMPLETION_DEBOUNCE_MS": "0"}
    if via == "team":
        return env | {"QWENCODER_GATEWAY_URL": url, "QWENCODER_GATEWAY_KEY": KEY}
    return env | {"QWENCODER_REMOTE_URL": url, "QWENCODER_REMOTE_KEY": KEY}
