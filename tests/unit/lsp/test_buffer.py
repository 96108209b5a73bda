from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwencoder_lsp.lsp import buffer as module
from qwencoder_lsp.lsp.buffer import Buffer

LINE_END = re.compile("\r\n|\r|\n")
TEXT = st.text(st.sampled_from("ab\n\r\t é😀\u2028\x0c"), max_size=60)
ENCODING = st.sampled_from(["utf-8", "utf-16", "utf-32"])


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of a few characters, so that short texts cross many block borders."""
    monkeypatch.setattr(module, "BLOCK", 4)


def encoded_length(text: str, encoding: str) -> int:
    return {"utf-8": len(text.encode()), "utf-16": len(text.encode("utf-16-le")) // 2, "utf-32": len(text)}[encoding]


def plain_position(text: str, offset: int, encoding: str) -> tuple[int, int]:
    """The same by the definition: cut the whole text at its line ends."""
    ends = [m for m in LINE_END.finditer(text) if m.end() <= offset]
    start = ends[-1].end() if ends else 0
    if text[offset - 1 : offset + 1] == "\r\n":
        offset -= 1
    return len(ends), encoded_length(text[start:offset], encoding)


@given(TEXT, st.lists(st.tuples(st.integers(0, 80), st.integers(0, 80), TEXT), max_size=8))
@settings(max_examples=300)
def test_edits_give_the_same_text_as_string_slicing(text: str, edits: list[tuple[int, int, str]]) -> None:
    buffer = Buffer(text)
    for a, b, new in edits:
        start, end = sorted((min(a, len(text)), min(b, len(text))))
        text = text[:start] + new + text[end:]
        buffer.replace(start, end, new)
        assert len(buffer) == len(text)
        assert buffer.slice(0, len(text)) == text
    assert buffer.text == text


@given(TEXT, st.lists(st.tuples(st.integers(0, 80), st.integers(0, 80), TEXT), max_size=4), ENCODING)
@settings(max_examples=300)
def test_positions_after_edits_are_those_of_the_whole_text(text: str, edits: list[tuple[int, int, str]], encoding: str) -> None:
    buffer = Buffer(text)
    for a, b, new in edits:
        start, end = sorted((min(a, len(text)), min(b, len(text))))
        text = text[:start] + new + text[end:]
        buffer.replace(start, end, new)
        line, column = buffer.position(min(a, len(text)), encoding)  # the buffer remembers places from before an edit
        assert (line, column) == plain_position(text, min(a, len(text)), encoding)
    for offset in range(len(text) + 1):
        line, column = buffer.position(offset, encoding)
        assert (line, column) == plain_position(text, offset, encoding)
        back = offset - 1 if text[offset - 1 : offset + 1] == "\r\n" and offset else offset
        assert buffer.offset(line, column, encoding) == back


@given(TEXT, st.integers(-2, 80), st.integers(-2, 80), ENCODING)
def test_any_place_is_clamped_into_the_text(text: str, line: int, column: int, encoding: str) -> None:
    offset = Buffer(text).offset(line, column, encoding)
    assert 0 <= offset <= len(text)
    lines = LINE_END.split(text)
    if 0 <= line < len(lines) and column > encoded_length(lines[line], encoding):
        assert Buffer(text).line_span(offset)[1] == offset


def test_typing_in_one_place_does_not_make_blocks_many() -> None:
    buffer = Buffer("x" * 400)
    before = len(buffer._blocks)
    for at in range(200):
        buffer.replace(100 + at, 100 + at, "y")
    assert len(buffer._blocks) <= before * 2


def test_emptying_the_text_leaves_a_usable_buffer() -> None:
    buffer = Buffer("some\ntext")
    buffer.replace(0, 9, "")
    assert (buffer.text, len(buffer), buffer.position(5, "utf-16")) == ("", 0, (0, 0))
    buffer.replace(0, 0, "new")
    assert buffer.text == "new"


@pytest.mark.parametrize(("encoding", "column"), [("utf-8", 7), ("utf-16", 5), ("utf-32", 4)])
def test_a_column_behind_an_emoji_counts_its_code_units(encoding: str, column: int) -> None:
    text = 'é\nx="😋"'
    assert Buffer(text).offset(1, column, encoding) == text.index("😋") + 1
    assert Buffer(text).position(text.index("😋") + 1, encoding) == (1, column)


@pytest.mark.parametrize(("encoding", "column"), [("utf-8", 2), ("utf-8", 3), ("utf-16", 1)])
def test_a_column_inside_a_character_is_the_place_before_it(encoding: str, column: int) -> None:
    assert Buffer("😋x").offset(0, column, encoding) == 0


def test_form_feeds_and_unicode_separators_do_not_end_a_line() -> None:
    assert Buffer("a\x0cb\u2028c\x85d\ne").position(7, "utf-32") == (0, 7)


def test_a_byte_order_mark_is_a_character_of_the_first_line() -> None:
    assert Buffer("\ufeffab").offset(0, 2, "utf-16") == 2


def test_a_lone_surrogate_is_replaced_and_moves_no_column() -> None:
    buffer = Buffer("a\ud83db")
    assert buffer.text == "a\ufffdb"
    buffer.replace(0, 0, "\ude00")
    assert buffer.offset(0, 3, "utf-16") == 3
    assert buffer.text.encode()


def test_the_span_of_a_line_leaves_its_line_end_out() -> None:
    assert Buffer("ab\r\ncd\r\n").line_span(5) == (4, 6)
