"""What a model writes is shown without loading anything."""

import pytest

from qwencoder_lsp.postprocess.markdown import JOINER, inert


@pytest.mark.parametrize(
    "text",
    [
        "![x](https://evil.example/?q=code)",
        "\\\\![x](https://evil.example/?q=code)",
        "![a [b] c](https://evil.example/)",
        "![two\nlines](https://evil.example/)",
        "a `b\nc` ![x](https://evil.example/) `d`",
        "- a\n   ```\n![x](https://evil.example/)",
        "``` not `a fence\n![x](https://evil.example/)",
        "```\ncode\n```\n![x](https://evil.example/)",
        "~~~~\ncode\n~~~~~\n![x](https://evil.example/)",
        "![x][y]\n\n[y]: https://evil.example/",
        "![x]\n\n[x]: https://evil.example/",
        "`vec![1]`, https://evil.example/",
    ],
)
def test_an_image_becomes_text(text: str) -> None:
    shown = inert(text)
    assert "![" not in shown
    assert "https://evil.example/" in shown


TAGS = ['<img src="https://evil.example/">', "<p style='background:url(//e)'>", "<IMG\nsrc=//e>", "<style>", "<svg/onload=x>"]


@pytest.mark.parametrize("tag", TAGS)
def test_html_that_could_load_something_becomes_text(tag: str) -> None:
    shown = inert(f"a {tag} b")
    assert tag not in shown
    assert shown.replace(JOINER, "") == f"a {tag} b"


@pytest.mark.parametrize(
    "text",
    [
        "It returns a `Vec<T>` of `Map<K, V>`; see [the book](https://doc.rust-lang.org).",
        "```rust\nlet a = vec![f](x);\n```\nDone.",
        "~~~html\n<img src='a.png'>\n~~~\n",
        "If a < b and c > d = e, stop!",
    ],
)
def test_code_and_ordinary_words_stay(text: str) -> None:
    assert inert(text) == text
