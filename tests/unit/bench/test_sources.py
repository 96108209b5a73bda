"""Fetching pinned packages, and the records of a benchmark that goes on where it stopped."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.bench.asked import Records, similarity
from tests.bench.sources import fetch as module
from tests.bench.sources.fetch import fetch, missing
from tests.bench.sources.packages import LANGUAGES, PYTHON, Package


def archive(**files: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    return out.getvalue()


def package(data: bytes, file: str = "some_pkg-1.0.tar.gz", languages: tuple[str, ...] = ("go",)) -> Package:
    return Package("some-pkg", file, hashlib.sha256(data).hexdigest(), languages, "2025-01")


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """What the package index answers, by address."""
    answers: dict[str, bytes] = {}
    monkeypatch.setenv("PIP_INDEX_URL", "https://index.invalid/simple")
    monkeypatch.setattr(module, "_get", lambda url, accept="": answers[url])
    return answers


def offer(index: dict[str, bytes], file: str, data: bytes) -> None:
    index["https://index.invalid/simple/some-pkg/"] = json.dumps({"files": [{"filename": file, "url": f"../../files/{file}"}]}).encode()
    index[f"https://index.invalid/files/{file}"] = data


def test_only_sources_of_the_wanted_language_are_unpacked(index: dict[str, bytes], tmp_path: Path) -> None:
    data = archive(**{"some_pkg-1.0/a/b.go": "package a", "some_pkg-1.0/setup.py": "raise SystemExit", "some_pkg-1.0/c.txt": "-"})
    offer(index, "some_pkg-1.0.tar.gz", data)
    wanted = package(data)
    assert missing([wanted], tmp_path) == ["some-pkg"]
    fetch([wanted], tmp_path)
    assert [p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()] == ["some_pkg-1.0/a/b.go"]
    assert missing([wanted], tmp_path) == []
    index.clear()
    fetch([wanted], tmp_path)  # it is there: nothing is asked for


def test_a_wheel_is_unpacked_as_it_is(index: dict[str, bytes], tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as wheel:
        wheel.writestr("some_pkg/a.py", "x = 1\n")
        wheel.writestr("some_pkg-1.0.dist-info/METADATA", "-")
    name = "some_pkg-1.0-py3-none-any.whl"
    offer(index, name, out.getvalue())
    fetch([package(out.getvalue(), name, ("python",))], tmp_path)
    assert (tmp_path / "some_pkg-1.0/some_pkg/a.py").read_text("utf-8") == "x = 1\n"


def test_another_file_than_the_pinned_one_is_refused(index: dict[str, bytes], tmp_path: Path) -> None:
    data = archive(**{"some_pkg-1.0/b.go": "package b"})
    offer(index, "some_pkg-1.0.tar.gz", data + b"more")
    with pytest.raises(ValueError, match="SHA-256"):
        fetch([package(data)], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_leads_outside_is_refused(index: dict[str, bytes], tmp_path: Path) -> None:
    data = archive(**{"some_pkg-1.0/../../b.go": "package b"})
    offer(index, "some_pkg-1.0.tar.gz", data)
    with pytest.raises(ValueError, match="outside"):
        fetch([package(data)], tmp_path)
    assert list(tmp_path.parent.glob("*.go")) == []


def test_a_release_that_is_gone_is_named(index: dict[str, bytes], tmp_path: Path) -> None:
    offer(index, "some_pkg-2.0.tar.gz", b"")
    with pytest.raises(ValueError, match=r"some_pkg-1\.0\.tar\.gz"):
        fetch([package(b"")], tmp_path)


def test_half_of_the_python_packages_are_newer_than_the_model() -> None:
    assert 2 * sum(p.first > "2024-09" for p in PYTHON) == len(PYTHON)
    assert len({language for p in LANGUAGES for language in p.languages} | {"python"}) >= 6


def test_records_survive_in_their_file(tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    Records(file).put("ours a", {"shown": True})
    again = Records(file)
    assert "ours a" in again
    assert "raw a" not in again
    assert again["ours a"] == {"shown": True}


def test_similarity_is_one_for_the_same_and_zero_for_nothing() -> None:
    assert similarity("return a", "return a") == 1
    assert similarity("", "return a") == 0
