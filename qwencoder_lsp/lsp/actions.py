"""Code actions: fix a finding of ours, fix what another server reports, review the file.

In: the code action requests and the commands behind them. Out: actions at once and without the model; the edit is computed when an action is chosen,
by `codeAction/resolve` or, in editors without that, by a command that applies it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from lsprotocol import types

from qwencoder_lsp.core.report import Reason, Timings
from qwencoder_lsp.core.results import Fix
from qwencoder_lsp.core.text import Snapshot
from qwencoder_lsp.errors import QwencoderError, RequestError, StaleDocument
from qwencoder_lsp.lsp.diagnostics import SOURCE, Diagnostics
from qwencoder_lsp.lsp.documents import Document
from qwencoder_lsp.lsp.progress import with_progress
from qwencoder_lsp.lsp.session import Session
from qwencoder_lsp.lsp.targets import DiagnosticTarget, FindingTarget, Target, parse, range_as_json
from qwencoder_lsp.observe.trace import Trace

FIX, REVIEW = "qwencoder.fix", "qwencoder.review"
REVIEW_KIND = "source.qwencoder.review"  # in VS Code's "Source Action" menu, not in every light bulb
SELECTION_KIND = "qwencoder.review"
KINDS = (types.CodeActionKind.QuickFix, REVIEW_KIND, SELECTION_KIND)
TITLE = 80
FOREIGN = 5  # diagnostics of other servers that get an action; more would bury the editor's own menu


class Actions:
    """Lists, resolves and applies code actions."""

    def __init__(self, session: Session, diagnostics: Diagnostics) -> None:
        self._session = session
        self._diagnostics = diagnostics

    def at(self, params: types.CodeActionParams) -> Sequence[types.CodeAction | types.Command]:
        """The actions at a range."""
        document = self._session.documents.get(params.text_document.uri)
        if document is None:
            return []
        found = [*self._finding_fixes(document, params), *self._foreign_fixes(document, params), *self._reviews(document, params)]
        only = params.context.only
        wanted = [a for a in found if not only or any(f"{_value(a.kind)}.".startswith(f"{_value(kind)}.") for kind in only)]
        if self._session.editor.can("text_document.code_action.code_action_literal_support"):
            return wanted
        return [a.command for a in wanted if a.command]

    async def resolve(self, action: types.CodeAction) -> types.CodeAction:
        """The action with its edit. When there is none, the user is told why and the action comes back as it was."""
        try:
            action.edit = await self._edit(parse(action.data))
        except QwencoderError as error:
            self._session.editor.show_error(error)
        return action

    async def apply(self, data: Any) -> None:
        """The command behind a fix in editors that cannot resolve: compute the edit and have the editor apply it."""
        try:
            edit = await self._edit(parse(data))
            if edit and not await self._session.editor.apply(edit, "Qwen-Coder fix"):
                raise StaleDocument("The editor did not apply the fix.", "The file may have changed meanwhile; try again.")
        except QwencoderError as error:
            self._session.editor.show_error(error)

    def _finding_fixes(self, document: Document, params: types.CodeActionParams) -> Sequence[types.CodeAction]:
        fixes = []
        findings = self._diagnostics.findings
        # Neovim asks with the cursor's column alone, but names the diagnostics of the whole line
        named = {d.data["id"] for d in params.context.diagnostics if isinstance(d.data, dict) and isinstance(d.data.get("id"), str)}
        near = {f.id: f for f in findings.near(document.uri, document.span(params.range))}
        listed = {i: f for i in named if (f := findings.get(document.uri, i))}
        for finding in {**near, **listed}.values():
            shown = [d for d in params.context.diagnostics if isinstance(d.data, dict) and d.data.get("id") == finding.id]
            target = FindingTarget(document.uri, finding.id)
            fixes.append(self._fix(f"Fix: {finding.message}", target, shown))
        return fixes

    def _foreign_fixes(self, document: Document, params: types.CodeActionParams) -> Sequence[types.CodeAction]:
        fixes = []
        for shown in [d for d in params.context.diagnostics if d.source != SOURCE][:FOREIGN]:
            message = shown.message if isinstance(shown.message, str) else shown.message.value
            code = "" if shown.code is None else str(shown.code)
            target = DiagnosticTarget(document.uri, document.revision, document.span(shown.range), message, shown.source or "", code)
            fixes.append(self._fix(f"Fix with Qwen-Coder: {message}", target, [shown]))
        return fixes

    def _fix(self, title: str, target: Target, shown: Sequence[types.Diagnostic]) -> types.CodeAction:
        line = " ".join(title.split())
        line = line if len(line) <= TITLE else line[: TITLE - 1] + "…"
        action = types.CodeAction(title=line, kind=types.CodeActionKind.QuickFix, diagnostics=shown)
        if self._session.editor.resolves_edits:
            action.data = target.as_json()
        else:
            action.command = types.Command(title=line, command=FIX, arguments=[target.as_json()])
        if self._session.editor.marks_generated_actions:
            action.tags = [types.CodeActionTag.LlmGenerated]
        return action

    def _reviews(self, document: Document, params: types.CodeActionParams) -> Sequence[types.CodeAction]:
        whole = types.Command(title="Review this file with Qwen-Coder", command=REVIEW, arguments=[document.uri])
        actions = [types.CodeAction(title=whole.title, kind=REVIEW_KIND, command=whole)]
        if params.range.start != params.range.end:
            part = types.Command(title="Review the selection with Qwen-Coder", command=REVIEW, arguments=[document.uri, range_as_json(params.range)])
            actions.append(types.CodeAction(title=part.title, kind=SELECTION_KIND, command=part))
        return actions

    async def _edit(self, target: Target) -> types.WorkspaceEdit | None:
        """The edit that carries out a fix; None when the user cancelled it. Raises StaleDocument when the document changed meanwhile."""
        document = self._session.documents.get(target.uri)
        if document is None:
            raise RequestError("Only a file that is open in the editor can be fixed.", "Open it and try again.")
        started, revision, snapshot = time.perf_counter(), document.revision, self._session.documents.snapshot(document)
        try:
            if isinstance(target, DiagnosticTarget) and target.revision != revision:
                raise StaleDocument("The file was changed since this fix was offered.", "Open the list of actions again.")
            fix = await with_progress(self._session.editor, "Fixing with Qwen-Coder", lambda _: self._make(snapshot, target))
            if fix and not self._session.documents.is_current(document, revision):
                raise StaleDocument("The file was changed while the fix was made, so it was not applied.", "Ask for the fix again.")
        except QwencoderError as error:
            self._trace(Reason.STALE if isinstance(error, StaleDocument) else Reason.ERROR, started, error.code)
            raise
        self._trace(Reason.SHOWN if fix else Reason.CANCELLED, started, "", fix)
        if fix is None:
            return None
        edits = [types.TextEdit(document.range(edit.span), edit.text) for edit in fix.edits]
        return self._session.editor.workspace_edit(document.uri, snapshot.version, edits)

    async def _make(self, snapshot: Snapshot, target: Target) -> Fix:
        from qwencoder_lsp.features.fix import fix_diagnostic, fix_finding

        settings = await self._session.configuration.settings(snapshot.root)
        if isinstance(target, FindingTarget):
            finding = self._diagnostics.findings.get(snapshot.uri, target.id)
            if finding is None:
                raise StaleDocument("The code of this finding was changed.", "Review the file again.")
            return await self._session.connection.run(lambda client: fix_finding(snapshot, finding, client, settings), explicit=True)
        return await self._session.connection.run(
            lambda client: fix_diagnostic(snapshot, target.span, target.message, target.source, target.code, client, settings), explicit=True
        )

    def _trace(self, reason: Reason, started: float, detail: str, fix: Fix | None = None) -> None:
        model, timings = (fix.model, fix.timings) if fix else ("", Timings())
        self._session.traces.add(Trace("-", "fix", reason, detail, model, timings=timings, total_ms=(time.perf_counter() - started) * 1000))


def _value(kind: types.CodeActionKind | str | None) -> str:
    """The kind as it is on the wire: lsprotocol gives members of its enumeration or plain strings, which format differently."""
    return kind.value if isinstance(kind, types.CodeActionKind) else kind or ""
