"""What this window knows of other files: snippets for completions, and `workspace/symbol`.

In: edits of open documents, cursors, symbol queries. Out: packs of snippets and symbols, from the index by way of context.surroundings. All work on
the index is done in threads; what is remembered of edits are places in open documents.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from lsprotocol import types

from qwencoder_lsp.core.report import Reason
from qwencoder_lsp.core.text import Edit, Snapshot
from qwencoder_lsp.lsp.session import Session
from qwencoder_lsp.observe.trace import Trace

if TYPE_CHECKING:
    from qwencoder_lsp.context.pack import Pack
    from qwencoder_lsp.context.reading import Definition
    from qwencoder_lsp.context.surroundings import Surroundings
    from qwencoder_lsp.settings import Settings

MOST_EDITS = 8
LIMIT_S = 0.25  # for one search; it runs while nobody types
MOST_SYMBOLS = 200
KINDS = {
    "function": types.SymbolKind.Function, "method": types.SymbolKind.Method, "class": types.SymbolKind.Class, "type": types.SymbolKind.Class,
    "interface": types.SymbolKind.Interface, "enum": types.SymbolKind.Enum, "module": types.SymbolKind.Module, "constant": types.SymbolKind.Constant,
    "variable": types.SymbolKind.Variable, "field": types.SymbolKind.Field, "macro": types.SymbolKind.Constant,
}  # fmt: skip


class OtherFiles:
    """Answers what other files have to say."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._edits: dict[str, int] = {}  # URI -> offset of the latest edit, the latest document last
        self._surroundings: Surroundings | None = None
        session.documents.follow(self._edited)

    async def choose(self, snapshot: Snapshot, offset: int, settings: Settings, old: Pack) -> Pack:
        """The snippets for a completion at `offset`; `old` while they are still good."""
        from qwencoder_lsp.context.pack import Pack
        from qwencoder_lsp.context.surroundings import Touched

        budget = settings.index.snippet_tokens
        if not settings.index.enabled or not budget:
            return Pack()
        documents = self._session.documents
        open_ones = [(document, at) for uri, at in reversed(self._edits.items()) if (document := documents.get(uri))]
        edits = [Touched(documents.snapshot(d), min(at, d.length)) for d, at in open_ones if d.uri != snapshot.uri]
        look = await asyncio.to_thread(self._all().look, snapshot, offset, budget, old, edits, LIMIT_S)
        if look.candidates or look.late:
            kept = "kept" if look.pack is old else "new"
            detail = f"{len(look.pack.snippets)} snippets, {kept}" + (f", late: {' '.join(look.late)}" if look.late else "")
            self._session.traces.add(Trace("-", "context", Reason.SHOWN, detail, total_ms=look.ms))
        return look.pack

    async def symbols(self, query: str) -> list[types.WorkspaceSymbol]:
        """The symbols of the workspace folders that fit `query`."""
        found = await asyncio.to_thread(self._all().symbols, self._session.documents.roots(), query, MOST_SYMBOLS)
        return [_symbol(root, definition) for root, definition in found]

    def _all(self) -> Surroundings:
        """Made when first wanted, so that nothing of it slows the start."""
        if self._surroundings is None:
            from qwencoder_lsp.context.surroundings import Surroundings

            self._surroundings = Surroundings()
        return self._surroundings

    def _edited(self, uri: str, edit: Edit) -> None:
        self._edits.pop(uri, None)
        self._edits[uri] = edit.span.start
        if len(self._edits) > MOST_EDITS:
            del self._edits[next(iter(self._edits))]


def _symbol(root: str, definition: Definition) -> types.WorkspaceSymbol:
    place = types.Range(types.Position(definition.line, 0), types.Position(max(definition.end, definition.line + 1), 0))
    location = types.Location((Path(root) / definition.path).as_uri(), place)
    return types.WorkspaceSymbol(location, definition.name, KINDS[definition.kind], container_name=definition.container or definition.path)
