"""A small editor without a screen: starts a language server over stdio and asks it what an editor would ask. Used by the demo.

Positions are UTF-32, so that a column counts code points. Texts and offsets go in and come out; no LSP types leave this module.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lsprotocol import types
from pygls.lsp.client import LanguageClient

from qwencoder_lsp import __version__
from qwencoder_lsp.core.text import Edit, Span, apply_edits
from qwencoder_lsp.errors import AnswerError

ANSWER_S = 900.0  # a review on a slow machine, its model still loading


@dataclass(frozen=True, slots=True)
class Ghost:
    """Ghost text as an editor shows it: `text` after the cursor, `covered` code points behind the cursor hidden."""

    text: str
    covered: int


@dataclass(frozen=True, slots=True)
class Shown:
    """A diagnostic as an editor shows it; `raw` goes back to the server with a request for its fix."""

    span: Span
    severity: str
    code: str
    message: str
    raw: types.Diagnostic


class EditorClient:
    """One session with one server."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._client = LanguageClient("qwencoder-demo", __version__)
        self._texts: dict[Path, str] = {}
        self._versions: dict[Path, int] = {}
        self._messages: list[str] = []
        self._client.feature(types.WINDOW_SHOW_MESSAGE)(lambda params: self._messages.append(params.message))
        self._client.feature(types.WINDOW_LOG_MESSAGE)(lambda _: None)
        self._client.feature(types.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS)(lambda _: None)
        self._client.feature("qwencoder/status")(lambda _: None)
        self._client.feature("didChangeStatus")(lambda _: None)

    async def start(self, command: list[str], env: dict[str, str]) -> None:
        """Start the server and introduce ourselves."""
        await self._client.start_io(*command, env={**os.environ, **env})
        capabilities = types.ClientCapabilities(
            general=types.GeneralClientCapabilities(position_encodings=[types.PositionEncodingKind.Utf32]),
            text_document=types.TextDocumentClientCapabilities(
                inline_completion=types.InlineCompletionClientCapabilities(),
                diagnostic=types.DiagnosticClientCapabilities(),
                code_action=types.CodeActionClientCapabilities(
                    code_action_literal_support=types.ClientCodeActionLiteralOptions(types.ClientCodeActionKindOptions(["quickfix", "source"])),
                    resolve_support=types.ClientCodeActionResolveOptions(["edit"]),
                    data_support=True,
                ),
            ),
            workspace=types.WorkspaceClientCapabilities(diagnostics=types.DiagnosticWorkspaceClientCapabilities(refresh_support=True)),
        )
        self._client.feature(types.WORKSPACE_DIAGNOSTIC_REFRESH)(lambda *_: None)
        folder = types.WorkspaceFolder(self._root.as_uri(), self._root.name)
        await self._client.initialize_async(types.InitializeParams(capabilities, process_id=os.getpid(), workspace_folders=[folder]))
        self._client.initialized(types.InitializedParams())

    async def stop(self) -> None:
        """End the server as an editor does when it closes."""
        await self._client.shutdown_async(None)
        self._client.exit(None)
        await self._client.stop()  # type: ignore[no-untyped-call]  # pygls leaves it without types

    def open(self, path: Path, language: str) -> str:
        """Open a file; returns its text."""
        self._texts[path], self._versions[path] = path.read_text("utf-8"), 1
        item = types.TextDocumentItem(path.as_uri(), language, 1, self._texts[path])
        self._client.text_document_did_open(types.DidOpenTextDocumentParams(item))
        return self._texts[path]

    def is_open(self, path: Path) -> bool:
        """Whether the file was opened."""
        return path in self._texts

    def text(self, path: Path) -> str:
        """The text as it is in the editor now."""
        return self._texts[path]

    def edit(self, path: Path, edit: Edit) -> None:
        """Change the text; typing a character is an edit of an empty span."""
        self._versions[path] += 1
        change = types.TextDocumentContentChangePartial(self._range(path, edit.span), edit.text)
        document = types.VersionedTextDocumentIdentifier(self._versions[path], path.as_uri())
        self._client.text_document_did_change(types.DidChangeTextDocumentParams(document, [change]))
        self._texts[path] = apply_edits(self._texts[path], [edit])

    async def ghost(self, path: Path, offset: int) -> Ghost | None:
        """The inline completion at `offset`, or None."""
        params = types.InlineCompletionParams(
            types.InlineCompletionContext(types.InlineCompletionTriggerKind.Automatic), _document(path), self._position(path, offset)
        )
        answer = await asyncio.wait_for(self._client.text_document_inline_completion_async(params), ANSWER_S)
        items = answer.items if isinstance(answer, types.InlineCompletionList) else answer or []
        if not items or items[0].range is None or not isinstance(items[0].insert_text, str):
            return None
        start, end = self._offset(path, items[0].range.start), self._offset(path, items[0].range.end)
        return Ghost(items[0].insert_text[offset - start :], end - offset)

    async def review(self, path: Path) -> list[Shown]:
        """Have the file reviewed; its diagnostics afterwards. Raises AnswerError with the server's message when it shows one instead."""
        self._messages.clear()
        params = types.ExecuteCommandParams("qwencoder.review", [path.as_uri()])
        await asyncio.wait_for(self._client.workspace_execute_command_async(params), ANSWER_S)
        report = await self._client.text_document_diagnostic_async(types.DocumentDiagnosticParams(_document(path)))
        if self._messages:
            raise AnswerError(self._messages[-1])
        items = report.items if isinstance(report, types.RelatedFullDocumentDiagnosticReport) else []
        return [self._shown(path, item) for item in items]

    async def fix(self, path: Path, diagnostic: Shown) -> list[Edit]:
        """The edits that the server offers for a diagnostic. Raises AnswerError when it offers none."""
        context = types.CodeActionContext([diagnostic.raw], only=[types.CodeActionKind.QuickFix])
        params = types.CodeActionParams(_document(path), diagnostic.raw.range, context)
        actions = await self._client.text_document_code_action_async(params) or []
        for action in actions:
            if isinstance(action, types.CodeAction):
                done = await asyncio.wait_for(self._client.code_action_resolve_async(action), ANSWER_S)
                if done.edit and done.edit.changes:
                    return [Edit(self._span(path, e.range), e.new_text) for e in done.edit.changes[path.as_uri()]]
        raise AnswerError(self._messages[-1] if self._messages else "The server offers no fix.")

    async def trace(self) -> dict[str, Any]:
        """The server's record of its last request: reason, usage, timings."""
        answer = await self._client.protocol.send_request_async("qwencoder/trace", {"limit": 1})
        record: dict[str, Any] = answer[0]
        return record

    def _shown(self, path: Path, item: types.Diagnostic) -> Shown:
        severity = (item.severity or types.DiagnosticSeverity.Information).name.lower()
        message = item.message if isinstance(item.message, str) else item.message.value
        return Shown(self._span(path, item.range), severity, str(item.code or ""), message, item)

    def _position(self, path: Path, offset: int) -> types.Position:
        before = self._texts[path][:offset]
        return types.Position(before.count("\n"), offset - (before.rfind("\n") + 1))

    def _offset(self, path: Path, position: types.Position) -> int:
        lines = self._texts[path].split("\n")
        return sum(len(line) + 1 for line in lines[: position.line]) + position.character

    def _range(self, path: Path, span: Span) -> types.Range:
        return types.Range(self._position(path, span.start), self._position(path, span.end))

    def _span(self, path: Path, range_: types.Range) -> Span:
        return Span(self._offset(path, range_.start), self._offset(path, range_.end))


def _document(path: Path) -> types.TextDocumentIdentifier:
    return types.TextDocumentIdentifier(path.as_uri())
