"""Fix: a problem in a document goes in, minimal edits that were verified come out.

The problem is a review finding or a diagnostic of any other tool. The model rewrites a region around it; the edits are the difference, and they are
refused when they would break the code. Knows nothing of editors; edits nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from qwencoder_lsp.core.results import Finding, Fix
from qwencoder_lsp.core.text import Edit, Snapshot, Span
from qwencoder_lsp.errors import AnswerError, RequestError, StaleDocument
from qwencoder_lsp.features.ask import Answer, ask, total_timings
from qwencoder_lsp.gateway.client import Gateway
from qwencoder_lsp.gateway.protocol import ChatRequest
from qwencoder_lsp.postprocess.fences import code_block
from qwencoder_lsp.postprocess.findings import locate
from qwencoder_lsp.postprocess.patch import minimal_edits, own_part, refusal, reindent, surrounding, whole_lines
from qwencoder_lsp.postprocess.syntax import FUNCTIONS, enclosing, statements
from qwencoder_lsp.prompt.fix import fix_messages, retry_messages
from qwencoder_lsp.settings import Settings

CHARS_PER_TOKEN = 2.4  # dense code; an answer as long as the region must fit max_tokens
CONTEXT_CHARS = 1500  # text shown around the region; more costs prefill time and adds little
TITLE_LENGTH = 80


@dataclass(frozen=True, slots=True)
class _Problem:
    """What is wrong, where, in words for the model and for the menu."""

    span: Span
    text: str
    title: str


async def fix_finding(snapshot: Snapshot, finding: Finding, gateway: Gateway, settings: Settings) -> Fix:
    """Edits that repair `finding`: its own replacement when that still verifies against `snapshot`, else the model's.

    Raises StaleDocument when the quoted code is no longer there, AnswerError when no answer of the model could be used, RequestError when the
    code is too long, and whatever QwencoderError the gateway raises.
    """
    span = finding.span
    if span.of(snapshot.text) != finding.quote:
        found = locate(snapshot.text, finding.quote, span.start)
        if found is None:
            raise StaleDocument("The code of this finding is no longer in the document.", "Review it again.")
        span = found
    title = _title(finding.message)
    if finding.replacement is not None:
        region = whole_lines(snapshot.text, span)
        new = snapshot.text[region.start : span.start] + finding.replacement + snapshot.text[span.end : region.end]
        edits = minimal_edits(snapshot.text, region, new, snapshot.newline)
        if refusal(snapshot.text, edits, region, snapshot.language) is None:
            return Fix(edits, title)
    return await _ask_for_fix(snapshot, _Problem(span, finding.message, title), gateway, settings)


async def fix_diagnostic(snapshot: Snapshot, span: Span, message: str, source: str, code: str, gateway: Gateway, settings: Settings) -> Fix:
    """Edits that repair a diagnostic at `span`: its `message`, the tool that gave it (`source`, "ruff") and its `code` ("F841"), both possibly empty.

    Raises AnswerError when no answer of the model could be used, RequestError when the code is too long, and whatever QwencoderError the
    gateway raises.
    """
    name = " ".join(part for part in (source, code) if part)
    problem = " ".join(message.split()) + (f" ({name})" if name else "")
    return await _ask_for_fix(snapshot, _Problem(span, problem, _title(message)), gateway, settings)


def fix_region(snapshot: Snapshot, span: Span, limit: int) -> Span:
    """The whole lines to rewrite for a problem at `span`: the enclosing function, else the enclosing statement, else the lines around it that
    indentation holds together; the first of them with at most `limit` code points. Raises RequestError when none has.
    """
    text, language = snapshot.text, snapshot.language
    line = whole_lines(text, span)
    at = line.start + len(line.of(text)) - len(line.of(text).lstrip())
    at = max(span.start, at) if span.start < line.end else at
    for node in (
        enclosing(text, language, at, FUNCTIONS, min_lines=2),
        enclosing(text, language, at, statements(language)),
        surrounding(text, span),
        line,
    ):
        if node is not None:
            region = whole_lines(text, Span(min(node.start, line.start), max(node.end, line.end)))
            if region.end - region.start <= limit:
                return region
    raise RequestError("The line with the problem is too long to be rewritten.", "Raise review.max_tokens, or fix it by hand.")


async def _ask_for_fix(snapshot: Snapshot, problem: _Problem, gateway: Gateway, settings: Settings) -> Fix:
    text = snapshot.text
    tokens = min(settings.review.max_tokens, max(64, (settings.engine.context - CONTEXT_CHARS) // 3))  # a retry holds the region three times
    region = fix_region(snapshot, problem.span, int(tokens * CHARS_PER_TOKEN))
    line = whole_lines(text, Span(problem.span.start, problem.span.start)).of(text)
    messages = fix_messages(region.of(text).replace("\r\n", "\n"), snapshot.language, problem.text, line, _context(text, region))
    request = ChatRequest(messages, model=settings.model.chat, max_tokens=settings.review.max_tokens, document=f"fix:{snapshot.uri}")
    first = await ask(gateway, request)
    edits, refused = _verified(snapshot, region, first)
    answers = [first]
    if refused:
        again = await ask(gateway, replace(request, messages=retry_messages(messages, first.text, refused, problem.text)))
        edits, refused = _verified(snapshot, region, again)
        answers.append(again)
    if refused:
        raise AnswerError(f"The model's fix cannot be used: {refused}.", "Ask again after an edit, or choose a larger model (model.chat).")
    return Fix(edits, problem.title, first.model, total_timings(answers))


def _verified(snapshot: Snapshot, region: Span, answer: Answer) -> tuple[tuple[Edit, ...], str | None]:
    """The edits of an answer, and why they cannot be used."""
    code = code_block(answer.text)
    if answer.cut:
        return (), "it was cut off before its end"
    if code is None:
        return (), "there is no code block in it"
    old = region.of(snapshot.text)
    ending = old[len(old.rstrip()) :].replace("\r\n", "\n")
    edits = minimal_edits(snapshot.text, region, reindent(own_part(code, old).rstrip() + ending, old), snapshot.newline)
    return edits, refusal(snapshot.text, edits, region, snapshot.language)


def _context(text: str, region: Span) -> str:
    """The lines around the region, half of the budget on each side, with the region marked."""
    before = text[: region.start][-CONTEXT_CHARS // 2 :]
    after = text[region.end :][: CONTEXT_CHARS // 2]
    if region.start > len(before):
        before = before[before.find("\n") + 1 :]
    if region.end + len(after) < len(text):
        after = after[: after.rfind("\n") + 1]
    if not (before + after).strip():
        return ""
    return f"{before}[the code below]\n{after}".replace("\r\n", "\n")


def _title(message: str) -> str:
    first = " ".join(message.split())
    return "Fix: " + (first if len(first) <= TITLE_LENGTH else first[: TITLE_LENGTH - 1].rstrip() + "…")
