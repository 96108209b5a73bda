from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lsprotocol import types

from qwencoder_lsp.core.text import Edit, Span, apply_edits
from qwencoder_lsp.lsp.documents import Document, Documents

URI = "file:///srv/project/a.py"


def opened(text: str, uri: str = URI, encoding: str = "utf-16", folders: tuple[str, ...] = ()) -> tuple[Documents, Document]:
    documents = Documents()
    documents.configure(None, [types.WorkspaceFolder(uri=f, name="") for f in folders], encoding)
    documents.put_text_document(types.TextDocumentItem(uri=uri, language_id="python", version=1, text=text))
    document = documents.get(uri)
    assert document is not None
    return documents, document


def change(documents: Documents, start: tuple[int, int], end: tuple[int, int], text: str) -> None:
    documents.update_text_document(
        types.VersionedTextDocumentIdentifier(version=2, uri=URI),
        types.TextDocumentContentChangePartial(range=types.Range(types.Position(*start), types.Position(*end)), text=text),
    )


@pytest.mark.parametrize(("encoding", "column"), [("utf-8", 4), ("utf-16", 2), ("utf-32", 1)])
def test_an_edit_behind_an_emoji_lands_there_in_every_encoding(encoding: str, column: int) -> None:
    documents, document = opened("😀\r\n😀b\r\n", encoding=encoding)
    change(documents, (1, column), (1, column + 1), "X")
    assert document.source == "😀\r\n😀X\r\n"


@given(st.text("ab\n", max_size=12), st.text("ab\n", max_size=12))
def test_replacing_the_whole_text_tells_listeners_of_an_equivalent_smaller_edit(old: str, new: str) -> None:
    documents, document = opened(old)
    seen: list[Edit] = []
    documents.follow(lambda _uri, edit: seen.append(edit))
    documents.update_text_document(types.VersionedTextDocumentIdentifier(version=2, uri=URI), types.TextDocumentContentChangeWholeDocument(text=new))
    assert document.source == new
    assert apply_edits(old, seen) == new
    (edit,) = seen
    removed = edit.span.of(old)
    assert not (removed and edit.text and (removed[0] == edit.text[0] or removed[-1] == edit.text[-1]))


def test_a_change_makes_an_older_revision_stale() -> None:
    documents, document = opened("a")
    revision = document.revision
    assert documents.is_current(document, revision)
    change(documents, (0, 0), (0, 0), "b")
    assert not documents.is_current(document, revision)


def test_a_document_that_was_closed_and_opened_again_is_another_one() -> None:
    documents, document = opened("a")
    documents.remove_text_document(URI)
    assert documents.get(URI) is None
    documents.put_text_document(types.TextDocumentItem(uri=URI, language_id="python", version=1, text="a"))
    assert not documents.is_current(document, document.revision)


def test_a_document_that_is_not_open_is_none_and_nothing_is_read_from_disk() -> None:
    assert opened("")[0].get("file:///etc/hostname") is None


def test_the_innermost_workspace_folder_holds_a_document() -> None:
    documents, document = opened("", folders=("file:///srv", "file:///srv/project", "file:///srv/pro"))
    assert documents.root_of(document.uri) == os.path.normpath("/srv/project")
    assert documents.root_of("file:///elsewhere/a.py") is None
    assert documents.root_of("untitled:Untitled-1") is None


def test_a_snapshot_of_an_untitled_document_has_no_path() -> None:
    documents, document = opened("x", uri="untitled:Untitled-1")
    snapshot = documents.snapshot(document)
    assert (snapshot.path, snapshot.root, snapshot.text, snapshot.version) == (None, None, "x", 1)


def test_a_range_whose_end_lies_before_its_start_is_empty() -> None:
    _, document = opened("abc\ndef")
    assert document.span(types.Range(types.Position(1, 1), types.Position(0, 0))) == Span(5, 5)
