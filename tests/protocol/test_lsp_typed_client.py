"""A session with pytest-lsp's client, which reads every message of the server as the protocol's own types: a judge of what we send."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from lsprotocol import types
from pytest_lsp import LanguageClient, make_test_lsp_client

from tests.protocol.windows import URI, end_gateway, environment

TEXT = "def first(items):\n    return items[1]\n"
RIGHT = TEXT.replace("[1]", "[0]")
EXPLAINED = {"findings": [{"quote": "return items[1]", "message": "It is the second.", "category": "logic", "severity": "warning"}]}
SCRIPT = {
    "rules": [
        {"contains": "You made these changes", "text": json.dumps(EXPLAINED)},
        {"contains": "fails its tests", "text": f"```python\n{RIGHT}```"},
        {"contains": "first(<|cursor|>", "text": "[1, 2])"},
    ]
}
CAPABILITIES = types.ClientCapabilities(
    general=types.GeneralClientCapabilities(position_encodings=[types.PositionEncodingKind.Utf8]),
    window=types.WindowClientCapabilities(work_done_progress=True),
    workspace=types.WorkspaceClientCapabilities(
        configuration=True,
        diagnostics=types.DiagnosticWorkspaceClientCapabilities(refresh_support=True),
        workspace_edit=types.WorkspaceEditClientCapabilities(document_changes=True),
    ),
    text_document=types.TextDocumentClientCapabilities(
        diagnostic=types.DiagnosticClientCapabilities(),
        inline_completion=types.InlineCompletionClientCapabilities(),
        code_action=types.CodeActionClientCapabilities(
            code_action_literal_support=types.ClientCodeActionLiteralOptions(types.ClientCodeActionKindOptions([])),
            resolve_support=types.ClientCodeActionResolveOptions(["edit"]),
            tag_support=types.CodeActionTagOptions([types.CodeActionTag.LlmGenerated]),
        ),
    ),
)


@pytest_asyncio.fixture
async def client(tmp_path: Path) -> AsyncIterator[LanguageClient]:
    """An initialised session."""
    client = make_test_lsp_client()
    await client.start_io(sys.executable, "-m", "qwencoder_lsp.lsp", env=environment(tmp_path, SCRIPT))
    await client.initialize_session(types.InitializeParams(CAPABILITIES, process_id=None))
    yield client
    await client.shutdown_session()
    await client.stop()  # type: ignore[no-untyped-call]  # pygls gives it no types
    end_gateway(tmp_path)


async def test_type_accept_review_and_fix(client: LanguageClient) -> None:
    document = types.TextDocumentIdentifier(URI)
    client.text_document_did_open(types.DidOpenTextDocumentParams(types.TextDocumentItem(URI, "python", 1, TEXT)))

    change = types.TextDocumentContentChangePartial(text="first(", range=types.Range(types.Position(2, 0), types.Position(2, 0)))
    client.text_document_did_change(types.DidChangeTextDocumentParams(types.VersionedTextDocumentIdentifier(2, URI), [change]))
    context = types.InlineCompletionContext(types.InlineCompletionTriggerKind.Automatic)
    ghosts = await client.text_document_inline_completion_async(types.InlineCompletionParams(context, document, types.Position(2, 6)))
    assert isinstance(ghosts, types.InlineCompletionList)
    (ghost,) = ghosts.items
    assert ghost.insert_text == "first([1, 2])"
    assert ghost.command is not None
    await client.workspace_execute_command_async(types.ExecuteCommandParams(ghost.command.command, ghost.command.arguments))

    menu = await client.text_document_completion_async(types.CompletionParams(document, types.Position(2, 6)))
    assert isinstance(menu, types.CompletionList)
    assert [entry.label for entry in menu.items] == ["[1, 2])"]

    undo = types.TextDocumentContentChangePartial(text="", range=types.Range(types.Position(2, 0), types.Position(2, 6)))
    client.text_document_did_change(types.DidChangeTextDocumentParams(types.VersionedTextDocumentIdentifier(3, URI), [undo]))
    await client.workspace_execute_command_async(types.ExecuteCommandParams("qwencoder.review", [URI]))
    report = await client.text_document_diagnostic_async(types.DocumentDiagnosticParams(document))
    assert isinstance(report, types.RelatedFullDocumentDiagnosticReport)
    (diagnostic,) = report.items

    asked = types.CodeActionParams(document, diagnostic.range, types.CodeActionContext([diagnostic], only=[types.CodeActionKind.QuickFix]))
    actions = await client.text_document_code_action_async(asked)
    assert actions
    assert isinstance(actions[0], types.CodeAction)
    fixed = await client.code_action_resolve_async(actions[0])
    assert fixed.edit is not None
    assert fixed.edit.document_changes is not None
    (edits,) = fixed.edit.document_changes
    assert isinstance(edits, types.TextDocumentEdit)
    assert edits.text_document.version == 3
    (edit,) = edits.edits
    assert isinstance(edit, types.TextEdit)
    assert (
        TEXT.splitlines()[1][: edit.range.start.character] + edit.new_text + TEXT.splitlines()[1][edit.range.end.character :] == RIGHT.splitlines()[1]
    )
    assert not client.messages
