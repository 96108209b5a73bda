from __future__ import annotations

import pytest

from qwencoder_lsp.core.results import Suggestion
from qwencoder_lsp.core.text import Edit, Snapshot, Span, apply_edits
from qwencoder_lsp.features.verdicts import PER_DOCUMENT, Verdicts
from tests.unit.features.test_complete import document

URI = document("|")[0].uri


def rejected(marked: str, text: str = "value") -> tuple[Verdicts, Snapshot, int]:
    verdicts, (snapshot, offset) = Verdicts(), document(marked)
    verdicts.reject(snapshot, offset, text)
    assert verdicts.forbid(snapshot, offset, text)
    return verdicts, snapshot, offset


@pytest.mark.parametrize(
    ("start", "end", "new", "still", "moved"),
    [
        (0, 0, "b\n", True, 2),
        (0, 1, "", True, -1),
        (9, 9, "more", True, 0),
        (6, 6, "z", False, 1),
        (7, 8, "", True, 0),
        (6, 7, "", False, 0),
        (1, 3, "\n", False, -1),
        (4, 4, "", True, 0),
    ],
)
def test_an_edit_of_another_line_moves_a_rejection_and_one_of_its_line_ends_it(start: int, end: int, new: str, still: bool, moved: int) -> None:
    verdicts, snapshot, offset = rejected("a\nx = |\nb\n")
    edit = Edit(Span(start, end), new)
    verdicts.edited(URI, edit)
    after = Snapshot(URI, apply_edits(snapshot.text, [edit]))
    assert verdicts.forbid(after, offset + moved, "value") == still


def test_another_text_or_place_is_not_forbidden() -> None:
    verdicts, snapshot, offset = rejected("x = |\n")
    assert not verdicts.forbid(snapshot, offset, "value + 1")
    assert not verdicts.forbid(snapshot, offset - 1, "value")
    assert not verdicts.forbid(Snapshot("file:///other.py", snapshot.text), offset, "value")


def test_a_closed_document_is_forgotten_and_rejections_are_bounded() -> None:
    verdicts, snapshot, offset = rejected("x = |\n", "first")
    for number in range(PER_DOCUMENT):
        verdicts.reject(snapshot, offset, str(number))
    assert not verdicts.forbid(snapshot, offset, "first")
    verdicts.forget(URI)
    assert not verdicts.forbid(snapshot, offset, "0")


@pytest.mark.parametrize(("then", "undone"), [("x = |\n", True), ("x = value|\n", False), ("x = val|\n", False), ("y = |\n", False)])
def test_only_the_text_from_before_an_acceptance_right_behind_it_undoes_it(then: str, undone: bool) -> None:
    verdicts, (snapshot, offset) = Verdicts(), document("x = |\n")
    verdicts.accept(snapshot, offset, Suggestion("id", "value", Span(offset, offset)), "x = value\n")
    assert verdicts.look(document(then)[0]) == undone
    assert verdicts.forbid(snapshot, offset, "value") == undone


def test_an_undo_after_more_typing_is_none() -> None:
    verdicts, (snapshot, offset) = Verdicts(), document("x = |\n")
    verdicts.accept(snapshot, offset, Suggestion("id", "value", Span(offset, offset)), "x = value\n")
    assert not verdicts.look(document("x = value2|\n")[0])
    assert not verdicts.look(snapshot)


def test_an_acceptance_that_the_editor_changed_is_not_followed() -> None:
    verdicts, (snapshot, offset) = Verdicts(), document("x = |\n")
    verdicts.accept(snapshot, offset, Suggestion("id", "value", Span(offset, offset)), "x = value;\n")
    assert not verdicts.look(snapshot)
