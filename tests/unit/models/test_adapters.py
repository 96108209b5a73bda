"""Installed LoRA adapters, and their names with scales."""

from __future__ import annotations

from pathlib import Path

import pytest

from qwencoder_lsp import paths
from qwencoder_lsp.errors import ModelCorrupt, ModelError, ModelMissing, ModelUnknown, RequestError
from qwencoder_lsp.models import adapters


@pytest.fixture
def file(home: Path) -> Path:
    home.mkdir(parents=True, exist_ok=True)
    path = home / "style.gguf"
    path.write_bytes(b"GGUF" + bytes(100))
    return path


def test_an_added_adapter_is_listed_found_and_removed(file: Path) -> None:
    adapters.add(file)
    adapters.add(file, "other.v2")
    assert [a.name for a in adapters.installed()] == ["other.v2", "style"]
    assert adapters.resolve("style").path == paths.adapters_dir() / "style.gguf"
    assert adapters.remove("style").name == "style"
    assert [a.name for a in adapters.installed()] == ["other.v2"]


def test_adding_one_of_the_same_name_replaces_it(file: Path) -> None:
    adapters.add(file)
    file.write_bytes(b"GGUF" + bytes(7))
    assert adapters.add(file).size == 11
    assert adapters.find("style").size == 11


def test_an_unknown_name_says_which_there_are(file: Path) -> None:
    with pytest.raises(ModelUnknown, match=r"None is installed.*adapters add FILE"):
        adapters.find("style")
    adapters.add(file)
    with pytest.raises(ModelUnknown, match="Installed: style"):
        adapters.remove("styel")
    with pytest.raises(ModelMissing, match="no adapter file"):
        adapters.resolve(str(file.with_name("gone.gguf")))


@pytest.mark.parametrize("name", ["../up", "a/b", ".hidden", "two words", "x" * 101])
def test_a_name_that_could_be_another_place_is_refused(file: Path, name: str) -> None:
    with pytest.raises(RequestError, match="cannot be the name"):
        adapters.add(file, name)
    assert not paths.adapters_dir().exists()


def test_what_is_no_gguf_file_or_not_there_is_refused_and_nothing_is_left(file: Path) -> None:
    text = file.with_name("notes.gguf")
    text.write_text("hello")
    with pytest.raises(ModelCorrupt, match="convert_lora_to_gguf"):
        adapters.add(text)
    with pytest.raises(ModelError, match="No such file"):
        adapters.add(file.with_name("gone.gguf"))
    assert adapters.installed() == ()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("style", ("style", 1.0)),
        ("style:0.5", ("style", 0.5)),
        ("C:\\a.gguf", ("C:\\a.gguf", 1.0)),
        ("/a/b.gguf:-2", ("/a/b.gguf", -2.0)),
        ("", ("", 1.0)),
    ],
)
def test_a_name_may_have_a_scale(value: str, expected: tuple[str, float]) -> None:
    assert adapters.parse(value) == expected


@pytest.mark.parametrize("scale", ["nan", "inf", "1e9"])
def test_a_scale_must_be_an_ordinary_number(scale: str) -> None:
    with pytest.raises(RequestError, match="no scale"):
        adapters.parse(f"style:{scale}")
