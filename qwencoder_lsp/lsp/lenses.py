"""Code lenses above functions: explain, test, document. Off unless `review.lenses` is on. In: a document. Out: lenses with their commands."""

from __future__ import annotations

from typing import Any

from lsprotocol import types

from qwencoder_lsp.core.text import Span
from qwencoder_lsp.lsp.actions import EXPLAIN, LARGEST, REFACTOR
from qwencoder_lsp.lsp.edits import DOCUMENT, TESTS
from qwencoder_lsp.lsp.session import Session
from qwencoder_lsp.lsp.targets import range_as_json

MOST = 300  # functions


class Lenses:
    """Answers textDocument/codeLens."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def of(self, params: types.CodeLensParams) -> list[types.CodeLens]:
        """The lenses of a document; none where they are switched off."""
        from qwencoder_lsp.postprocess.functions import functions

        document = self._session.documents.get(params.text_document.uri)
        if document is None or document.length > LARGEST:
            return []
        settings = await self._session.configuration.settings(self._session.documents.root_of(document.uri))
        if not settings.review.lenses:
            return []
        lenses = []
        for function in functions(document.source, document.language_id or "")[:MOST]:
            head = document.range(Span(function.span.start, function.span.start))
            place: list[Any] = [document.uri, range_as_json(document.range(Span(function.span.end - 1, function.span.end - 1)))]
            commands = [types.Command("Explain", EXPLAIN, arguments=place)]
            if self._session.editor.edits_other_files:
                commands.append(types.Command("Test", REFACTOR, arguments=[*place, TESTS]))
            if not function.documented:
                commands.append(types.Command("Document", REFACTOR, arguments=[*place, DOCUMENT]))
            lenses += [types.CodeLens(head, command) for command in commands]
        return lenses
