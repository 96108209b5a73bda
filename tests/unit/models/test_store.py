"""What counts as installed, and what a name or a path resolves to."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import filelock
import pytest

from qwencoder_lsp.errors import DownloadError, ModelCorrupt, ModelError, ModelMissing, ModelUnknown
from qwencoder_lsp.models import store
from qwencoder_lsp.models.catalogue import ModelFile, find, load_catalogue
from qwencoder_lsp.models.store import InstalledModel


@pytest.fixture
def target(home: Path) -> Path:
    path = home / "data" / "models" / "tiny.gguf"
    path.parent.mkdir(parents=True)
    return path


def test_a_sound_file_resolves_by_name(target: Path, tiny: Any) -> None:
    target.write_bytes(tiny.content)
    model = store.resolve("tiny", [tiny.entry])
    assert (model.name, model.path, model.size, model.entry) == ("tiny", target, len(tiny.content), tiny.entry)
    assert store.installed([tiny.entry]) == (model,)
    assert model.has_role("chat")


def test_a_missing_model_says_the_exact_command(home: Path) -> None:
    with pytest.raises(ModelMissing) as caught:
        store.resolve("qwencoder-1.5b")
    assert caught.value.hint == "Run: qwencoder-lsp models pull qwencoder-1.5b"
    assert store.installed() == ()


def test_an_unknown_name_is_unknown_not_missing(home: Path) -> None:
    with pytest.raises(ModelUnknown, match=r"qwencoder-0\.5b"):
        store.resolve("qwencoder-0.6b")


@pytest.mark.parametrize(
    ("content", "complaint"), [(lambda right: right[:-1], "bytes instead of"), (lambda right: b"HTML" + right[4:], "not a GGUF file")]
)
def test_a_damaged_model_is_corrupt_and_not_installed(target: Path, tiny: Any, content: Any, complaint: str) -> None:
    target.write_bytes(content(tiny.content))
    with pytest.raises(ModelCorrupt, match=complaint):
        store.resolve("tiny", [tiny.entry])
    assert store.installed([tiny.entry]) == ()


def test_a_path_resolves_to_any_gguf_file_outside_the_catalogue(tmp_path: Path) -> None:
    path = tmp_path / "my-model.Q8_0.gguf"
    path.write_bytes(b"GGUF and more")
    model = store.resolve(str(path))
    assert (model.name, model.path, model.size, model.entry) == ("my-model.Q8_0", path, 13, None)
    assert not model.has_role("completion")


def test_a_path_may_start_at_the_home_directory_or_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert store.resolve("~/m.gguf").path == tmp_path / "m.gguf"
    assert store.resolve("m.gguf").path == tmp_path / "m.gguf"


def test_a_path_to_nothing_is_missing_and_to_another_kind_of_file_is_corrupt(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match="nothing"):
        store.resolve(str(tmp_path / "nothing"))
    (tmp_path / "page.gguf").write_text("<html>")
    with pytest.raises(ModelCorrupt, match="not a GGUF file"):
        store.resolve(str(tmp_path / "page.gguf"))
    with pytest.raises(ModelError, match="cannot be read"):
        store.resolve(f"{tmp_path}{os.sep}")


def test_the_table_shows_every_model_with_its_state(target: Path, tiny: Any) -> None:
    states = []
    for content in (None, tiny.content, tiny.content[:-1]):
        if content is not None:
            target.write_bytes(content)
        (row,) = store.table([tiny.entry])
        states.append(row.state)
    assert states == ["missing", "installed", "damaged"]
    assert (row.name, row.bytes, row.roles, row.licence) == ("tiny", len(tiny.content), ("chat", "completion"), "Apache-2.0")


def test_an_unfinished_download_shows_as_partial_and_takes_disk_space(target: Path, tiny: Any) -> None:
    target.with_name(f"tiny.gguf.{tiny.entry.files[0].sha256[:16]}.partial").write_bytes(b"GGUF12")
    (row,) = store.table([tiny.entry])
    assert (row.state, row.disk) == ("partial", 6)
    assert store.verify(tiny.entry, lambda done: None) == "partial"


def test_removing_frees_the_file_its_receipt_and_unfinished_parts(target: Path, tiny: Any) -> None:
    target.write_bytes(tiny.content)
    store.write_receipt(target, store.Receipt(len(tiny.content), tiny.entry.files[0].sha256, "a test"))
    target.with_name("tiny.gguf.00.partial").write_bytes(b"GGUF12")
    target.with_name("other.gguf").write_bytes(b"GGUF")
    assert store.remove(tiny.entry) > len(tiny.content) + 6
    assert [path.name for path in target.parent.iterdir()] == ["other.gguf"]
    with pytest.raises(ModelMissing, match="not installed"):
        store.remove(tiny.entry)


def test_a_file_of_the_users_own_is_never_removed(home: Path, tmp_path: Path, tiny: Any) -> None:
    own = tmp_path / "own.gguf"
    own.write_bytes(b"GGUF and more")
    entry = replace(tiny.entry, files=(ModelFile("own.gguf", path=str(own)),))
    (row,) = store.table([entry])
    assert (row.state, row.bytes, row.disk) == ("installed", 13, 0)
    with pytest.raises(ModelMissing, match="your own"):
        store.remove(entry)
    assert own.exists()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"bytes": 1}', '{"bytes": "x", "sha256": "", "source": ""}'])
def test_a_damaged_receipt_counts_as_none(target: Path, content: str, caplog: pytest.LogCaptureFixture) -> None:
    store.receipt_path(target).write_text(content)
    assert store.read_receipt(target) is None
    assert "is ignored" in caplog.text


def test_other_bytes_of_the_right_size_are_found_by_verifying_only(target: Path, tiny: Any) -> None:
    target.write_bytes(tiny.content[:-1] + b"\0")
    assert store.state(tiny.entry) == "installed"
    assert store.verify(tiny.entry, lambda done: None) == "damaged"


def test_nothing_is_pruned_while_a_model_is_fetched(target: Path) -> None:
    with (
        filelock.FileLock(target.with_name("downloads.lock")),
        pytest.raises(DownloadError, match="being fetched"),
        store.nothing_is_fetched(),
    ):
        pass


def test_the_memory_of_a_model_grows_with_the_context(tiny: Any) -> None:
    known = InstalledModel("m", Path("m"), 10**9, replace(tiny.entry, kv_bytes=1000))
    assert known.memory(8192) - known.memory(4096) == 4096 * 1000
    assert InstalledModel("own", Path("m"), 10**9, None).memory(8192) > 10**9


def test_the_table_of_the_shipped_catalogue_has_every_model(home: Path) -> None:
    assert [row.name for row in store.table()] == [entry.name for entry in load_catalogue()]
    assert {row.state for row in store.table()} == {"missing"}


def test_files_lie_in_the_models_directory_under_their_official_names(home: Path) -> None:
    assert store.path_of(find("qwencoder-0.5b")) == home / "data" / "models" / "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf"
