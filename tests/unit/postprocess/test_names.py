import pytest

from qwencoder_lsp.core.text import apply_edits
from qwencoder_lsp.postprocess.names import import_edit, imports_of, undefined_names


def test_names_that_nothing_defines_are_found_in_python_only() -> None:
    code = "import os\n\n\ndef f(a):\n    b = a\n    return os.path, b, math.pi, c, print\n"
    assert undefined_names(code, "python") == {"math", "c"}
    assert undefined_names(code, "javascript") == frozenset()
    assert undefined_names("def f(:\n", "python") == frozenset()


def test_only_the_imports_that_are_wanted_are_taken_one_name_each() -> None:
    code = "import os, math as m\nfrom a.b import c, d as e\nfrom . import f\n\n\ndef g():\n    import sys\n"
    assert imports_of(code, frozenset({"m", "c", "e", "f", "sys"})) == [
        "import math as m", "from a.b import c", "from a.b import d as e", "from . import f",
    ]  # fmt: skip
    assert imports_of("no python (", frozenset({"m"})) == []


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("import os\n\nx = 1\n", "import os\nimport math\n\nx = 1\n"),
        ('"""Doc."""\n\nx = 1\n', '"""Doc."""\n\nimport math\n\nx = 1\n'),
        ("#!/usr/bin/python\n# note\nx = 1\n", "#!/usr/bin/python\n# note\nimport math\n\n\nx = 1\n"),
        ("x = 1\n", "import math\n\n\nx = 1\n"),
        ("from a import (\n    b,\n    c,\n)\nx = 1\n", "from a import (\n    b,\n    c,\n)\nimport math\nx = 1\n"),
        ("import os", "import os\nimport math"),
        ("", "import math\n"),
    ],
)
def test_an_import_goes_behind_the_others(text: str, after: str) -> None:
    for newline in ("\n", "\r\n"):
        edit = import_edit(text.replace("\n", newline), ["import math"], newline)
        assert edit
        assert apply_edits(text.replace("\n", newline), [edit]) == after.replace("\n", newline)


@pytest.mark.parametrize("text", ["def f(:\n", "a = 1\rb = 2\n"])
def test_where_lines_cannot_be_counted_nothing_is_added(text: str) -> None:
    assert import_edit(text, ["import math"], "\n") is None
