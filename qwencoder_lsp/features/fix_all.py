"""Fix all: the problems of a document go in, the edits that repair as many of them as can be verified come out. Edits nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from qwencoder_lsp.core.results import Finding, Fix
from qwencoder_lsp.core.text import Edit, Snapshot, Span, apply_edits, moved
from qwencoder_lsp.errors import AnswerError, RequestError, StaleDocument
from qwencoder_lsp.features.fix import fix_diagnostic, fix_finding
from qwencoder_lsp.gateway.client import Gateway
from qwencoder_lsp.postprocess.patch import minimal_edits
from qwencoder_lsp.settings import Settings


@dataclass(frozen=True, slots=True)
class Problem:
    """A diagnostic of another tool: source "ruff", code "F841", both possibly empty."""

    span: Span
    message: str
    source: str = ""
    code: str = ""


@dataclass(frozen=True, slots=True)
class Repair:
    """The edits, and how many of the problems they are for. The others could not be fixed, or went with the code of one that could."""

    fix: Fix
    fixed: int
    problems: int


async def fix_all(
    snapshot: Snapshot, problems: Sequence[Finding | Problem], gateway: Gateway, settings: Settings, told: Callable[[int], None] = lambda _: None
) -> Repair:
    """Repair the problems one after the other, from the end of the text to its start. told: how many are done, after each.

    Raises AnswerError when none could be fixed, and whatever QwencoderError the gateway raises. Cancelling stops the generation.
    """
    now, left, fixed, calls, model = snapshot, sorted(problems, key=lambda p: p.span.start, reverse=True), 0, 0, ""
    total = len(left)
    while left:
        problem, *left = left
        try:
            fix = await _fix(now, problem, gateway, settings)
        except (AnswerError, RequestError, StaleDocument):  # this one stays; the others may still be fixed
            told(total - len(left))
            continue
        fixed, calls, model = fixed + 1, calls + fix.calls, model or fix.model
        now = replace(now, text=apply_edits(now.text, fix.edits))
        left = [after for other in left if (after := _follow(other, fix.edits))]
        told(total - len(left))
    if not fixed:
        raise AnswerError("None of the problems could be fixed.", "Try them one by one, or choose a larger model (model.chat).")
    edits = minimal_edits(snapshot.text, Span(0, len(snapshot.text)), now.text, snapshot.newline)
    return Repair(Fix(edits, f"Fix {fixed} of {total} problems", model, calls=calls), fixed, total)


async def _fix(snapshot: Snapshot, problem: Finding | Problem, gateway: Gateway, settings: Settings) -> Fix:
    if isinstance(problem, Finding):
        return await fix_finding(snapshot, problem, gateway, settings)
    return await fix_diagnostic(snapshot, problem.span, problem.message, problem.source, problem.code, gateway, settings)


def _follow(problem: Finding | Problem, edits: Sequence[Edit]) -> Finding | Problem | None:
    """The problem behind the edits, which refer to one text; None when one of them changed its code."""
    span: Span | None = problem.span
    for edit in sorted(edits, key=lambda e: e.span.start, reverse=True):
        span = moved(span, edit) if span else None
    return replace(problem, span=span) if span else None
