"""Documents and places in them.

Offsets count Unicode code points from the start of the text, as Python strings do. The LSP position encodings are known to `lsp/` alone.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Span:
    """A half-open range of code points, `start <= end`."""

    start: int
    end: int

    def of(self, text: str) -> str:
        """The covered part of `text`."""
        return text[self.start : self.end]


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace `span` by `text`."""

    span: Span
    text: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A document as it was at one moment.

    path: absolute path of a document on disk, or None (untitled documents).
    root: absolute path of the workspace folder that holds it, or None.
    version: the editor's version number, or None outside an editor.
    """

    uri: str
    text: str
    language: str = ""
    path: str | None = None
    root: str | None = None
    version: int | None = None

    @property
    def newline(self) -> str:
        """The line ending that the document uses: "\\r\\n" when its first line ends so, "\\n" otherwise."""
        first = self.text.find("\n")
        return "\r\n" if first > 0 and self.text[first - 1] == "\r" else "\n"


def moved(span: Span, edit: Edit) -> Span | None:
    """`span` after `edit`, or None when the edit changed something inside it. Text inserted at either end of the span leaves it whole."""
    if not edit.text and edit.span.start == edit.span.end:  # editors do send edits that change nothing
        return span
    if edit.span.end <= span.start:
        shift = len(edit.text) - (edit.span.end - edit.span.start)
        return Span(span.start + shift, span.end + shift)
    return span if edit.span.start >= span.end else None


def grown(span: Span, *edits: Edit) -> Span:
    """The region that `span` became: edits inside it and across its ends belong to it."""
    start, end = span.start, span.end
    for edit in edits:
        shift = len(edit.text) - (edit.span.end - edit.span.start)
        before, behind = edit.span.end <= start, edit.span.start >= end
        start, end = (
            start + shift if before else min(start, edit.span.start) if not behind else start,
            end if behind and not before else max(end, edit.span.end) + shift,
        )
    return Span(start, end)


def apply_edits(text: str, edits: list[Edit] | tuple[Edit, ...]) -> str:
    """`text` with all edits applied; spans refer to the original text and must not overlap.

    Raises ValueError when two spans overlap.
    """
    out: list[str] = []
    at = 0
    for edit in sorted(edits, key=lambda e: (e.span.start, e.span.end)):
        if edit.span.start < at:
            raise ValueError("edits overlap")
        out += (text[at : edit.span.start], edit.text)
        at = edit.span.end
    out.append(text[at:])
    return "".join(out)
