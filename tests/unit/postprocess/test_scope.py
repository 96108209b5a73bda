"""Comments, strings and code are told apart at the cursor."""

from __future__ import annotations

import pytest

from qwencoder_lsp.postprocess.scope import Scope, scope_at
from qwencoder_lsp.postprocess.tree import Trees

CODE, STRING, PROSE = Scope.CODE, Scope.STRING, Scope.PROSE
PLACES = [
    ("# foo|\nx = 1", "python", PROSE),
    ("x = 1 # co|\n", "python", PROSE),
    ("# foo\n|x = 1", "python", CODE),
    ("x = 'a|b'", "python", STRING),
    ("x = 'ab'|", "python", CODE),
    ("x = '|", "python", STRING),
    ("x = 'abc|\ny = 2\n", "python", STRING),
    ('def f():\n    """Doc| foo"""\n', "python", PROSE),
    ("x = f'{a|}'", "python", CODE),
    ("x = f'{a}|x'", "python", STRING),
    ("x = '''several\n|lines'''", "python", STRING),
    ("x = `a${b|}`", "javascript", CODE),
    ("x = `a|${b}`", "typescript", STRING),
    ("const a = <p>text|</p>", "typescriptreact", CODE),
    ("// a|\n", "go", PROSE),
    ('x := "a|"\n', "go", STRING),
    ("/* a |*/\nint x;", "c", PROSE),
    ("/* a */|\nint x;", "c", CODE),
    ("#include <std|io.h>", "cpp", STRING),
    ("/// doc|\nfn f() {}", "rust", PROSE),
    ("fn f<'a>(x: &'a str) -> |", "rust", CODE),
    ("class A { /** d| */ int x; }", "java", PROSE),
    ('var s = $"a{b|}";', "csharp", CODE),
    ("puts 'a|'", "ruby", STRING),
    ("# a|\nputs 1", "ruby", PROSE),
    ("<?php\n// a|\n", "php", PROSE),
    ('echo "a$(b|)"', "shellscript", CODE),
    ('echo "a|b"', "shellscript", STRING),
    ("<!-- a| --><p></p>", "html", PROSE),
    ("a { /* b| */ }", "css", PROSE),
    ("-- foo|\nselect 1", "sql", PROSE),
    ("a: b # c|", "yaml", PROSE),
    ("text | more", "markdown", CODE),
    ("x = 5 -- foo|", "lua", PROSE),
    ("let x = (* a| *) 1", "ocaml", PROSE),
    ("f x' = |", "haskell", CODE),
    ('s = "a\\"|"', "lua", STRING),
    ("anything |", "plaintext", CODE),
]


@pytest.mark.parametrize(("marked", "language", "scope"), PLACES)
def test_the_scope_of_a_place(marked: str, language: str, scope: Scope) -> None:
    offset = marked.index("|")
    text = marked[:offset] + marked[offset + 1 :]
    assert scope_at(text, offset, language, Trees().parse("a", text, language)) is scope


def test_without_a_tree_the_line_decides() -> None:
    assert scope_at("x = 1  # why", 12, "python", None) is PROSE
    assert scope_at("x = 'ab", 6, "python", None) is STRING
    assert scope_at("x = 1", 5, "python", None) is CODE
