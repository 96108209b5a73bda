import pytest

from qwencoder_lsp.postprocess.fences import code_block


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("Here:\n```python\nx = 1\n```\nDone.", "x = 1\n"),
        ("~~~\nx\n~~~\n", "x\n"),
        ("````md\n```\nx\n```\n````\n", "```\nx\n```\n"),
        ("   ```c++ title=a\nx\n   ```", "x\n"),
        ("```python\r\nx = 1\r\n```\r\n", "x = 1\r\n"),
        ("```\n```", ""),
        ("```python\nx = 1", "x = 1\n"),
        ("```\na\n```\nand the whole:\n```\na\nb\n```\n", "a\nb\n"),
        ('```python\n"""\n```js\nf()\n```\n"""\nx = 1\n```\n', '"""\n```js\nf()\n```\n"""\nx = 1\n'),
        ("```python\n    x = 1\n```", "    x = 1\n"),
        ("```\n~~~\n```", "~~~\n"),
    ],
)
def test_the_block_comes_out_as_it_stands(answer: str, code: str) -> None:
    assert code_block(answer) == code


@pytest.mark.parametrize("answer", ["", "x = 1", "`x`", "    ```\n    x\n    ```", "say ```x``` here", "```x``` here\n"])
def test_text_without_a_fence_is_no_code(answer: str) -> None:
    assert code_block(answer) is None
