"""What the installers of the test editors share: the cache directory, and the error that makes a test skip with its reason."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import platformdirs


class Unavailable(Exception):
    """This editor cannot be had here; the message says why."""


def cache_dir() -> Path:
    """Where editors are kept between runs: `QWENCODER_TEST_CACHE`, or the user's cache directory."""
    return Path(os.environ.get("QWENCODER_TEST_CACHE") or platformdirs.user_cache_dir("qwencoder-lsp-tests", appauthor=False)).absolute()


def require(*programs: str) -> None:
    """Raise Unavailable when one of the programs is not on PATH."""
    for program in programs:
        if shutil.which(program) is None:
            raise Unavailable(f"{program} is not installed.")


def run(command: Sequence[str | Path], cwd: Path | None = None, env: dict[str, str] | None = None, timeout: float = 500) -> str:
    """Run a command to its end and return its standard output; a failure is Unavailable with the end of its error output."""
    try:
        done = subprocess.run(command, cwd=cwd, env=env, timeout=timeout, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"{Path(command[0]).name}: {error}") from error
    if done.returncode != 0:
        raise Unavailable(f"{Path(command[0]).name} ended with {done.returncode}: {(done.stderr or done.stdout)[-600:].strip()}")
    return done.stdout


def cached(name: str, build: Callable[[Path], None]) -> Path:
    """The cache entry `name`; when missing, `build` fills a new directory, which appears under its name only when complete."""
    target = cache_dir() / name
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{name}-") as scratch:
            fresh = Path(scratch) / name
            fresh.mkdir()
            build(fresh)
            try:
                fresh.rename(target)
            except OSError:
                if not target.exists():  # otherwise another run was faster, and its copy is as good
                    raise
    return target


def user_environment() -> dict[str, str]:
    """The environment without the settings of whoever runs the tests."""
    return {name: value for name, value in os.environ.items() if not name.startswith("QWENCODER_")}
