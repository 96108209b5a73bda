"""GGUF files of the user's own, given a name."""

from __future__ import annotations

from pathlib import Path

import pytest

from qwencoder_lsp.errors import ModelCorrupt, ModelError, ModelMissing, RequestError
from qwencoder_lsp.models import own, store
from qwencoder_lsp.models.catalogue import find, user_directory


def gguf(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"GGUF" + bytes(100))
    return path


def test_an_added_file_is_found_by_its_name_and_stays_where_it_is(home: Path) -> None:
    file = gguf(home / "My Model é-7B-Q6_K.gguf")
    entry = own.add(file)
    assert (entry.name, entry.quantisation, entry.title) == ("my-model-7b-q6_k", "Q6_K", "My Model é-7B-Q6_K")
    assert find("my-model-7b-q6_k") == entry
    installed = store.resolve(entry.name)
    assert (installed.path, installed.size) == (file, 104)
    assert installed.has_role("completion")


def test_added_again_it_is_the_same_and_another_file_of_that_name_is_refused(home: Path) -> None:
    first = own.add(gguf(home / "mine.gguf"))
    assert own.add(home / "mine.gguf") == first
    with pytest.raises(RequestError, match=r"another model named mine already.*--name"):
        own.add(gguf(home / "b/mine.gguf"))
    assert own.add(home / "b/mine.gguf", "mine.v2").name == "mine.v2"


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("qwencoder-7b", RequestError, "another model named qwencoder-7b"),
        ("Mine!", RequestError, "cannot be the name"),
        ("../mine", RequestError, "cannot be the name"),
    ],
)
def test_a_name_that_cannot_be_one_or_is_taken_is_refused(home: Path, name: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        own.add(gguf(home / "mine.gguf"), name)
    assert not user_directory().exists()


def test_what_is_no_model_file_is_refused(home: Path) -> None:
    gguf(home / "text.gguf").write_text("text")
    with pytest.raises(ModelCorrupt, match="not a GGUF file"):
        own.add(home / "text.gguf")
    with pytest.raises(ModelMissing, match="There is no model file"):
        own.add(home / "none.gguf")


def test_a_directory_that_cannot_be_written_is_said(home: Path) -> None:
    user_directory().parent.mkdir(parents=True, exist_ok=True)
    user_directory().write_text("a file in its place")
    with pytest.raises(ModelError, match="mine was not added"):
        own.add(gguf(home / "mine.gguf"))


@pytest.mark.parametrize("name", ["a\udcff.gguf", "a\x7fb.gguf"], ids=["no text", "control character"])
def test_a_path_that_toml_cannot_hold_is_refused_and_nothing_is_left(home: Path, name: str) -> None:
    with pytest.raises(RequestError, match="cannot be written into a catalogue file"):
        own.add(gguf(home / name), "mine")
    assert not user_directory().exists()


def test_a_catalogue_file_of_the_users_is_not_overwritten(home: Path) -> None:
    user_directory().mkdir(parents=True)
    (user_directory() / "mine.toml").write_text("damaged")
    with pytest.raises(ModelError, match=r"mine was not added.*is there"):
        own.add(gguf(home / "mine.gguf"))
    assert (user_directory() / "mine.toml").read_text() == "damaged"
