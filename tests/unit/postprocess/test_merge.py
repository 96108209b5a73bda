import pytest

from qwencoder_lsp.core.text import apply_edits
from qwencoder_lsp.postprocess.merge import appended


@pytest.mark.parametrize(
    ("language", "text", "code", "after"),
    [
        ("python", "", "def test_a():\n    assert a\n", "def test_a():\n    assert a\n"),
        (
            "python",
            "import os\nfrom m import a\n\n\ndef test_a():\n    assert a\n",
            "from m import a\nimport pytest\n\n\ndef test_b():\n    assert a\n",
            "import os\nfrom m import a\nimport pytest\n\n\ndef test_a():\n    assert a\n\n\ndef test_b():\n    assert a\n",
        ),
        (
            "typescript",
            "import { a } from './a'\n\ntest('a', () => {})\n",
            "import { a } from './a'\nimport { b } from './b'\n\ntest('b', () => {})\n",
            "import { a } from './a'\nimport { b } from './b'\n\ntest('a', () => {})\n\ntest('b', () => {})\n",
        ),
        (
            "go",
            'package p\n\nimport "testing"\n\nfunc TestA(t *testing.T) {}\n',
            'package p\n\nimport (\n\t"errors"\n\t"testing"\n)\n\nfunc TestB(t *testing.T) {}\n',
            'package p\n\nimport "testing"\nimport "errors"\n\nfunc TestA(t *testing.T) {}\n\nfunc TestB(t *testing.T) {}\n',
        ),
        (
            "rust",
            "fn f() -> i32 { 1 }",
            "#[cfg(test)]\nmod tests {\n    use super::*;\n}\n",
            "fn f() -> i32 { 1 }\n\n#[cfg(test)]\nmod tests {\n    use super::*;\n}\n",
        ),
    ],
)
def test_code_goes_to_the_end_and_only_new_imports_to_the_head(language: str, text: str, code: str, after: str) -> None:
    for newline in ("\n", "\r\n"):
        old = text.replace("\n", newline)
        assert apply_edits(old, appended(old, code, language, newline)) == after.replace("\n", newline)
