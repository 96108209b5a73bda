"""Explanations as documents: read-only ones of our own scheme where the client has them, private Markdown files elsewhere.

In: a place in a document, perhaps what a tool says about it. Out: a document that the editor shows, which grows while the model writes.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import tempfile
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING

from lsprotocol import types

from qwencoder_lsp import paths
from qwencoder_lsp.core.report import Reason
from qwencoder_lsp.core.text import Snapshot, Span
from qwencoder_lsp.errors import QwencoderError, RequestError
from qwencoder_lsp.lsp.progress import ProgressBar, with_progress
from qwencoder_lsp.lsp.protocol import SCHEME
from qwencoder_lsp.lsp.session import Session
from qwencoder_lsp.lsp.tasks import NewestWins, spawn
from qwencoder_lsp.observe.trace import Trace
from qwencoder_lsp.postprocess.markdown import inert

if TYPE_CHECKING:
    from qwencoder_lsp.features.ask import Answer

KEPT = 20  # explanations
REFRESH_S = 0.3


class Explanations:
    """Asks for explanations and holds their texts by URI. A newer question about a document replaces the older."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._newest = NewestWins()
        self._texts: OrderedDict[str, str] = OrderedDict()
        self._numbers = itertools.count(1)

    def text(self, uri: str) -> str:
        """The text of a document of ours so far."""
        return self._texts.get(uri, "This explanation is no longer kept. Ask for it again.\n")

    async def explain(self, uri: str, range_: types.Range, problem: str = "") -> None:
        """Explain the code at a range, or a problem with it, in a document of its own. The user sees progress and can cancel."""
        editor = self._session.editor
        try:
            document = self._session.documents.get(uri)
            if document is None:
                raise RequestError("Only a file that is open in the editor can be explained.", "Open it and try again.")
            snapshot, span = self._session.documents.snapshot(document), document.span(range_)
            work = with_progress(editor, f"Explaining {document.filename}", lambda bar: self._run(snapshot, span, problem, bar))
            answer = await self._newest.run(document.uri, work)
        except QwencoderError as error:
            self._session.traces.add(Trace("-", "explain", Reason.ERROR, error.code))
            editor.show_error(error)
            return
        if answer:
            self._session.traces.add(Trace("-", "explain", Reason.SHOWN, "", answer.model, answer.usage, answer.timings))

    async def _run(self, snapshot: Snapshot, span: Span, problem: str, bar: ProgressBar) -> Answer:
        from qwencoder_lsp.features.explain import explain

        settings = await self._session.configuration.settings(snapshot.root)
        page = _Page(self._session, self._texts, f"{SCHEME}:/explain/{next(self._numbers)}/explanation.md") if self._shows_pages else None

        def grown(text: str) -> None:
            bar.report(f"{len(text.split())} words")
            if page:
                page.grow(inert(text))

        answer = await self._session.connection.run(lambda client: explain(snapshot, span, client, settings, problem, grown), explicit=True)
        text = inert(answer.text.strip()) + ("\n\n*(cut off)*\n" if answer.cut else "\n")
        if page:
            await page.finish(text)
        else:
            await self._as_file(text)
        return answer

    @property
    def _shows_pages(self) -> bool:
        editor = self._session.editor
        return editor.can("workspace.text_document_content") and editor.can("window.show_document.support")

    async def _as_file(self, text: str) -> None:
        file = await asyncio.to_thread(_write, text)
        if not await self._session.editor.open(file.as_uri()):
            self._session.editor.show(types.MessageType.Info, f"The explanation is in {file}.")


class _Page:
    """One explanation as a document of ours: shown at its first words, refreshed while it grows."""

    def __init__(self, session: Session, texts: OrderedDict[str, str], uri: str) -> None:
        self._editor, self._texts, self._uri = session.editor, texts, uri
        self._opened: asyncio.Task[bool] | None = None
        self._refreshed = 0.0

    def grow(self, text: str) -> None:
        self._texts[self._uri] = text
        while len(self._texts) > KEPT:
            self._texts.popitem(last=False)
        now = asyncio.get_running_loop().time()
        if self._opened is None:
            self._opened, self._refreshed = spawn(self._editor.open(self._uri)), now
        elif self._opened.done() and now - self._refreshed > REFRESH_S:
            self._refreshed = now
            spawn(self._editor.refresh_content(self._uri))

    async def finish(self, text: str) -> None:
        self.grow(text)
        if self._opened:
            await self._opened
        await self._editor.refresh_content(self._uri)


def _write(text: str) -> Path:
    """A file that only the user can read, in a directory that goes with the session; the oldest ones make room. Raises RequestError."""
    folder = paths.runtime_dir() / "explanations"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        for old in sorted(folder.glob("*.md"), key=_age, reverse=True)[KEPT - 1 :]:
            old.unlink(missing_ok=True)
        descriptor, file = tempfile.mkstemp(dir=folder, prefix="explanation-", suffix=".md")  # mode 0600
        with os.fdopen(descriptor, "w", encoding="utf-8") as out:
            out.write(text)
    except OSError as error:
        raise RequestError(f"The explanation cannot be written to {folder} ({error.strerror}).", "Make room there and ask again.") from error
    return Path(file)


def _age(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:  # another window has taken it away meanwhile
        return 0.0
