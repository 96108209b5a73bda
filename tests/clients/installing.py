"""What the installers of the test editors share: the cache directory, and the error that makes a test skip with its reason."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import platformdirs

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


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


def unpack(target: Path, suite: str, *packages: str) -> None:
    """Unpack packages of a Debian suite with all that they need, down to the C library, into `target`; nothing is installed system-wide."""
    require("apt-get", "dpkg-deb")
    if not KEYRING.exists():
        raise Unavailable(f"{KEYRING} is missing, so the packages of Debian {suite} cannot be checked.")
    mirrors = [url for url in run(["apt-get", "indextargets", "--format", "$(REPO_URI)"]).split() if url.rstrip("/").endswith("/debian")]
    if not mirrors:
        raise Unavailable("This system knows no Debian mirror.")
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        for part in ("lists/partial", "cache/archives/partial", "debs"):
            (work / part).mkdir(parents=True)
        (work / "sources.list").write_text(f"deb [signed-by={KEYRING}] {mirrors[0]} {suite} main\n")
        # An empty status file makes apt resolve the full closure.
        options = {
            "Dir::Etc::sourcelist": work / "sources.list",
            "Dir::Etc::sourceparts": "-",
            "Dir::State::lists": work / "lists",
            "Dir::State::status": os.devnull,
            "Dir::Cache": work / "cache",
            "APT::Sandbox::User": "",
        }
        apt = ["apt-get", "-qq", *(word for name, value in options.items() for word in ("-o", f"{name}={value}"))]
        run([*apt, "update"])
        plan = run([*apt, "install", "--simulate", "--no-install-recommends", *packages])
        needed = [line.split()[1] for line in plan.splitlines() if line.startswith("Inst ")]
        run([*apt, "download", *needed], cwd=work / "debs")
        for package in sorted((work / "debs").glob("*.deb")):
            run(["dpkg-deb", "-x", package, target])


def pip(target: Path, requirement: str) -> None:
    """Unpack one wheel of the Python package index into `target`, without what it requires."""
    run([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:", "--target", target, requirement])


def code_blocks(path: Path, language: str) -> list[str]:
    """The code blocks of a Markdown file in that language."""
    return re.findall(rf"```{language}\n(.*?)```", path.read_text("utf-8"), re.DOTALL)


def user_environment() -> dict[str, str]:
    """The environment without the settings of whoever runs the tests."""
    return {name: value for name, value in os.environ.items() if not name.startswith("QWENCODER_")}
