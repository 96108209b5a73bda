"""Hover on a finding: the whole reason, and the suggested change. In: a place. Out: Markdown, or plain text where the client has no Markdown."""

from __future__ import annotations

from lsprotocol import types

from qwencoder_lsp.core.results import Finding
from qwencoder_lsp.core.text import Span
from qwencoder_lsp.lsp.diagnostics import Diagnostics
from qwencoder_lsp.lsp.session import Session


class Hovers:
    """Answers textDocument/hover where a finding stands."""

    def __init__(self, session: Session, diagnostics: Diagnostics) -> None:
        self._session = session
        self._diagnostics = diagnostics

    def at(self, params: types.HoverParams) -> types.Hover | None:
        """The findings at a position; None where there is none, so that other servers' hovers stand alone."""
        document = self._session.documents.get(params.text_document.uri)
        if document is None:
            return None
        offset = document.offset(params.position)
        found = self._diagnostics.findings.near(document.uri, Span(offset, offset))
        if not found:
            return None
        markdown = types.MarkupKind.Markdown in (self._session.editor.get("text_document.hover.content_format") or ())
        kind = types.MarkupKind.Markdown if markdown else types.MarkupKind.PlainText
        text = "\n\n".join(_markdown(finding) if markdown else _plain(finding) for finding in found)
        return types.Hover(types.MarkupContent(kind, text), document.range(found[0].span))


def _plain(finding: Finding) -> str:
    return f"Qwen-Coder, {finding.category} ({finding.severity.value}): {finding.message}"


def _markdown(finding: Finding) -> str:
    lines = [f"**Qwen-Coder** {finding.category} ({finding.severity.value})", "", _escaped(finding.message)]
    if finding.replacement is not None:
        fence = "`" * max(3, 1 + max((len(run) for run in _runs(finding.quote + finding.replacement)), default=0))
        lines += ["", f"{fence}diff", *(f"- {line}" for line in finding.quote.splitlines())]
        lines += [*(f"+ {line}" for line in finding.replacement.splitlines()), fence]
    return "\n".join(lines)


def _escaped(text: str) -> str:
    """The model's words as text: no links, images or HTML of its own."""
    return "".join("\\" + c if c in "\\`*_{}[]<>()#!|" else c for c in text)


def _runs(text: str) -> list[str]:
    return ["`" * len(run) for run in "".join(c if c == "`" else " " for c in text).split()]
