"""Code actions: fix a finding of ours, fix what another server reports, and what can be done with the code at the cursor.

In: the code action requests and the commands behind them. Out: actions at once and without the model; the edit is computed when an action is chosen,
by `codeAction/resolve` or, in editors without that, by a command that applies it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lsprotocol import types

from qwencoder_lsp.core.text import Span
from qwencoder_lsp.errors import QwencoderError, RequestError
from qwencoder_lsp.lsp.diagnostics import SOURCE, Diagnostics
from qwencoder_lsp.lsp.documents import Document
from qwencoder_lsp.lsp.edits import DOCUMENT, TESTS, Edits
from qwencoder_lsp.lsp.session import Session
from qwencoder_lsp.lsp.targets import (
    AllTarget,
    DiagnosticTarget,
    EditTarget,
    FindingTarget,
    RefactorTarget,
    Target,
    as_json,
    parse,
    range_as_json,
)

REVIEW_CHANGES = "qwencoder.reviewChanges"
FIX, REVIEW, EXPLAIN, REFACTOR, EDIT = "qwencoder.fix", "qwencoder.review", "qwencoder.explain", "qwencoder.refactor", "qwencoder.edit"
DISMISS = "qwencoder.dismiss"
REVIEW_KIND = "source.qwencoder.review"  # in VS Code's "Source Action" menu, not in every light bulb
FIX_ALL_KIND = "source.qwencoder.fixAll"  # not source.fixAll: editors run that when a file is saved
REFACTOR_KIND = "refactor.rewrite.qwencoder"
SELECTION_KIND, EXPLAIN_KIND, TESTS_KIND = "qwencoder.review", "qwencoder.explain", "qwencoder.tests"
DISMISS_KIND = "qwencoder.dismiss"  # not a quick fix: editors apply the only one there is without a menu
KINDS = (types.CodeActionKind.QuickFix, REFACTOR_KIND, REVIEW_KIND, FIX_ALL_KIND, SELECTION_KIND, EXPLAIN_KIND, TESTS_KIND, DISMISS_KIND)
TITLE = 80
FOREIGN = 5  # diagnostics of other servers that get an action; more would bury the editor's own menu
ALL = 30  # diagnostics of other servers that "fix all" takes on
LARGEST = 400_000  # code points of a document that is parsed for its menu


class Actions:
    """Lists, resolves and applies code actions."""

    def __init__(self, session: Session, diagnostics: Diagnostics) -> None:
        self._session = session
        self._diagnostics = diagnostics
        self._edits = Edits(session, diagnostics)

    def at(self, params: types.CodeActionParams) -> Sequence[types.CodeAction | types.Command]:
        """The actions at a range. Where the editor only asks for its light bulb, those for problems; the others are always possible."""
        document = self._session.documents.get(params.text_document.uri)
        if document is None:
            return []
        found = [*self._finding_fixes(document, params), *self._foreign_fixes(document, params)]
        if params.context.trigger_kind != types.CodeActionTriggerKind.Automatic:
            found += [*self._refactorings(document, params), *self._explanations(document, params)]
            found += [*self._reviews(document, params), *self._fix_all(document, params)]
        only = params.context.only
        wanted = [a for a in found if not only or any(f"{_value(a.kind)}.".startswith(f"{_value(kind)}.") for kind in only)]
        if self._session.editor.can("text_document.code_action.code_action_literal_support"):
            return wanted
        return [a.command for a in wanted if a.command]

    async def resolve(self, action: types.CodeAction) -> types.CodeAction:
        """The action with its edit. When there is none, the user is told why and the action comes back as it was."""
        try:
            action.edit = await self._edits.edit(parse(action.data))
        except QwencoderError as error:
            self._session.editor.show_error(error)
        return action

    async def apply(self, data: Any) -> None:
        """The command behind an action in editors that cannot resolve: compute the edit and have the editor apply it."""
        try:
            await self._edits.apply(parse(data))
        except QwencoderError as error:
            self._session.editor.show_error(error)

    def dismiss(self, uri: str, finding: str) -> None:
        """Take a finding away; the code stays as it is."""
        self._diagnostics.dismiss(uri, finding)

    async def refactor(self, uri: str, range_: types.Range, name: str) -> None:
        """Carry out a refactoring, "document" or "tests" at a range as it is now, and have the editor apply the edit."""
        await self._now(uri, range_, lambda d, span: RefactorTarget(d.uri, d.revision, span, name))

    async def edit(self, uri: str, range_: types.Range, instruction: str) -> None:
        """Carry out the user's instruction at a range as it is now, and have the editor apply the edit."""
        await self._now(uri, range_, lambda d, span: EditTarget(d.uri, d.revision, span, instruction))

    async def _now(self, uri: str, range_: types.Range, target: Callable[[Document, Span], Target]) -> None:
        try:
            document = self._session.documents.get(uri)
            if document is None:
                raise RequestError("Only a file that is open in the editor can be changed.", "Open it and try again.")
            await self._edits.apply(target(document, document.span(range_)))
        except QwencoderError as error:
            self._session.editor.show_error(error)

    def _finding_fixes(self, document: Document, params: types.CodeActionParams) -> Sequence[types.CodeAction]:
        fixes, dismissals = [], []
        findings = self._diagnostics.findings
        # Neovim asks with the cursor's column alone, but names the diagnostics of the whole line
        named = {d.data["id"] for d in params.context.diagnostics if isinstance(d.data, dict) and isinstance(d.data.get("id"), str)}
        near = {f.id: f for f in findings.near(document.uri, document.span(params.range))}
        listed = {i: f for i in named if (f := findings.get(document.uri, i))}
        for finding in {**near, **listed}.values():
            shown = [d for d in params.context.diagnostics if isinstance(d.data, dict) and d.data.get("id") == finding.id]
            fixes.append(self._action(f"Fix: {finding.message}", types.CodeActionKind.QuickFix, FindingTarget(document.uri, finding.id), shown))
            title = f"Dismiss: {finding.message}"
            dismissals.append(_command_action(title, DISMISS_KIND, DISMISS, [document.uri, finding.id], shown))
        return [*fixes, *dismissals]

    def _foreign_fixes(self, document: Document, params: types.CodeActionParams) -> Sequence[types.CodeAction]:
        return [
            self._action(f"Fix with Qwen-Coder: {target.message}", types.CodeActionKind.QuickFix, target, [shown])
            for shown in [d for d in params.context.diagnostics if d.source != SOURCE][:FOREIGN]
            for target in [self._foreign(document, shown)]
        ]

    def _foreign(self, document: Document, shown: types.Diagnostic) -> DiagnosticTarget:
        code = "" if shown.code is None else str(shown.code)
        return DiagnosticTarget(document.uri, document.revision, document.span(shown.range), message_of(shown), shown.source or "", code)

    def _fix_all(self, document: Document, params: types.CodeActionParams) -> Sequence[types.CodeAction]:
        foreign = [self._foreign(document, d) for d in params.context.diagnostics if d.source != SOURCE][:ALL]
        count = len(self._diagnostics.findings.of(document.uri).findings) + len(foreign)
        if count < 2:
            return []
        return [self._action(f"Fix all {count} problems with Qwen-Coder", FIX_ALL_KIND, AllTarget(document.uri, document.revision, tuple(foreign)))]

    def _refactorings(self, document: Document, params: types.CodeActionParams) -> Sequence[types.CodeAction]:
        from qwencoder_lsp.features import generate_tests, refactor
        from qwencoder_lsp.postprocess.functions import function_at

        if document.length > LARGEST:
            return []
        snapshot, span = self._session.documents.snapshot(document), document.span(params.range)
        offers = dict(refactor.offers(snapshot, span))
        function = function_at(snapshot.text, snapshot.language, span)
        if function and not function.documented:
            offers[DOCUMENT] = f"Document {function.name}"
        actions = [
            self._action(f"{title} with Qwen-Coder", f"{REFACTOR_KIND}.{name}", RefactorTarget(document.uri, document.revision, span, name))
            for name, title in offers.items()
        ]
        if (function or span.start < span.end) and self._session.editor.edits_other_files and generate_tests.possible(snapshot):
            title = f"Write tests for {function.name if function else 'the selection'} with Qwen-Coder"
            actions.append(self._action(title, TESTS_KIND, RefactorTarget(document.uri, document.revision, span, TESTS)))
        return actions

    def _explanations(self, document: Document, params: types.CodeActionParams) -> Sequence[types.CodeAction]:
        arguments: list[Any] = [document.uri, range_as_json(params.range)]
        actions = []
        for shown in params.context.diagnostics[:1]:
            problem = [document.uri, range_as_json(shown.range), message_of(shown)]
            actions.append(_command_action(f"Explain with Qwen-Coder: {message_of(shown)}", EXPLAIN_KIND, EXPLAIN, problem))
        if document.length:
            actions.append(_command_action("Explain this code with Qwen-Coder", EXPLAIN_KIND, EXPLAIN, arguments))
        return actions

    def _reviews(self, document: Document, params: types.CodeActionParams) -> Sequence[types.CodeAction]:
        actions = [_command_action("Review this file with Qwen-Coder (experimental)", REVIEW_KIND, REVIEW, [document.uri])]
        if params.range.start != params.range.end:
            part = [document.uri, range_as_json(params.range)]
            actions.append(_command_action("Review the selection with Qwen-Coder (experimental)", SELECTION_KIND, REVIEW, part))
        return actions

    def _action(
        self, title: str, kind: types.CodeActionKind | str, target: Target, shown: Sequence[types.Diagnostic] | None = None
    ) -> types.CodeAction:
        """An action whose edit the model makes once it is chosen."""
        line = _short(title)
        action = types.CodeAction(title=line, kind=kind, diagnostics=shown)
        if self._session.editor.resolves_edits:
            action.data = as_json(target)
        else:
            action.command = types.Command(title=line, command=FIX, arguments=[as_json(target)])
        if self._session.editor.marks_generated_actions:
            action.tags = [types.CodeActionTag.LlmGenerated]
        return action


def message_of(shown: types.Diagnostic) -> str:
    """The words of a diagnostic, whichever form they have."""
    return shown.message if isinstance(shown.message, str) else shown.message.value


def _command_action(title: str, kind: str, command: str, arguments: list[Any], shown: Sequence[types.Diagnostic] | None = None) -> types.CodeAction:
    line = _short(title)
    return types.CodeAction(title=line, kind=kind, diagnostics=shown, command=types.Command(title=line, command=command, arguments=arguments))


def _short(title: str) -> str:
    line = " ".join(title.split())
    return line if len(line) <= TITLE else line[: TITLE - 1] + "…"


def _value(kind: types.CodeActionKind | str | None) -> str:
    """The kind as it is on the wire: lsprotocol gives members of its enumeration or plain strings, which format differently."""
    return kind.value if isinstance(kind, types.CodeActionKind) else kind or ""
