from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwencoder_lsp.context.outline import LEAST_CHUNK, MOST_CHUNK, Symbol, chunks, outline
from qwencoder_lsp.context.queries import QUERIES
from qwencoder_lsp.grammars import GRAMMARS

PYTHON = '''import os
from a import b

LIMIT = 3
if LIMIT:
    DEEP = 1


@cache
def area(width: int,
         height: int) -> int:
    """The area.

    More."""
    local = width
    return local * height


class Box(Base):
    sides = 4

    async def open(self): ...
'''


def test_python_definitions_have_place_signature_and_docstring() -> None:
    found = outline(PYTHON, "python")
    assert found.imports == ("import os", "from a import b")
    assert [(s.name, s.kind, s.container) for s in found.symbols] == [
        ("LIMIT", "variable", ""),
        ("DEEP", "variable", ""),
        ("area", "function", ""),
        ("Box", "class", ""),
        ("sides", "field", "Box"),
        ("open", "method", "Box"),
    ]
    area = found.symbols[2]
    assert (area.line, area.end) == (8, 16)
    assert (area.signature, area.doc) == ("def area(width: int, height: int) -> int:", "The area.")


@pytest.mark.parametrize(
    ("language", "text", "names"),
    [
        (
            "javascript",
            "/** Adds. */\nexport function add(a, b) { const x = 1; return a }\nclass A { #p = 1; m() {} }\nconst f = () => 1, g = 2;\n",
            "add A #p m f g",
        ),
        (
            "typescript",
            "interface I { a: string; m(): void }\ntype T = I;\nenum E { X, Y = 2 }\nnamespace N { export const c = 1 }\n",
            "I a m T E X Y N c",
        ),
        ("typescriptreact", "export const App = () => <div/>;\nabstract class B { abstract q(): void }\n", "App B q"),
        (
            "go",
            "package p\ntype S struct { F int }\nfunc (s *S) M() {}\nfunc F2() { var x = 1 }\nconst C = 1\nvar V = 2\ntype I interface { Do() }\n",
            "S F M F2 C V I Do",
        ),
        (
            "rust",
            "pub struct P { x: i32 }\nimpl P { fn new() -> P { todo!() } }\nenum E { A }\ntrait T { fn t(&self); }\nmacro_rules! m { () => {} }\n",
            "P x new E A T t m",
        ),
        ("java", "class A { int f; A() {} void m() { int x; } enum E { ONE } }\nrecord R(int a) {}\n", "A f A m E ONE R"),
        (
            "c",
            "#define N 1\nstruct s { int a; char *b; };\ntypedef int (*fn)(void);\nint *f(void) { int x; return 0; }\nstatic int g;\nint h(int);\n",
            "N s a b fn f g h",
        ),
        ("cpp", "namespace n { class A { public: void m(); int f_; }; }\nvoid n::A::m() {}\ntemplate <class T> struct B {};\n", "n A m f_ m B"),
        ("c", "// a header\nnamespace n {\nclass A { void m(); };\n}\n", "n A m"),
        ("csharp", "namespace N { class A { int f; public int P { get; set; } void M() {} } interface I {} }\n", "N A f P M I"),
        ("ruby", "module M\n  class A\n    X = 1\n    def m; end\n    def self.s; end\n  end\nend\n", "M A X m s"),
        ("php", "<?php\nnamespace N;\nclass A { const C = 1; public $p; function m() {} }\nfunction f() {}\n", "N A C p m f"),
        ("shellscript", "X=1\nf() { local y; }\nexport Z=2\n", "X f Z"),
    ],
)  # fmt: skip
def test_each_language_gives_its_definitions_but_not_the_local_ones(language: str, text: str, names: str) -> None:
    assert [s.name for s in outline(text, language).symbols] == names.split()


def test_the_comment_in_front_of_a_definition_is_its_documentation() -> None:
    assert outline("/**\n * Adds two.\n */\nexport function add(a, b) { return a + b }\n", "javascript").symbols[0].doc == "Adds two."


def test_every_language_with_a_query_has_a_grammar() -> None:
    assert QUERIES.keys() <= GRAMMARS.keys()


def test_a_language_without_a_grammar_has_no_outline() -> None:
    assert outline("x = 1", "plaintext").symbols == ()


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(1, 100), st.booleans()), max_size=30), st.integers(0, 500))
def test_chunks_cover_every_line_once_and_are_not_too_long(defs: list[tuple[int, int, bool]], count: int) -> None:
    symbols = tuple(Symbol("n", "function", "C" if inner else "", at, at + n, "") for at, n, inner in defs if at < count)
    found = chunks(count, symbols)
    assert [line for a, b in found for line in range(a, b)] == list(range(count))
    assert all(b - a <= MOST_CHUNK + LEAST_CHUNK for a, b in found)
