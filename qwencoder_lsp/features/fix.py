"""Fix: a problem in a document goes in, minimal edits that were verified come out.

The problem is a review finding, a diagnostic of any other tool, or only the suspicion that something is wrong. Edits nothing.
"""

from __future__ import annotations

from qwencoder_lsp.core.results import Finding, Fix
from qwencoder_lsp.core.text import Snapshot, Span
from qwencoder_lsp.errors import StaleDocument
from qwencoder_lsp.features.rewrite import Task, region_at, region_limit, rewrite
from qwencoder_lsp.gateway.client import Gateway
from qwencoder_lsp.postprocess.findings import locate
from qwencoder_lsp.postprocess.patch import minimal_edits, refusal, whole_lines
from qwencoder_lsp.settings import Settings

TITLE_LENGTH = 80


async def fix_finding(snapshot: Snapshot, finding: Finding, gateway: Gateway, settings: Settings) -> Fix:
    """Edits that repair `finding`: its own replacement when that still verifies against `snapshot`, else the model's.

    Raises StaleDocument when the quoted code is no longer there, else as `rewrite`.
    """
    span = finding.span
    if span.of(snapshot.text) != finding.quote:
        found = locate(snapshot.text, finding.quote, span.start)
        if found is None:
            raise StaleDocument("The code of this finding is no longer in the document.", "Review it again.")
        span = found
    title = fix_title(finding.message)
    if finding.replacement is not None:
        region = whole_lines(snapshot.text, span)
        new = snapshot.text[region.start : span.start] + finding.replacement + snapshot.text[span.end : region.end]
        edits = minimal_edits(snapshot.text, region, new, snapshot.newline)
        if refusal(snapshot.text, edits, region, snapshot.language) is None:
            return Fix(edits, title, calls=0)
    return await _fix(snapshot, span, finding.message, title, gateway, settings)


async def fix_diagnostic(snapshot: Snapshot, span: Span, message: str, source: str, code: str, gateway: Gateway, settings: Settings) -> Fix:
    """Edits that repair a diagnostic at `span`: its `message`, the tool that gave it (`source`, "ruff") and its `code` ("F841"), both possibly empty.

    Raises as `rewrite`.
    """
    name = " ".join(part for part in (source, code) if part)
    problem = " ".join(message.split()) + (f" ({name})" if name else "")
    return await _fix(snapshot, span, problem, fix_title(message), gateway, settings)


def fix_title(message: str) -> str:
    """What a menu calls the fix of a problem."""
    first = " ".join(message.split())
    return "Fix: " + (first if len(first) <= TITLE_LENGTH else first[: TITLE_LENGTH - 1].rstrip() + "…")


async def _fix(snapshot: Snapshot, span: Span, problem: str, title: str, gateway: Gateway, settings: Settings) -> Fix:
    line = whole_lines(snapshot.text, Span(span.start, span.start)).of(snapshot.text).strip()
    task = Task("fix", f"fix this problem: {problem}", {"problem": problem, "line": line})
    return await rewrite(snapshot, region_at(snapshot, span, region_limit(settings)), task, title, gateway, settings)
