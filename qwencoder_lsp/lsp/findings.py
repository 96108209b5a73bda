"""Review findings that move with the text and vanish when their code is edited.

In: the findings of a review and every later edit. Out: the findings that still stand, with spans in the current text. Pure bookkeeping:
knows neither editors nor models. A change of what the editor would show is a new `version`, which serves as the LSP result id.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from qwencoder_lsp.core.results import Finding
from qwencoder_lsp.core.text import Edit, Span, moved


@dataclass(frozen=True, slots=True)
class FileFindings:
    """What stands in one document."""

    version: int
    findings: tuple[Finding, ...]


class Findings:
    """The standing findings of all documents, by URI."""

    def __init__(self) -> None:
        self._files: dict[str, FileFindings] = {}
        self._dismissed: dict[str, set[tuple[str, str | None]]] = {}
        self._versions = 0

    def of(self, uri: str) -> FileFindings:
        """The standing findings of a document; version 0 where there never were any."""
        return self._files.get(uri, FileFindings(0, ()))

    def uris(self) -> list[str]:
        """The documents that have or had findings."""
        return list(self._files)

    def get(self, uri: str, id_: str) -> Finding | None:
        """The finding of that id, if it still stands."""
        return next((f for f in self.of(uri).findings if f.id == id_), None)

    def near(self, uri: str, span: Span) -> list[Finding]:
        """The findings that overlap or touch `span`."""
        return [f for f in self.of(uri).findings if f.span.start <= span.end and span.start <= f.span.end]

    def put(self, uri: str, findings: Iterable[Finding], within: Span | None = None) -> None:
        """Take the findings of a review of `within`, or of the whole document when it is None, in place of the older ones there; but for those that
        say again what was dismissed."""
        findings = (f for f in findings if (f.quote, f.replacement) not in self._dismissed.get(uri, ()))
        kept = () if within is None else (f for f in self.of(uri).findings if f.span.end <= within.start or f.span.start >= within.end)
        self._set(uri, tuple(sorted((*kept, *findings), key=lambda f: (f.span.start, f.span.end))))

    def edit(self, uri: str, edit: Edit) -> bool:
        """Follow an edit. True when a finding moved or vanished."""
        before = self.of(uri).findings
        after = move_findings(before, edit)
        if after == before:
            return False
        self._set(uri, after)
        return True

    def dismiss(self, uri: str, id_: str) -> bool:
        """Drop one finding, and have no later review of the same code bring it back. True when it stood."""
        finding = self.get(uri, id_)
        if finding is None:
            return False
        self._dismissed.setdefault(uri, set()).add((finding.quote, finding.replacement))
        self._set(uri, tuple(f for f in self.of(uri).findings if f.id != id_))
        return True

    def forget(self, uri: str) -> bool:
        """Drop a document's findings. True when there were any."""
        had = bool(self.of(uri).findings)
        if had:
            self._set(uri, ())
        return had

    def _set(self, uri: str, findings: tuple[Finding, ...]) -> None:
        self._versions += 1
        self._files[uri] = FileFindings(self._versions, findings)


def move_findings(findings: Iterable[Finding], *edits: Edit) -> tuple[Finding, ...]:
    """The findings that survive the edits, one after the other, with their spans moved."""
    standing = tuple(findings)
    for edit in edits:
        standing = tuple(replace(f, span=span) for f in standing if (span := moved(f.span, edit)))
    return standing
