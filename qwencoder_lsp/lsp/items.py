"""A suggestion in the two forms that editors know: ghost text, and an entry of the completion menu. Pure but for reading the document.

Editors match an item's text against what the range covers. The range therefore starts at the start of the line, the text with what is typed
there already, and both stay on one line (LSP 3.18, InlineCompletionItem.range). Neovim needs a range for its overlay, VS Code compares the text.
"""

from __future__ import annotations

from dataclasses import dataclass

from lsprotocol import types

from qwencoder_lsp.core.results import Suggestion
from qwencoder_lsp.core.text import Edit, Snapshot, Span, apply_edits
from qwencoder_lsp.lsp.documents import Document

ACCEPTED = "qwencoder.accepted"
MAX_REPEATED = 500  # code points of the line that an item repeats; lines can be a megabyte long
LABEL = 60
LAST = "~"  # sorts behind identifiers, so the language server's own items stay in front


@dataclass(frozen=True, slots=True)
class Place:
    """Where a completion is wanted: `offset` in `snapshot`.

    selected: set when the editor's menu shows an item as chosen. The snapshot then holds that item's text in place of the span, as if it
    were accepted already, and `offset` lies at its end.
    """

    snapshot: Snapshot
    offset: int
    selected: Edit | None = None


def place(snapshot: Snapshot, offset: int, selected: Edit | None) -> Place:
    """The place for a cursor at `offset` and the menu's chosen item, if any.

    A selection that does not end at the cursor is no menu item: Neovim sends the visual selection in that field.
    """
    if selected is None or selected.span.end != offset or "\n" in selected.text or not selected.text:
        return Place(snapshot, offset)
    text = apply_edits(snapshot.text, [selected])
    virtual = Snapshot(snapshot.uri, text, snapshot.language, snapshot.path, snapshot.root, snapshot.version)
    return Place(virtual, selected.span.start + len(selected.text), selected)


def inline_item(document: Document, at: Place, suggestion: Suggestion) -> types.InlineCompletionItem | None:
    """Ghost text for a suggestion made at `at`; None when it does not fit on the line or contradicts the menu's chosen item.

    The command's arguments are the suggestion's id and what it replaces of the line behind the cursor: a client that keeps showing it while the user
    types into it needs that, for the range says no longer where the cursor was.
    """
    start = at.selected.span.start if at.selected else _anchor(document, at.offset)
    replaced = _replaced(document, at, suggestion, start)
    if replaced is None:
        return None
    span, text = replaced
    behind = document.slice(Span(at.selected.span.end if at.selected else at.offset, span.end))
    # Neovim and the JetBrains editors take the text as it is and know "\n" alone; VS Code turns it into what the file has.
    text = text.replace("\r\n", "\n")
    command = types.Command(title="Accepted", command=ACCEPTED, arguments=[suggestion.id, behind])
    return types.InlineCompletionItem(insert_text=text, range=document.range(span), command=command)


def menu_item(document: Document, at: Place, suggestion: Suggestion) -> types.CompletionItem | None:
    """A menu entry for a suggestion made at `at`; None when it does not fit on the line."""
    word = _word_start(document, at.offset)
    replaced = _replaced(document, at, suggestion, word)
    if replaced is None:
        return None
    span, text = replaced
    first = text.strip().split("\n", 1)[0].rstrip()
    return types.CompletionItem(
        label=first if len(first) <= LABEL else first[: LABEL - 1] + "…",
        kind=types.CompletionItemKind.Text,
        detail="Qwen-Coder",
        documentation=text,
        sort_text=LAST,
        filter_text=text.split("\n", 1)[0].rstrip("\r"),
        insert_text_format=types.InsertTextFormat.PlainText,
        insert_text_mode=types.InsertTextMode.AsIs,
        text_edit=types.TextEdit(document.range(span), text),
        command=types.Command(title="Accepted", command=ACCEPTED, arguments=[suggestion.id]),
    )


def _replaced(document: Document, at: Place, suggestion: Suggestion, start: int) -> tuple[Span, str] | None:
    """The span of the document from `start` that an item replaces, and its text; None when that is not on one line or not what is typed there."""
    virtual = at.snapshot.text
    typed = virtual[start : at.offset]
    if suggestion.span.start >= start:
        text = virtual[start : suggestion.span.start] + suggestion.text
    elif suggestion.text.startswith(virtual[suggestion.span.start : start]):
        text = suggestion.text[start - suggestion.span.start :]
    else:
        return None
    shift = len(at.selected.text) - (at.selected.span.end - at.selected.span.start) if at.selected else 0
    span = Span(start, suggestion.span.end - shift)
    line = document.line_span(span.start)
    fits = text.startswith(typed) and suggestion.span.end >= at.offset and span.end <= line.end
    return (span, text) if fits else None


def _anchor(document: Document, offset: int) -> int:
    start = max(document.line_span(offset).start, offset - MAX_REPEATED)
    before = document.slice(Span(start, offset))  # VS Code 1.139 shows nothing when the replaced text holds a character above U+FFFF
    return start + max((i + 1 for i, character in enumerate(before) if ord(character) > 0xFFFF), default=0)


def _word_start(document: Document, offset: int) -> int:
    start = _anchor(document, offset)
    before = document.slice(Span(start, offset))
    while before and (before[-1].isalnum() or before[-1] == "_"):
        before = before[:-1]
    return start + len(before)
