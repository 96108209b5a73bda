import pytest

from qwencoder_lsp.core.text import Span
from qwencoder_lsp.postprocess.functions import Function, function_at, functions

SOURCES = {
    "python": '@cache\ndef a(x):\n    """Doc."""\n    return x\n\nclass A:\n    def b(self, y: int = 2) -> int:\n        # TODO\n        return y\n',
    "javascript": "/** Doc. */\nexport function a(x) { return x }\nconst b = (y) => {\n}\n",
    "typescript": "/** Doc. */\nfunction a(x) { return x }\nexport const b = (y: number): number => {\n  throw new Error('not implemented')\n}\n",
    "go": "package p\n\n// Doc.\nfunc a(x int) int { return x }\n\nfunc (r *T) b() {\n}\n",
    "rust": "/// Doc.\nfn a(x: i32) -> i32 { x }\n\nimpl T {\n    fn b(&self) -> i32 { todo!() }\n}\n",
    "java": "class T {\n  /** Doc. */\n  @Override\n  int a(int x) { return x; }\n\n  void b() { }\n}\n",
    "c": "/** Doc. */\nstatic int *a(int x) { return 0; }\n\nvoid b(void) {\n}\n",
    "cpp": "/** Doc. */\ntemplate <class T>\nT a(T x) { return x; }\n\nvoid b() {\n}\n",
}


@pytest.mark.parametrize("language", SOURCES)
def test_functions_are_found_with_what_is_known_of_them(language: str) -> None:
    a, b = functions(SOURCES[language], language)
    assert (a.name, a.documented, a.unfinished) == ("a", True, False)
    assert (b.name, b.documented, b.unfinished) == ("b", False, True)
    assert "a(" in a.span.of(SOURCES[language])
    assert SOURCES[language][: a.span.start].endswith("\n") or a.span.start == 0


@pytest.mark.parametrize(
    ("language", "text", "typed"),
    [
        ("python", "def f(self, a: int, *, b: str = '') -> None:\n    g()\n", True),
        ("python", "def f(a) -> int:\n    return a\n", False),
        ("python", "def f(a: int):\n    return a\n", False),
        ("typescript", "function f(a: number): number { return a }\n", True),
        ("typescript", "function f(a): number { return a }\n", False),
        ("javascript", "function f(a) { return a }\n", True),
    ],
)
def test_what_is_left_to_annotate_is_seen(language: str, text: str, typed: bool) -> None:
    assert [f.typed for f in functions(text, language)] == [typed]


def test_a_place_is_in_the_function_around_it_and_inner_functions_belong_to_the_outer() -> None:
    text = "x = 1\n\ndef f():\n    def g():\n        return 2\n    return g\n"
    at = text.index("return 2")
    found = function_at(text, "python", Span(at, at))
    assert isinstance(found, Function)
    assert found.name == "f"
    assert function_at(text, "python", Span(0, 0)) is None
    assert function_at(text, "cobol", Span(0, 0)) is None


def test_offsets_count_code_points_behind_other_characters() -> None:
    text = "# 😀ü\ndef f():\n    return 'ü'\n"
    assert [f.span.of(text) for f in functions(text, "python")] == ["def f():\n    return 'ü'"]
