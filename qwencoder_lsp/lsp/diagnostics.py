"""Review findings as diagnostics: pushed, or served when the client asks for them and can be told to ask again; never both.

In: findings and edits. Out: diagnostics with source "qwencoder". Knows nothing of how findings come about.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path

from lsprotocol import types

from qwencoder_lsp.core.results import Finding, Severity
from qwencoder_lsp.core.text import Edit, Span
from qwencoder_lsp.lsp.documents import Document, Documents
from qwencoder_lsp.lsp.editor import Editor
from qwencoder_lsp.lsp.findings import Findings
from qwencoder_lsp.lsp.tasks import spawn

SOURCE = "qwencoder"
CATEGORIES = Path(__file__).with_name("categories.md").as_uri()  # on this machine, where it can be read without a network

_SEVERITIES = {
    Severity.ERROR: types.DiagnosticSeverity.Error,
    Severity.WARNING: types.DiagnosticSeverity.Warning,
    Severity.INFO: types.DiagnosticSeverity.Information,
}


class Diagnostics:
    """The standing findings, and what the editor knows of them."""

    def __init__(self, editor: Editor, documents: Documents) -> None:
        self.findings = Findings()
        self._editor = editor
        self._documents = documents
        self._to_publish: set[str] = set()
        documents.follow(self._edited)

    def put(self, uri: str, findings: Iterable[Finding], within: Span | None) -> None:
        """Show the findings of a review of `within` (None: the whole document) in place of the older ones there."""
        self.findings.put(uri, findings, within)
        self._changed(uri)

    def dismiss(self, uri: str, id_: str) -> None:
        """Take one finding away for as long as its code stays as it is; nothing happens when it has gone already."""
        if self.findings.dismiss(uri, id_):
            self._changed(uri)

    def report(self, params: types.DocumentDiagnosticParams) -> types.DocumentDiagnosticReport:
        """The answer to a pull: unchanged when the client has this state already."""
        document = self._documents.get(params.text_document.uri)
        if document is None or not self._editor.pulls_diagnostics:
            return types.RelatedFullDocumentDiagnosticReport(items=[])
        result_id = str(self.findings.of(document.uri).version)
        if params.previous_result_id == result_id:
            return types.RelatedUnchangedDocumentDiagnosticReport(result_id)
        return types.RelatedFullDocumentDiagnosticReport(items=self._of(document), result_id=result_id)

    def report_all(self, params: types.WorkspaceDiagnosticParams) -> types.WorkspaceDiagnosticReport:
        """The answer to a pull of the workspace: every document whose state is not the one that the client has."""
        if not self._editor.pulls_diagnostics:
            return types.WorkspaceDiagnosticReport([])
        had = {previous.uri: previous.value for previous in params.previous_result_ids}
        changed = []
        for uri in sorted({*self.findings.uris(), *had}):
            state, document = self.findings.of(uri), self._documents.get(uri)
            if had.get(uri) != str(state.version):
                items = self._of(document) if document else []
                version = document.version if document else None
                changed.append(types.WorkspaceFullDocumentDiagnosticReport(uri, items, version, result_id=str(state.version)))
        return types.WorkspaceDiagnosticReport(changed)

    def closed(self, uri: str) -> None:
        """The document was closed: its findings can no longer be followed."""
        if self.findings.forget(uri) and not self._editor.pulls_diagnostics:
            self._editor.publish(uri, None, [])

    def _edited(self, uri: str, edit: Edit) -> None:
        if self.findings.edit(uri, edit) and not self._editor.pulls_diagnostics and uri not in self._to_publish:
            self._to_publish.add(uri)
            asyncio.get_running_loop().call_soon(self._publish, uri)  # once, after all changes of this notification

    def _changed(self, uri: str) -> None:
        if self._editor.pulls_diagnostics:
            spawn(self._editor.refresh_diagnostics())
        else:
            self._publish(uri)

    def _publish(self, uri: str) -> None:
        self._to_publish.discard(uri)
        if document := self._documents.get(uri):
            self._editor.publish(document.uri, document.version, self._of(document))

    def _of(self, document: Document) -> list[types.Diagnostic]:
        return [diagnostic(document, finding) for finding in self.findings.of(document.uri).findings]


def diagnostic(document: Document, finding: Finding) -> types.Diagnostic:
    """A finding as a diagnostic; `data` carries its id, so that code actions find it again."""
    return types.Diagnostic(
        range=document.range(finding.span),
        message=finding.message,
        severity=_SEVERITIES[finding.severity],
        code=finding.category,
        code_description=types.CodeDescription(f"{CATEGORIES}#{finding.category}"),
        source=SOURCE,
        data={"id": finding.id},
    )
