import pytest

from qwencoder_lsp.core.text import apply_edits
from qwencoder_lsp.postprocess.documentation import convention, documentation, documented, example
from qwencoder_lsp.postprocess.functions import functions


def with_words(text: str, language: str, name: str, answer: str) -> str | None:
    function = next(f for f in functions(text, language) if f.name == name)
    words = documentation(answer, language, name)
    assert words
    edit = documented(text, function, words, language, "\r\n" if "\r\n" in text else "\n")
    return apply_edits(text, [edit]) if edit else None


@pytest.mark.parametrize(
    ("language", "text", "answer", "after"),
    [
        (
            "python",
            "class A:\n    def f(self,\n          y):\n        return y\n",
            'def f(self, y):\n    """Return y.\n\n    Args:\n        y: any.\n    """\n    return 42\n',
            'class A:\n    def f(self,\n          y):\n        """Return y.\n\n        Args:\n            y: any.\n        """\n        return y\n',
        ),
        ("python", "def f(y):\n    'old'\n    return y", 'def f(y):\n    """New."""\n    return y', 'def f(y):\n    """New."""\n    return y'),
        ("python", "def f():\n\tpass\n", 'def f():\n    r"""A \\d."""\n', 'def f():\n\t"""A \\\\d."""\n\tpass\n'),
        (
            "java",
            "class A {\n    @Override\n    int f() { return 1; }\n}\n",
            "/**\n * Gives 1.\n */\n@Override\nint f() { return 2; }\n",
            "class A {\n    /**\n     * Gives 1.\n     */\n    @Override\n    int f() { return 1; }\n}\n",
        ),
        (
            "go",
            "package p\n\n// old\nfunc f() int { return 1 }\n",
            "// f gives 1.\nfunc f() int { return 2 }\n",
            "package p\n\n// f gives 1.\nfunc f() int { return 1 }\n",
        ),
        (
            "rust",
            "#[inline]\nfn f() -> i32 { 1 }\n",
            "/// Gives 1.\n#[inline]\nfn f() -> i32 { 2 }\n",
            "#[inline]\n/// Gives 1.\nfn f() -> i32 { 1 }\n",
        ),
        (
            "typescript",
            "// keep me\nexport const f = (a: number) => a\n",
            "/**\n * Gives a.\n */\nexport const f = (a) => 0\n",
            "// keep me\n/**\n * Gives a.\n */\nexport const f = (a: number) => a\n",
        ),
        (
            "c",
            "/**\n * Old.\n */\nint f(void) { return 1; }\n",
            "/** New. */\nint f(void) { return 2; }\n",
            "/** New. */\nint f(void) { return 1; }\n",
        ),
    ],
)
def test_the_words_are_placed_and_the_code_stays(language: str, text: str, answer: str, after: str) -> None:
    for newline in ("\n", "\r\n"):
        assert with_words(text.replace("\n", newline), language, "f", answer) == after.replace("\n", newline)


def test_a_body_on_the_line_of_its_head_has_no_place_for_a_docstring() -> None:
    assert with_words("def f(): return 1\n", "python", "f", 'def f():\n    """Doc."""\n') is None


@pytest.mark.parametrize("answer", ["", "def f():\n    return 1\n", "def g():\n    '''Doc.'''\n", "def f(:\n"])
def test_an_answer_without_documentation_has_none(answer: str) -> None:
    assert documentation(answer, "python", "f") is None
    assert documentation("int f() {}\n", "java", "f") is None


def test_the_convention_of_the_file_is_told_by_its_docstrings() -> None:
    assert convention('def f():\n    """D.\n\n    Args:\n        a: b\n    """\n', "python") == "a docstring in Google's style"
    assert convention('def f():\n    """D.\n\n    Parameters\n    ----------\n    """\n', "python") == "a docstring in NumPy's style"
    assert convention('def f():\n    """D.\n\n    :param a: b\n    """\n', "python") == "a docstring in Sphinx's style (`:param name:`)"
    assert convention("x = 1\n", "python") == "a docstring"
    assert "JSDoc" in convention("", "javascript")


def test_the_example_is_another_documented_function_with_its_comment() -> None:
    text = "package p\n\n// A is one.\nfunc A() int { return 1 }\n\nfunc b() int { return 2 }\n"
    a, b = functions(text, "go")
    assert example(text, "go", b) == "// A is one.\nfunc A() int { return 1 }"
    assert example(text, "go", a) == ""
