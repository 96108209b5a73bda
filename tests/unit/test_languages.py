"""The languages as data: complete, without contradictions, found by id and by file name."""

from __future__ import annotations

from collections import Counter

import pytest

from qwencoder_lsp.core.languages import LANGUAGES, language, language_of
from qwencoder_lsp.grammars import GRAMMARS


def test_all_92_languages_of_the_models_are_there_once() -> None:
    assert len({row.name for row in LANGUAGES}) == len(LANGUAGES) == 92


def test_no_id_and_no_file_belongs_to_two_languages() -> None:
    for column in ("ids", "files"):
        counts = Counter(value for row in LANGUAGES for value in getattr(row, column))
        assert [value for value, n in counts.items() if n > 1] == []


def test_every_language_with_a_grammar_is_one_of_them() -> None:
    assert [id_ for id_ in GRAMMARS if language(id_) is None] == []


@pytest.mark.parametrize(
    ("name", "id_"),
    [
        ("a.py", "python"),
        ("src/App.TSX", "typescriptreact"),
        ("a.jsx", "javascriptreact"),
        ("Makefile", "makefile"),
        ("CMakeLists.txt", "cmake"),
        ("a.R", "r"),
        ("a.S", "asm"),
        ("x.toml", "toml"),
        ("LICENSE", "plaintext"),
    ],
)
def test_a_file_is_known_by_its_name(name: str, id_: str) -> None:
    assert language_of(name) == id_


def test_comments_are_known_by_any_id() -> None:
    for id_ in ("shellscript", "bash", "zsh"):
        found = language(id_)
        assert found is not None
        assert found.line == ("#",)
