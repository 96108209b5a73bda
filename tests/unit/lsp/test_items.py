from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lsprotocol import types

from qwencoder_lsp.core.results import Suggestion
from qwencoder_lsp.core.text import Edit, Span, apply_edits
from qwencoder_lsp.lsp.documents import Document, Documents
from qwencoder_lsp.lsp.items import MAX_REPEATED, inline_item, menu_item, place

URI = "file:///a.py"
TEXT = st.text("ab_ (\n😀", max_size=30)


def opened(text: str, encoding: str = "utf-16") -> tuple[Documents, Document]:
    documents = Documents()
    documents.configure(None, [], encoding)
    documents.put_text_document(types.TextDocumentItem(uri=URI, language_id="python", version=1, text=text))
    document = documents.get(URI)
    assert document is not None
    return documents, document


def inline(
    text: str, offset: int, new: str, end: int | None = None, selected: Edit | None = None, start: int | None = None
) -> types.InlineCompletionItem | None:
    documents, document = opened(text)
    at = place(documents.snapshot(document), offset, selected)
    span = Span(at.offset if start is None else start, at.offset if end is None else end)
    return inline_item(document, at, Suggestion("id", new, span))


def after(text: str, range_: types.Range | None, new: str) -> str:
    """The document once the editor has accepted an item."""
    _, document = opened(text)
    assert range_ is not None
    assert range_.start.line == range_.end.line
    return apply_edits(text, [Edit(document.span(range_), new)])


@given(TEXT, st.data(), TEXT)
def test_accepting_either_form_gives_the_suggested_text(text: str, data: st.DataObject, new: str) -> None:
    offset = data.draw(st.integers(0, len(text)))
    line_end = text.find("\n", offset) if "\n" in text[offset:] else len(text)
    end = data.draw(st.integers(offset, line_end))
    documents, document = opened(text)
    at, suggestion = place(documents.snapshot(document), offset, None), Suggestion("id", new, Span(offset, end))
    ghost, entry = inline_item(document, at, suggestion), menu_item(document, at, suggestion)
    expected = text[:offset] + new + text[end:]
    assert ghost is not None
    assert isinstance(ghost.insert_text, str)
    assert after(text, ghost.range, ghost.insert_text) == expected
    assert entry is not None
    assert isinstance(entry.text_edit, types.TextEdit)
    assert after(text, entry.text_edit.range, entry.text_edit.new_text) == expected


@given(TEXT, st.data())
def test_the_text_of_ghost_text_begins_with_what_its_range_covers_up_to_the_cursor(text: str, data: st.DataObject) -> None:
    offset = data.draw(st.integers(0, len(text)))
    _, document = opened(text)
    ghost = inline(text, offset, "new")
    assert ghost is not None
    assert ghost.range is not None
    assert ghost.insert_text == document.slice(document.span(ghost.range)) + "new"


def test_text_behind_the_cursor_that_the_suggestion_covers_is_replaced() -> None:
    ghost = inline("print()\n", 6, "x)", end=7)
    assert ghost is not None
    assert ghost.insert_text == "print(x)"
    assert ghost.range == types.Range(types.Position(0, 0), types.Position(0, 7))


def test_a_suggestion_that_would_replace_the_next_line_is_not_offered() -> None:
    assert inline("a\nb", 1, "x", end=3) is None


def test_a_suggestion_that_begins_before_the_cursor_is_offered_when_it_agrees_with_what_is_typed() -> None:
    ghost = inline("ret", 3, "return", start=0)
    assert ghost is not None
    assert ghost.insert_text == "return"
    assert inline("ret", 3, "raise", start=0) is None


def test_of_a_very_long_line_only_the_end_is_repeated() -> None:
    ghost = inline("x" * 10_000, 10_000, "y")
    assert ghost is not None
    assert len(ghost.insert_text) == MAX_REPEATED + 1  # type: ignore[arg-type]  # ours are plain strings


def test_a_chosen_menu_item_keeps_its_range_and_begins_the_text() -> None:
    ghost = inline("x = pr)", 6, "(y", selected=Edit(Span(4, 6), "print"))
    assert ghost is not None
    assert ghost.insert_text == "print(y"
    assert ghost.range == types.Range(types.Position(0, 4), types.Position(0, 6))


def test_a_suggestion_on_a_chosen_menu_item_may_replace_what_follows_the_cursor() -> None:
    text = "x = pr)"
    ghost = inline(text, 6, "(y)", end=10, selected=Edit(Span(4, 6), "print"))
    assert ghost is not None
    assert after(text, ghost.range, str(ghost.insert_text)) == "x = print(y)"


@pytest.mark.parametrize("selected", [Edit(Span(0, 1), "x"), Edit(Span(0, 2), ""), Edit(Span(0, 2), "a\nb")])
def test_a_selection_that_cannot_be_a_menu_item_changes_nothing(selected: Edit) -> None:
    documents, document = opened("pr")
    at = place(documents.snapshot(document), 2, selected)
    assert (at.snapshot.text, at.offset, at.selected) == ("pr", 2, None)


def test_ghost_text_has_plain_newlines_and_a_menu_entry_those_of_the_file() -> None:
    documents, document = opened("a\r\nif x:")
    at, suggestion = place(documents.snapshot(document), 8, None), Suggestion("id", "\r\n    b", Span(8, 8))
    ghost, entry = inline_item(document, at, suggestion), menu_item(document, at, suggestion)
    assert ghost is not None
    assert ghost.insert_text == "if x:\n    b"
    assert entry is not None
    assert isinstance(entry.text_edit, types.TextEdit)
    assert entry.text_edit.new_text == "\r\n    b"


def test_a_long_first_line_is_shortened_in_the_menu() -> None:
    documents, document = opened("")
    entry = menu_item(document, place(documents.snapshot(document), 0, None), Suggestion("id", "x" * 200, Span(0, 0)))
    assert entry is not None
    assert len(entry.label) == 60
    assert entry.label.endswith("…")
