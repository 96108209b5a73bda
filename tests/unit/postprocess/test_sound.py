"""An answer is shortened where that leaves fewer syntax errors, and known as unsound where nothing of it fits."""

from __future__ import annotations

import pytest

from qwencoder_lsp.postprocess.sound import soundest
from qwencoder_lsp.postprocess.tree import Trees


def choose(marked: str, text: str, language: str, *, whole: bool = True) -> tuple[str, bool]:
    offset = marked.index("|")
    document = marked[:offset] + marked[offset + 1 :]
    parsed = Trees().parse("a", document, language)
    assert parsed is not None
    at = parsed.byte_at(document, offset)
    return soundest(parsed, at, at, text, whole=whole)


@pytest.mark.parametrize(
    ("marked", "text", "language", "shown"),
    [
        ("x = |\n", "f(1)", "python", "f(1)"),
        ("print(|)\n", "a)", "python", "a"),
        ("foo(|);\n", "a, bar(b)))", "javascript", "a, bar(b)"),
        ("int f() {\n    |\n}\n", "return 1;\n}", "c", "return 1;"),
        ("func f() {\n\tx := |\n}\n", "1\n\ty := 2\n}", "go", "1\n\ty := 2"),
        ("größe = |\n", "f(1)", "python", "f(1)"),
    ],
)
def test_what_closes_too_much_is_cut(marked: str, text: str, language: str, shown: str) -> None:
    assert choose(marked, text, language) == (shown, True)


def test_what_a_limit_cut_ends_where_the_text_is_whole() -> None:
    answer = "const a = 1;\n    if (a) {\n        b("
    assert choose("function f() {\n    |\n}\n", answer, "typescript", whole=False) == ("const a = 1;", True)


def test_nothing_of_it_fits() -> None:
    assert choose("x = [1, |, 2]\n", "for while ((", "python") == ("for while ((", False)


def test_errors_that_were_there_before_do_not_count() -> None:
    assert choose("def (:\n\ny = |\n", "1", "python") == ("1", True)
