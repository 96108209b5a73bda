"""What counts as installed, and what a name or a path resolves to."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from qwencoder_lsp.errors import ModelCorrupt, ModelError, ModelMissing, ModelUnknown
from qwencoder_lsp.models import store
from qwencoder_lsp.models.catalogue import find, load_catalogue


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
    assert (row.name, row.bytes, row.roles, row.licence) == ("tiny", len(tiny.content), ("chat", "completion"), "CC0-1.0")


def test_the_table_of_the_shipped_catalogue_has_every_model(home: Path) -> None:
    assert [row.name for row in store.table()] == [entry.name for entry in load_catalogue()]
    assert {row.state for row in store.table()} == {"missing"}


def test_files_lie_in_the_models_directory_under_their_official_names(home: Path) -> None:
    assert store.path_of(find("qwencoder-0.5b")) == home / "data" / "models" / "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf"
