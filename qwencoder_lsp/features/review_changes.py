"""Review of a change: a document and its changed lines go in, findings on those lines come out. What the change did not touch is read, not judged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from qwencoder_lsp.core.results import Finding, Review
from qwencoder_lsp.core.text import Snapshot, Span
from qwencoder_lsp.features.ask import add_timings, add_usage
from qwencoder_lsp.features.review import review
from qwencoder_lsp.gateway.client import Gateway
from qwencoder_lsp.postprocess.functions import function_at
from qwencoder_lsp.postprocess.patch import whole_lines
from qwencoder_lsp.settings import Settings


async def review_changes(snapshot: Snapshot, changed: Sequence[Span], gateway: Gateway, settings: Settings) -> Review:
    """The findings on the `changed` lines of `snapshot`, each reviewed with the function around it. Raises as `review`."""
    findings: list[Finding] = []
    parts: list[Review] = []
    dropped: Counter[str] = Counter()
    for region in regions(snapshot, changed):
        part = await review(snapshot, gateway, settings, region)
        parts.append(part)
        dropped.update(part.dropped)
        for finding in part.findings:
            lines = whole_lines(snapshot.text, finding.span)
            if any(lines.start < span.end and span.start < lines.end for span in changed):
                findings.append(finding)
            else:
                dropped["not on a changed line"] += 1
    most = settings.review.max_findings
    if len(findings) > most:
        dropped["more than review.max_findings"] += len(findings) - most
    model = next((part.model for part in parts if part.model), "")
    usage, timings = add_usage(part.usage for part in parts), add_timings(part.timings for part in parts)
    return Review(tuple(findings[:most]), dict(dropped), model, usage, timings, parts=sum(part.parts for part in parts))


def regions(snapshot: Snapshot, changed: Sequence[Span]) -> list[Span]:
    """What to show the model: the function around each changed span, else its lines; in the order of the text, without overlaps."""
    found: list[Span] = []
    for span in sorted(changed, key=lambda s: (s.start, s.end)):
        lines = whole_lines(snapshot.text, span)
        ends = (function_at(snapshot.text, snapshot.language, Span(at, at)) for at in (lines.start, max(lines.start, lines.end - 1)))
        around = [whole_lines(snapshot.text, function.span) for function in ends if function]
        region = Span(min([lines.start, *(s.start for s in around)]), max([lines.end, *(s.end for s in around)]))
        if found and region.start <= found[-1].end:
            last = found.pop()
            region = Span(last.start, max(last.end, region.end))
        if region.of(snapshot.text).strip():
            found.append(region)
    return found
