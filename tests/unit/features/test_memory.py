"""Answers that fit again, and those that must not."""

from __future__ import annotations

import pytest

from qwencoder_lsp.features.anchor import BEFORE, Anchor
from qwencoder_lsp.features.ask import Answer
from qwencoder_lsp.features.memory import KEPT, Memory, Remembered

URI = "file:///a.py"
HEAD, TAIL = "def area(width, height):\n    return ", "\n\n\nprint(area(1, 2))\n"


def remembered(text: str, head: str = HEAD, tail: str = TAIL) -> Remembered:
    return Remembered(Anchor.at(URI, head + tail, len(head)), Answer(text, "stop_token"))


def rest(memory: Memory, text: str) -> str | None:
    """What is left of a known answer for the cursor at "|"."""
    found = memory.find(URI, text.replace("|", ""), text.index("|"))
    return found[1] if found else None


def memory(*answers: Remembered) -> Memory:
    made = Memory()
    for answer in answers or (remembered("width * height"),):
        made.put(answer)
    return made


@pytest.mark.parametrize("typed", ["", "w", "width", "width * "])
def test_an_answer_is_known_while_its_text_is_typed(typed: str) -> None:
    assert rest(memory(), HEAD + typed + "|" + TAIL) == "width * height".removeprefix(typed)


def test_it_is_not_known_once_something_else_is_typed() -> None:
    assert rest(memory(), HEAD + "h|" + TAIL) is None


def test_behind_its_whole_text_nothing_is_known() -> None:
    assert rest(memory(), HEAD + "width * height|" + TAIL) is None


def test_edits_elsewhere_do_not_matter_above_and_do_below() -> None:
    long = "# line\n" * (BEFORE // 7 + 2) + HEAD
    known = memory(remembered("width * height", long))
    assert rest(known, "import os\n" + long + "wi|" + TAIL) == "dth * height"
    assert rest(known, long + "wi|" + TAIL.replace("1", "3")) is None


@pytest.mark.parametrize("tail", ["", "\n", "\nx = 1\n"])
def test_lines_that_came_below_the_end_of_the_document_matter(tail: str) -> None:
    assert rest(memory(remembered("width", HEAD, tail)), HEAD + "wi|" + tail) == "dth"
    assert rest(memory(remembered("width", HEAD, tail)), HEAD + "wi|" + tail + "\ny = 2\n") is None


def test_a_bracket_that_the_editor_adds_behind_the_cursor_does_not_matter() -> None:
    known = memory(remembered("max(width, height)"))
    assert rest(known, HEAD + "max(|)" + TAIL) == "width, height)"


def test_the_newest_answer_of_a_place_counts() -> None:
    assert rest(memory(remembered("width"), remembered("height")), HEAD + "|" + TAIL) == "height"


def test_another_document_knows_nothing() -> None:
    assert memory().find("file:///b.py", HEAD + TAIL, len(HEAD)) is None


def test_a_closed_document_is_forgotten() -> None:
    made = memory()
    made.forget(URI)
    assert rest(made, HEAD + "|" + TAIL) is None


def test_no_more_than_the_latest_answers_are_kept() -> None:
    made = memory(remembered("old"), *(remembered("new", f"# {i}\n") for i in range(KEPT)))
    assert rest(made, HEAD + "|" + TAIL) is None


def test_windows_line_endings_are_typed_through() -> None:
    head, tail = "def f():\r\n", "\r\nx\r\n"
    known = memory(remembered("    a\n    b", head, tail))
    assert rest(known, head + "    a\r\n|" + tail) == "    b"
