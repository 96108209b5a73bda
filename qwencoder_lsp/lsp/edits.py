"""Carries out what a code action or a command asks for: the model is asked, and a workspace edit comes out.

The edit is refused when the document changed meanwhile. Nothing is written here: the editor applies the edit, and can undo it in one step.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lsprotocol import types
from pygls.uris import from_fs_path

from qwencoder_lsp.core.report import Reason, Timings
from qwencoder_lsp.core.results import Finding, Fix
from qwencoder_lsp.core.text import Snapshot
from qwencoder_lsp.errors import QwencoderError, RequestError, StaleDocument
from qwencoder_lsp.lsp.diagnostics import Diagnostics
from qwencoder_lsp.lsp.documents import Document
from qwencoder_lsp.lsp.editor import FileChange
from qwencoder_lsp.lsp.progress import ProgressBar, with_progress
from qwencoder_lsp.lsp.session import Session
from qwencoder_lsp.lsp.targets import DiagnosticTarget, EditTarget, FindingTarget, RefactorTarget, Target
from qwencoder_lsp.observe.trace import Trace

if TYPE_CHECKING:
    from qwencoder_lsp.features.fix_all import Problem
    from qwencoder_lsp.features.generate_tests import Tests
    from qwencoder_lsp.gateway.client import GatewayClient
    from qwencoder_lsp.settings import Settings

LARGEST = 4 << 20  # bytes of a test file that is added to
TESTS, DOCUMENT = "tests", "document"  # refactorings that are features of their own


class Edits:
    """Turns targets into workspace edits."""

    def __init__(self, session: Session, diagnostics: Diagnostics) -> None:
        self._session = session
        self._diagnostics = diagnostics

    async def edit(self, target: Target) -> types.WorkspaceEdit | None:
        """The edit that carries out `target`; None when the user cancelled it. Raises QwencoderError, StaleDocument when the document changed."""
        document = self._session.documents.get(target.uri)
        if document is None:
            raise RequestError("Only a file that is open in the editor can be changed.", "Open it and try again.")
        started, revision, snapshot = time.perf_counter(), document.revision, self._session.documents.snapshot(document)
        feature, title = _feature(target)
        try:
            if not isinstance(target, FindingTarget) and target.revision != revision:
                raise StaleDocument("The file was changed since this was offered.", "Open the list of actions again.")
            settings = await self._session.configuration.settings(snapshot.root)
            made = await with_progress(self._session.editor, title, lambda bar: self._make(document, snapshot, target, settings, bar))
            if made and not self._session.documents.is_current(document, revision):
                raise StaleDocument("The file was changed while the edit was made, so it was not applied.", "Ask for it again.")
            edit = self._workspace_edit(document, snapshot, made, settings) if made else None
        except QwencoderError as error:
            self._trace(feature, Reason.STALE if isinstance(error, StaleDocument) else Reason.ERROR, started, error.code)
            raise
        self._trace(feature, Reason.SHOWN if made else Reason.CANCELLED, started, "", made)
        return edit

    async def apply(self, target: Target) -> None:
        """Compute the edit and have the editor apply it. Raises QwencoderError, StaleDocument when the editor refuses."""
        edit = await self.edit(target)
        if edit and not await self._session.editor.apply(edit, _feature(target)[1]):
            raise StaleDocument("The editor did not apply the edit.", "The file may have changed meanwhile; try again.")

    async def _make(self, document: Document, snapshot: Snapshot, target: Target, settings: Settings, bar: ProgressBar) -> Fix | Tests:
        return await self._session.connection.run(self._work(document, snapshot, target, settings, bar), explicit=True)

    def _work(
        self, document: Document, snapshot: Snapshot, target: Target, settings: Settings, bar: ProgressBar
    ) -> Callable[[GatewayClient], Coroutine[Any, Any, Fix | Tests]]:
        from qwencoder_lsp.features import document as documentation
        from qwencoder_lsp.features import fix, fix_all, generate_tests, refactor

        if isinstance(target, FindingTarget):
            finding = self._finding(target)
            return lambda client: fix.fix_finding(snapshot, finding, client, settings)
        if isinstance(target, DiagnosticTarget):
            shown = target
            return lambda client: fix.fix_diagnostic(snapshot, shown.span, shown.message, shown.source, shown.code, client, settings)
        if isinstance(target, EditTarget):
            return lambda client: refactor.edit(snapshot, target.span, target.instruction, client, settings)
        if isinstance(target, RefactorTarget) and target.name == TESTS:
            return lambda client: generate_tests.generate_tests(snapshot, target.span, self._read, client, settings)
        if isinstance(target, RefactorTarget) and target.name == DOCUMENT:
            return lambda client: documentation.document(snapshot, target.span, client, settings)
        if isinstance(target, RefactorTarget):
            return lambda client: refactor.refactor(snapshot, target.span, target.name, client, settings)
        problems: list[Finding | Problem] = [*self._diagnostics.findings.of(document.uri).findings]
        problems += [fix_all.Problem(d.span, d.message, d.source, d.code) for d in target.diagnostics]

        async def everything(client: GatewayClient) -> Fix:
            count = len(problems)
            told = bar.report
            repair = await fix_all.fix_all(snapshot, problems, client, settings, lambda done: told(f"{done} of {count}", 100 * done // count))
            if repair.fixed < repair.problems:
                self._session.editor.show(types.MessageType.Info, f"Qwen-Coder fixed {repair.fixed} of {repair.problems} problems.")
            return repair.fix

        return everything

    def _finding(self, target: FindingTarget) -> Finding:
        finding = self._diagnostics.findings.get(target.uri, target.id)
        if finding is None:
            raise StaleDocument("The code of this finding was changed.", "Review the file again.")
        return finding

    def _read(self, path: Path) -> str | None:
        """The text of a test file: as the editor has it, else as it is on disk; None when there is none."""
        if document := self._session.documents.get(from_fs_path(str(path)) or ""):
            return document.source
        try:
            if path.stat().st_size > LARGEST:
                raise RequestError(f"{path.name} is too large to be added to.", "Move some of its tests into another file.")
            return path.read_bytes().decode("utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise RequestError(f"{path.name} cannot be read ({type(error).__name__}).", "Open it in the editor and try again.") from error

    def _workspace_edit(self, document: Document, snapshot: Snapshot, made: Fix | Tests, settings: Settings) -> types.WorkspaceEdit:
        if isinstance(made, Fix):
            change = FileChange(document.uri, snapshot.version, [types.TextEdit(document.range(edit.span), edit.text) for edit in made.edits])
            return self._session.editor.workspace_edit([change], made.title, confirm=settings.review.preview)
        uri = from_fs_path(str(made.path)) or ""
        target = self._session.documents.get(uri)
        if self._read(made.path) != (None if made.new else made.before):
            raise StaleDocument(f"{made.path.name} was changed while the tests were made, so it was not touched.", "Ask for them again.")
        where = target or self._session.documents.detached(uri, made.before)
        change = FileChange(
            uri, target.version if target else None, [types.TextEdit(where.range(edit.span), edit.text) for edit in made.edits], create=made.new
        )
        return self._session.editor.workspace_edit([change], f"Tests with {made.framework}", confirm=settings.review.preview)

    def _trace(self, feature: str, reason: Reason, started: float, detail: str, made: Fix | Tests | None = None) -> None:
        model, timings = (made.model, made.timings) if made else ("", Timings())
        self._session.traces.add(Trace("-", feature, reason, detail, model, timings=timings, total_ms=(time.perf_counter() - started) * 1000))


def _feature(target: Target) -> tuple[str, str]:
    """The name of what is asked for in traces, and the title of its progress."""
    if isinstance(target, RefactorTarget):
        return target.name, {TESTS: "Writing tests", DOCUMENT: "Writing documentation"}.get(target.name, "Rewriting with Qwen-Coder")
    if isinstance(target, EditTarget):
        return "edit", "Rewriting with Qwen-Coder"
    return "fix", "Fixing with Qwen-Coder"
