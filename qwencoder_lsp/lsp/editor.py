"""The editor at the other end: what it can do, as questions, and what we say to it.

Knows the client's capabilities and pygls; knows nothing of models or features.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lsprotocol import types
from pygls.capabilities import get_capability
from pygls.exceptions import JsonRpcException

from qwencoder_lsp.errors import QwencoderError, RequestError
from qwencoder_lsp.lsp.protocol import Server

log = logging.getLogger(__name__)

CREATE_PROGRESS_S = 2.0
ANNOTATION = "qwencoder"


@dataclass(frozen=True, slots=True)
class FileChange:
    """Edits of one file. version: of the open document that they were made for, None for a file that is not open. create: make the file first."""

    uri: str
    version: int | None
    edits: Sequence[types.TextEdit]
    create: bool = False


class Editor:
    """The connected client. The questions may be asked once `initialize` has arrived."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.takes_status = True

    def introduce(self, params: types.InitializeParams) -> None:
        """Note who the client is. lsp-mode (client name "emacs") shows a warning for each notification that it does not know."""
        self.takes_status = not (params.client_info and params.client_info.name == "emacs")

    def can(self, capability: str) -> bool:
        """Whether the client announced a capability, such as "workspace.configuration"."""
        return bool(get_capability(self._server.client_capabilities, capability, False))

    def get(self, capability: str) -> Any:
        """What the client announced under a name, such as "text_document.hover.content_format", or None."""
        return get_capability(self._server.client_capabilities, capability, None)

    @property
    def pulls_diagnostics(self) -> bool:
        """Whether diagnostics are served on request alone: the client asks, and can be told to ask again."""
        return self.can("text_document.diagnostic") and self.can("workspace.diagnostics.refresh_support")

    @property
    def resolves_edits(self) -> bool:
        """Whether a code action may be listed without its edit, to be computed when it is chosen."""
        support = get_capability(self._server.client_capabilities, "text_document.code_action.resolve_support.properties", ())
        return "edit" in (support or ())

    @property
    def marks_generated_actions(self) -> bool:
        """Whether the client knows the tag for code actions made by a language model."""
        tags = get_capability(self._server.client_capabilities, "text_document.code_action.tag_support.value_set", ())
        return types.CodeActionTag.LlmGenerated in (tags or ())

    @property
    def edits_other_files(self) -> bool:
        """Whether the client applies edits of files that it has not open, and makes files that are missing."""
        kinds = get_capability(self._server.client_capabilities, "workspace.workspace_edit.resource_operations", ())
        return self.can("workspace.workspace_edit.document_changes") and types.ResourceOperationKind.Create in (kinds or ())

    @property
    def annotates_edits(self) -> bool:
        """Whether the client shows what an edit is for, and can ask the user before it is applied."""
        return self.can("workspace.workspace_edit.change_annotation_support")

    def workspace_edit(self, changes: Sequence[FileChange], label: str, *, confirm: bool) -> types.WorkspaceEdit:
        """The changes in the form that the client takes: with versions, so that it can refuse them, and with a label, where it takes that.

        confirm: ask the client to show them to the user first. Raises RequestError when a file is to be made and the client cannot do that.
        """
        if any(change.create for change in changes) and not self.edits_other_files:
            raise RequestError("This editor cannot make a file for a language server.", "Make the test file and try again.")
        if not self.can("workspace.workspace_edit.document_changes"):
            return types.WorkspaceEdit(changes={change.uri: list(change.edits) for change in changes})
        note = ANNOTATION if self.annotates_edits else None
        found: list[Any] = []
        for change in changes:
            if change.create:
                found.append(types.CreateFile(uri=change.uri, options=types.CreateFileOptions(ignore_if_exists=True), annotation_id=note))
            edits = [types.AnnotatedTextEdit(note, edit.range, edit.new_text) for edit in change.edits] if note else list(change.edits)
            found.append(types.TextDocumentEdit(types.OptionalVersionedTextDocumentIdentifier(uri=change.uri, version=change.version), edits))
        notes = {note: types.ChangeAnnotation(label, needs_confirmation=confirm, description="Qwen-Coder")} if note else None
        return types.WorkspaceEdit(document_changes=found, change_annotations=notes)

    async def open(self, uri: str) -> bool:
        """Whether the client showed a document to the user, without taking the cursor there."""
        if not self.can("window.show_document.support"):
            return False
        try:
            return (await self._server.window_show_document_async(types.ShowDocumentParams(uri, take_focus=False))).success
        except JsonRpcException as error:
            log.info("the editor did not show a document: %s", type(error).__name__)
            return False

    async def refresh_content(self, uri: str) -> None:
        """Tell the client that the text of a document of ours is another."""
        try:
            await self._server.workspace_text_document_content_refresh_async(types.TextDocumentContentRefreshParams(uri))
        except JsonRpcException as error:  # it shows what it had
            log.info("the editor refused to refresh a document: %s", type(error).__name__)

    def show(self, kind: types.MessageType, text: str) -> None:
        """Show a message to the user."""
        self._server.window_show_message(types.ShowMessageParams(kind, text))

    def show_error(self, error: QwencoderError) -> None:
        """Show what happened and what to do next."""
        self.show(types.MessageType.Error, str(error))

    async def ask(self, text: str, *actions: str) -> str | None:
        """The title of the action that the user chose, or None."""
        items = [types.MessageActionItem(title) for title in actions]
        try:
            answer = await self._server.window_show_message_request_async(types.ShowMessageRequestParams(types.MessageType.Info, text, items))
        except JsonRpcException as error:  # a client without dialogues
            log.info("the editor did not show a question: %s", type(error).__name__)
            return None
        return answer.title if answer else None

    async def apply(self, edit: types.WorkspaceEdit, label: str) -> bool:
        """Whether the client applied the edit."""
        result = await self._server.workspace_apply_edit_async(types.ApplyWorkspaceEditParams(edit, label))
        return result.applied

    async def configuration(self, section: str, scopes: Sequence[str | None]) -> Sequence[Any]:
        """The client's settings of a section, one value per scope URI (None: no scope). Raises JsonRpcException."""
        items = [types.ConfigurationItem(scope_uri=scope, section=section) for scope in scopes]
        return await self._server.workspace_configuration_async(types.ConfigurationParams(items))

    async def register(self, method: str, options: Any) -> None:
        """Ask the client for notifications that it sends only on request."""
        registration = types.Registration(id=method, method=method, register_options=options)
        try:
            await self._server.client_register_capability_async(types.RegistrationParams([registration]))
        except JsonRpcException as error:  # it announced dynamic registration and refuses; we only lose a notification
            log.info("the editor refused to register %s: %s", method, type(error).__name__)

    def publish(self, uri: str, version: int | None, diagnostics: Sequence[types.Diagnostic]) -> None:
        """Push all diagnostics of a document."""
        self._server.text_document_publish_diagnostics(types.PublishDiagnosticsParams(uri, diagnostics, version))

    async def refresh_diagnostics(self) -> None:
        """Ask a client that pulls diagnostics to pull them again."""
        try:
            await self._server.workspace_diagnostic_refresh_async(None)
        except JsonRpcException as error:  # it will pull at the next edit
            log.info("the editor refused to refresh diagnostics: %s", type(error).__name__)

    async def refresh_lenses(self) -> None:
        """Ask a client that shows code lenses to ask for them again."""
        if not self.can("workspace.code_lens.refresh_support"):
            return
        try:
            await self._server.workspace_code_lens_refresh_async(None)
        except JsonRpcException as error:  # it will ask at the next edit
            log.info("the editor refused to refresh code lenses: %s", type(error).__name__)

    def tell_status(self, status: dict[str, Any]) -> None:
        """Send the status in our own form, and in the one that Copilot's clients know (`didChangeStatus`)."""
        if self.takes_status:
            self._server.protocol.notify("qwencoder/status", status)
            self._server.protocol.notify("didChangeStatus", {name: status[name] for name in ("busy", "message", "kind")})

    async def create_progress(self, token: str) -> bool:
        """Whether the client shows progress under this token from now on."""
        if not self.can("window.work_done_progress"):
            return False
        try:
            await asyncio.wait_for(asyncio.shield(self._server.work_done_progress.create_async(token)), CREATE_PROGRESS_S)
        except (JsonRpcException, asyncio.TimeoutError):  # shown or not, the work goes on
            return False
        return True

    def progress(self, token: str, value: types.WorkDoneProgressBegin | types.WorkDoneProgressReport | types.WorkDoneProgressEnd) -> None:
        """Send one progress value."""
        self._server.protocol.notify(types.PROGRESS, types.ProgressParams(token, value))

    def on_progress_cancelled(self, token: str, cancel: Any) -> None:
        """Call `cancel()` when the user cancels the progress of that token."""
        future = self._server.work_done_progress.tokens[token]
        future.add_done_callback(lambda f: cancel() if f.cancelled() else None)

    def forget_progress(self, token: str) -> None:
        """The token is used no more."""
        self._server.work_done_progress.tokens.pop(token, None)
