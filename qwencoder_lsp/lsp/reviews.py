"""Reviews of open documents or of what was changed in them, on command or on save.

In: a document, perhaps a range. Out: findings, handed to Diagnostics. A review takes a while and the user types on: the edits made meanwhile are
applied to the findings, and those whose code was changed are dropped.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from lsprotocol import types
from pygls.uris import to_fs_path

from qwencoder_lsp.core.report import Reason
from qwencoder_lsp.core.results import Review
from qwencoder_lsp.core.text import Edit, Snapshot, Span, grown
from qwencoder_lsp.errors import QwencoderError, RequestError
from qwencoder_lsp.lsp.diagnostics import Diagnostics
from qwencoder_lsp.lsp.documents import Document
from qwencoder_lsp.lsp.findings import move_findings
from qwencoder_lsp.lsp.progress import with_progress
from qwencoder_lsp.lsp.session import Session
from qwencoder_lsp.lsp.tasks import NewestWins
from qwencoder_lsp.observe.trace import Trace

FEATURE = "review"

How = Callable[[Snapshot], Coroutine[Any, Any, Review]]


class Reviews:
    """Runs reviews; a newer one of the same document replaces the older."""

    def __init__(self, session: Session, diagnostics: Diagnostics) -> None:
        self._session = session
        self._diagnostics = diagnostics
        self._newest = NewestWins()
        self._running: dict[str, list[Edit]] = {}
        session.documents.follow(self._edited)

    async def review(self, document: Document, selection: Span | None = None, *, asked: bool = True) -> None:
        """Review a document or a part of it, and show the findings. The user sees progress; errors and an empty result only when `asked`."""
        await self._review(document, lambda snapshot: self._whole(snapshot, selection), selection, asked=asked, tell=asked)

    async def review_changes(self, document: Document, *, tell: bool) -> int | None:
        """Review what differs from the last commit in a document, and show the findings. The user sees progress and errors, an empty result when
        `tell`. Returns the number of findings; None when the review failed or was cancelled."""
        result = await self._review(document, self._changes, None, asked=True, tell=tell)
        return len(result.findings) if result else None

    async def _review(self, document: Document, how: How, within: Span | None, *, asked: bool, tell: bool) -> Review | None:
        title = f"Reviewing {document.filename}"
        work = with_progress(self._session.editor, title, lambda _: self._run(document, how, within))
        try:
            result = await self._newest.run(document.uri, work)
        except QwencoderError as error:
            self._session.traces.add(Trace("-", FEATURE, Reason.ERROR, error.code))
            if asked:
                self._session.editor.show_error(error)
            return None
        if tell and result and not result.findings:
            self._session.editor.show(types.MessageType.Info, f"Qwen-Coder found nothing to report in {document.filename}.")
        return result

    async def saved(self, document: Document) -> None:
        """Review a document that was just saved, if the settings say so."""
        settings = await self._session.configuration.settings(self._session.documents.root_of(document.uri))
        if settings.review.on_save:
            await self.review(document, asked=False)

    def open_document(self, uri: str) -> Document:
        """The document to review. Raises RequestError when it is not open."""
        if document := self._session.documents.get(uri):
            return document
        raise RequestError("Only a file that is open in the editor can be reviewed.", "Open it and try again.")

    async def _whole(self, snapshot: Snapshot, selection: Span | None) -> Review:
        from qwencoder_lsp.features.review import review

        settings = await self._session.configuration.settings(snapshot.root)
        return await self._session.connection.run(lambda client: review(snapshot, client, settings, selection), explicit=True)

    async def _changes(self, snapshot: Snapshot) -> Review:
        from qwencoder_lsp.features.review_changes import review_changes

        spans = await asyncio.to_thread(_changed, snapshot)
        if spans is None:
            return await self._whole(snapshot, None)
        settings = await self._session.configuration.settings(snapshot.root)
        return await self._session.connection.run(lambda client: review_changes(snapshot, spans, client, settings), explicit=True)

    async def _run(self, document: Document, how: How, selection: Span | None) -> Review:
        started = time.perf_counter()
        snapshot = self._session.documents.snapshot(document)
        edits = self._running[document.uri] = []
        try:
            result = await how(snapshot)
        finally:
            if self._running.get(document.uri) is edits:
                del self._running[document.uri]
        if self._session.documents.get(document.uri) is document:
            within = selection and grown(selection, *edits)
            self._diagnostics.put(document.uri, move_findings(result.findings, *edits), within)
        reason = Reason.SHOWN if result.findings else Reason.EMPTY
        total_ms = (time.perf_counter() - started) * 1000
        self._session.traces.add(Trace("-", FEATURE, reason, "", result.model, result.usage, result.timings, total_ms))
        return result

    def _edited(self, uri: str, edit: Edit) -> None:
        if uri in self._running:
            self._running[uri].append(edit)


def _changed(snapshot: Snapshot) -> tuple[Span, ...] | None:
    """What of a document differs from the last commit; None for a file that is new. Blocks. Raises RequestError."""
    from qwencoder_lsp.context.changes import changed_lines

    path = to_fs_path(snapshot.uri)
    if path is None:
        raise RequestError("Only a file can be compared with the last commit.", "Save it and try again.")
    try:
        saved = Path(path).read_bytes().decode("utf-8", "replace")
    except OSError:
        saved = None
    if saved != snapshot.text:
        raise RequestError(f"{Path(path).name} is not saved, so git cannot tell what was changed in it.", "Save it and try again.")
    return changed_lines(Path(path), "HEAD")
