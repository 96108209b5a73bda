"""The documents that the editor has open, as snapshots and places in code points.

In: the text synchronisation notifications, by way of pygls. Out: snapshots, offsets, ranges, and each edit as a value for those who follow
places through it. A document that is not open does not exist here: nothing is read from disk.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import unquote

from lsprotocol import types
from pygls.uris import to_fs_path
from pygls.workspace import TextDocument, Workspace

from qwencoder_lsp.core.text import Edit, Snapshot, Span
from qwencoder_lsp.lsp.buffer import Buffer

EditListener = Callable[[str, Edit], None]


class Document(TextDocument):
    """An open document. `revision` grows with each change, also where the editor's version number does not."""

    def __init__(self, uri: str, text: str, *, version: int | None, language: str, encoding: str, on_edit: EditListener) -> None:
        super().__init__(uri, None, version, language)
        self.revision = 0
        self._buffer = Buffer(text)
        self._encoding = encoding
        self._on_edit = on_edit

    @property
    def length(self) -> int:
        """Code points in the document."""
        return len(self._buffer)

    @property
    def source(self) -> str:
        """The whole text."""
        return self._buffer.text

    def apply_change(self, change: types.TextDocumentContentChangeEvent) -> None:
        """Apply one change of a didChange notification: of a range, or of the whole text."""
        span = self.span(change.range) if isinstance(change, types.TextDocumentContentChangePartial) else Span(0, len(self._buffer))
        edit = _smallest(self._buffer.slice(span.start, span.end), Edit(span, change.text))
        self._buffer.replace(edit.span.start, edit.span.end, edit.text)
        self.revision += 1
        self._on_edit(self.uri, edit)

    def snapshot(self, root: str | None) -> Snapshot:
        """The document as it is now."""
        return Snapshot(self.uri, self.source, self.language_id or "", to_fs_path(self.uri), root, self.version)

    def fingerprint(self) -> dict[str, Any]:
        """What an editor can compare with its own text: version, length in code points, SHA-256 of the UTF-8 bytes."""
        return {"version": self.version, "length": self.length, "sha256": hashlib.sha256(self.source.encode()).hexdigest()}

    def offset(self, position: types.Position) -> int:
        """The code point offset of a position, clamped into the text."""
        return self._buffer.offset(position.line, position.character, self._encoding)

    def span(self, range_: types.Range) -> Span:
        """The code points that a range covers, clamped into the text; empty where its end lies before its start."""
        start = self.offset(range_.start)
        return Span(start, max(start, self.offset(range_.end)))

    def position(self, offset: int) -> types.Position:
        """The position of a code point offset."""
        return types.Position(*self._buffer.position(offset, self._encoding))

    def range(self, span: Span) -> types.Range:
        """The range that covers `span`."""
        return types.Range(self.position(span.start), self.position(span.end))

    def line_span(self, offset: int) -> Span:
        """The line that holds `offset`, without its line end."""
        return Span(*self._buffer.line_span(offset))

    def slice(self, span: Span) -> str:
        """The text of a span."""
        return self._buffer.slice(span.start, span.end)


class Documents(Workspace):
    """All open documents and the workspace folders. Takes the place of pygls's workspace, which splits the whole text at each edit."""

    def __init__(self) -> None:
        super().__init__(None)
        self._listeners: list[EditListener] = []

    def configure(self, root_uri: str | None, folders: Sequence[types.WorkspaceFolder], encoding: str) -> None:
        """Take over what `initialize` agreed on: the folders, and the position encoding of every later message."""
        self._position_encoding = encoding
        if root_uri and not folders:
            folders = [types.WorkspaceFolder(uri=root_uri, name="")]
        for folder in folders:
            self.add_folder(folder)

    def follow(self, listener: EditListener) -> None:
        """Call `listener` with the URI and the edit after each change; spans refer to the text before it."""
        self._listeners.append(listener)

    def get(self, uri: str) -> Document | None:
        """The open document, or None."""
        document = self.text_documents.get(unquote(uri))
        return document if isinstance(document, Document) else None

    def detached(self, uri: str, text: str) -> Document:
        """A document that is not open, to convert places in it; nobody follows it."""
        return Document(uri, text, version=None, language="", encoding=str(self._position_encoding), on_edit=lambda *_: None)

    def snapshot(self, document: Document) -> Snapshot:
        """The document as it is now, with its workspace folder."""
        return document.snapshot(self.root_of(document.uri))

    def roots(self) -> list[str]:
        """The paths of the workspace folders on disk."""
        return [path for folder in self.folders.values() if (path := to_fs_path(folder.uri))]

    def root_of(self, uri: str) -> str | None:
        """The innermost workspace folder that holds the document, or None."""
        path = to_fs_path(uri)
        holders = [root for root in self.roots() if path and (path + os.sep).startswith(root.rstrip(os.sep) + os.sep)]
        return max(holders, key=len, default=None)

    def is_current(self, document: Document, revision: int) -> bool:
        """Whether the document is still open and unchanged since `revision`."""
        return document.revision == revision and self.get(document.uri) is document

    def _create_text_document(
        self, doc_uri: str, source: str | None = None, version: int | None = None, language_id: str | None = None
    ) -> TextDocument:
        return Document(
            doc_uri, source or "", version=version, language=language_id or "", encoding=str(self._position_encoding), on_edit=self._edited
        )

    def _edited(self, uri: str, edit: Edit) -> None:
        for listener in self._listeners:
            listener(uri, edit)


def _smallest(old: str, edit: Edit) -> Edit:
    """The same edit without what `old` and the new text share at both ends: a reformatted or replaced file moves only what it changes."""
    head = _shared(old, edit.text, lambda text, n: text[:n])
    rest, text = old[head:], edit.text[head:]
    tail = _shared(rest, text, lambda part, n: part[len(part) - n :])
    start = edit.span.start + head
    return Edit(Span(start, start + len(rest) - tail), text[: len(text) - tail])


def _shared(a: str, b: str, end: Callable[[str, int], str]) -> int:
    """The largest n for which `end(a, n) == end(b, n)`, by bisection: comparing slices is far faster than a loop over characters."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if end(a, middle) == end(b, middle):
            low = middle
        else:
            high = middle - 1
    return low
