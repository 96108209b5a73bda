import pytest

from qwencoder_lsp.core.text import Span
from qwencoder_lsp.grammars import GRAMMARS
from qwencoder_lsp.postprocess.syntax import FUNCTIONS, enclosing, first_error, parse_errors, same_code, statements

GOOD = {
    "python": "def f(x):\n    return x\n",
    "javascript": "function f(x) {\n  return x;\n}\n",
    "javascriptreact": "function F() {\n  return <b>hi</b>;\n}\n",
    "typescript": "function f(x: number): number {\n  return x;\n}\n",
    "typescriptreact": "function F(p: P) {\n  return <b>{p.x}</b>;\n}\n",
    "go": "package a\n\nfunc f(x int) int {\n\treturn x\n}\n",
    "rust": "fn f(x: i32) -> i32 {\n    x + 1\n}\n",
    "java": "class A {\n  int f(int x) {\n    return x;\n  }\n}\n",
    "c": "int f(int x) {\n  return x;\n}\n",
    "cpp": "int f(auto x) {\n  return x;\n}\n",
    "csharp": "class A {\n  int f(int x) {\n    return x;\n  }\n}\n",
    "ruby": "def f(x)\n  return x\nend\n",
    "php": "<?php\nfunction f($x) {\n  return $x;\n}\n",
    "shellscript": "f() {\n  return 1\n}\n",
}
OTHERS = {  # without functions and statements
    "html": ("<p>hi</p>\n", "<p><\n"),
    "css": ("a { color: red; }\n", "a { color: }} ;\n"),
    "sql": ("SELECT a FROM b WHERE c = 1;\n", "SELECT (a FROM b;\n"),
    "yaml": ("a:\n  - b\n", "a: [b\n"),
    "markdown": ("# a\n\nb\n", ""),
}


def test_every_grammar_has_an_example() -> None:
    assert {*GOOD, *OTHERS} == set(GRAMMARS)


@pytest.mark.parametrize("language", OTHERS)
def test_documents_of_other_kinds_are_parsed_too(language: str) -> None:
    good, broken = OTHERS[language]
    assert parse_errors(good, language) == 0
    assert (parse_errors(broken, language) or 0) > 0 or language == "markdown"  # where everything is a text


@pytest.mark.parametrize("language", GOOD)
def test_good_code_has_no_errors_and_broken_code_has(language: str) -> None:
    good = GOOD[language]
    assert parse_errors(good, language) == 0
    assert first_error(good, language) is None
    broken = good.replace("(x", "((x", 1) if "(x" in good else good.replace("(", "((", 1)
    assert (parse_errors(broken, language) or 0) > 0
    assert (first_error(broken, language) or "").startswith("line ")


@pytest.mark.parametrize("language", GOOD)
def test_a_function_encloses_its_body(language: str) -> None:
    good = GOOD[language]
    offset = good.index("x + 1" if language == "rust" else "return")
    span = enclosing(good, language, offset, FUNCTIONS)
    assert span is not None
    body = span.of(good)
    assert "(" in body.splitlines()[0]
    assert body.endswith({"python": "return x", "ruby": "end"}.get(language, "}"))


@pytest.mark.parametrize("language", [language for language in GOOD if language not in ("rust", "shellscript")])
def test_a_return_is_a_statement(language: str) -> None:
    good = GOOD[language]
    span = enclosing(good, language, good.index("return") + 2, statements(language))
    assert span is not None
    assert span.of(good).startswith("return")


def test_a_language_without_a_grammar_is_unknown_not_correct() -> None:
    assert parse_errors("((", "cobol") is None
    assert first_error("((", "cobol") is None
    assert enclosing("x", "cobol", 0, FUNCTIONS) is None
    assert statements("cobol") == frozenset()


def test_python_errors_that_only_the_compiler_sees_are_counted() -> None:
    assert parse_errors("f(a=1, a=2)\n", "python") == 1
    assert first_error("x = 1\nf(a=1, a=2)\n", "python") == "line 2: keyword argument repeated: a"


def test_invalid_escapes_and_nul_and_surrogates_are_no_accident() -> None:
    assert parse_errors('x = "\\d"\n', "python") == 0
    assert (parse_errors("x = 1\0\n", "python") or 0) > 0
    assert (parse_errors('x = "\ud800"\n', "python") or 0) > 0


def test_offsets_are_code_points_also_behind_wide_characters() -> None:
    text = "s = 'äöü🙂'\ndef f():\n    return '🙂'\n"
    span = enclosing(text, "python", text.index("return"), FUNCTIONS)
    assert span == Span(text.index("def"), len(text) - 1)


def test_min_lines_passes_over_functions_on_one_line() -> None:
    text = "function g(a) {\n  return a.map(x => x.id);\n}\n"
    offset = text.index("x.id")
    inner = enclosing(text, "javascript", offset, FUNCTIONS)
    outer = enclosing(text, "javascript", offset, FUNCTIONS, min_lines=2)
    assert inner is not None
    assert inner.of(text) == "x => x.id"
    assert outer is not None
    assert outer.of(text).startswith("function g")


@pytest.mark.parametrize(
    ("a", "b", "language", "same"),
    [
        ("x = [1,2]\n", "x = [1, 2]  # two\n", "python", True),
        ("if a:\n    b()\n    c()\n", "if a:\n    b()\nc()\n", "python", False),
        ("x = 'a'\n", 'x = "a"\n', "python", True),
        ('x = "\\d"\n', 'x = "\\d" \n', "python", True),
        ("f( a );\n", "f(a); // call\n", "javascript", True),
        ("f(a);\n", "f(b);\n", "javascript", False),
        ("if a: b(\n", "if a:  b(\n", "python", True),
        ("if a:\n    b()\n    c(\n", "if a:\n    b()\nc(\n", "python", False),
        ("a  \n\nb\n", "a\nb\n", "cobol", True),
        ("a b\n", "ab\n", "cobol", False),
    ],
)
def test_same_code_sees_past_blanks_and_comments_only(a: str, b: str, language: str, same: bool) -> None:
    assert same_code(a, b, language) is same
