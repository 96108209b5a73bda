"""Review: a document goes in, verified findings come out.

The model writes each window of the text again, corrected; what differs is a finding if it is a change of code that parses. Then it is given its own
version to correct, and what it changes back is dropped. At last it explains what stands as JSON under a schema; each explanation is tied to its
difference by what it quotes. Nothing that the model says about places is believed, and everything that is dropped is counted by reason. Knows nothing
of editors; edits nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from dataclasses import dataclass, field, replace

from qwencoder_lsp.context.mask import Mask
from qwencoder_lsp.core.prompt import Message
from qwencoder_lsp.core.results import CUT_OFF, TOO_LONG, Finding, Review
from qwencoder_lsp.core.text import Edit, Snapshot, Span, apply_edits
from qwencoder_lsp.features.ask import Answer, total_timings, total_usage
from qwencoder_lsp.features.guarded import ask_about
from qwencoder_lsp.features.prompts import prompt
from qwencoder_lsp.gateway.client import Gateway
from qwencoder_lsp.gateway.protocol import ChatRequest
from qwencoder_lsp.postprocess.fences import code_block
from qwencoder_lsp.postprocess.findings import RawFinding, read_findings, same_words
from qwencoder_lsp.postprocess.names import undefined_names
from qwencoder_lsp.postprocess.patch import UNPARSABLE, hunks, own_part, refusal, reindent, whole_lines
from qwencoder_lsp.postprocess.syntax import parse_errors, same_code
from qwencoder_lsp.prompt.review import changes_text, findings_schema, windows
from qwencoder_lsp.settings import Settings

CHARS_PER_TOKEN = 2.4  # dense code; prose and indented code have more, so that an answer as long as its window fits max_tokens
SHORT_ANSWER = 512  # tokens that are always enough for the explanation of a few changes
SHORTENED = "too much is deleted or left out"
SMALLEST_WINDOW = 64  # tokens; less is no code to judge


@dataclass(frozen=True, slots=True)
class _Change:
    """A difference between the document and the model's version: `old` and `new` are the whole `lines`, `replacement` is the new text of `span`.

    replacement is None when the change does not stand on its own.
    """

    span: Span
    lines: Span
    old: str
    new: str
    replacement: str | None

    @property
    def quote(self) -> str:
        """What the model is to quote: the first line with text."""
        return next((line.strip() for line in self.old.splitlines() if line.strip()), "")


@dataclass(slots=True)
class _Tally:
    """What the windows of one review add up to. It grows as they are reviewed."""

    answers: list[Answer] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    refuted: list[Span] = field(default_factory=list)
    mask: Mask = field(default_factory=Mask)


async def review(snapshot: Snapshot, gateway: Gateway, settings: Settings, selection: Span | None = None, *, refute: bool = True) -> Review:
    """The findings in `snapshot`, in the order of the text, at most `settings.review.max_findings`. selection: only in the lines that it touches.
    refute: have the model correct its own version, and drop the changes that it takes back.

    Raises QwencoderError when there is no gateway or the model cannot answer, StaleDocument when a newer review of the document took over.
    Cancelling stops the generation.
    """
    text = snapshot.text
    region = whole_lines(text, selection) if selection else Span(0, len(text))
    tally = _Tally()
    findings: dict[tuple[int, int], Finding] = {}
    limit = int(_answer_size(settings) * CHARS_PER_TOKEN)
    parts = windows(text, region, limit)
    for window in parts:
        if window.end - window.start > limit:
            tally.dropped[TOO_LONG] += 1
            continue
        for finding in await _review_window(snapshot, window, gateway, settings, tally, refute):
            place = (finding.span.start, finding.span.end)
            if place in findings:
                tally.dropped["duplicate"] += 1
            else:
                findings[place] = finding
    kept = [findings[place] for place in sorted(findings)]
    most = settings.review.max_findings
    if len(kept) > most:
        tally.dropped["more than review.max_findings"] += len(kept) - most
    model = tally.answers[0].model if tally.answers else ""
    usage, timings = total_usage(tally.answers), total_timings(tally.answers)
    return Review(tuple(kept[:most]), dict(+tally.dropped), model, usage, timings, tuple(tally.refuted), len(parts))


def _answer_size(settings: Settings) -> int:
    """Tokens of a rewritten window. The second turn holds it four times: as it was, as it became, and both again in the list of changes."""
    return min(settings.review.max_tokens, max(SMALLEST_WINDOW, (settings.engine.context - SHORT_ANSWER) // 4))


async def _review_window(snapshot: Snapshot, window: Span, gateway: Gateway, settings: Settings, tally: _Tally, refute: bool) -> list[Finding]:
    code = window.of(snapshot.text).replace("\r\n", "\n")
    request = ChatRequest(
        prompt("review", snapshot.root, settings).render(language=snapshot.language, code=code),
        model=settings.model.chat,
        max_tokens=settings.review.max_tokens,
        priority="REVIEW",
    )
    rewritten = await ask_about(gateway, request, tally.mask, write_back=True)
    tally.answers.append(rewritten)
    changes = await asyncio.to_thread(_changes, snapshot, window, rewritten, tally.dropped)  # takes a second in a very long file
    if not changes:
        return []
    if refute:
        changes = await _standing(snapshot, window, changes, request, gateway, settings, tally)
        if not changes:
            return []
    more = prompt("review_explain", snapshot.root, settings).render(changes=changes_text([(change.old, change.new) for change in changes]))
    explained = await ask_about(
        gateway,
        replace(
            request,
            messages=(*request.messages, Message("assistant", rewritten.text), *more),
            max_tokens=max(SHORT_ANSWER, _answer_size(settings)),
            json_schema=findings_schema([change.quote for change in changes]),
        ),
        tally.mask,
        write_back=True,
    )
    tally.answers.append(explained)
    return _findings(explained.text, snapshot.text, changes, tally.dropped)


async def _standing(
    snapshot: Snapshot, window: Span, changes: list[_Change], request: ChatRequest, gateway: Gateway, settings: Settings, tally: _Tally
) -> list[_Change]:
    """The changes that the model keeps when it is given its own version as the one that fails its tests.

    Where it restores the original line, it does not know which of the two is right. (Asked in words which one is right, the 1.5B model gave its own
    line the same probability whether it was the right one or not.) The prompt shares its KV with the first one up to the first change.
    """
    old = window.of(snapshot.text)
    within = [Edit(Span(change.lines.start - window.start, change.lines.end - window.start), change.new) for change in changes]
    code = apply_edits(old, within).replace("\r\n", "\n")
    messages = prompt("review", snapshot.root, settings).render(language=snapshot.language, code=code)
    answer = await ask_about(gateway, replace(request, messages=messages), tally.mask, write_back=True)
    tally.answers.append(answer)
    found = _differences(snapshot, window, answer)
    if found is None or answer.cut:
        return changes  # nothing was said against them
    kept = [change for change in changes if any(span.start < change.lines.end and change.lines.start < span.end for span in (e.span for e in found))]
    tally.refuted += [change.span for change in changes if change not in kept]
    tally.dropped["refuted"] += len(changes) - len(kept)
    return kept


def _differences(snapshot: Snapshot, window: Span, answer: Answer) -> list[Edit] | None:
    """Edits of whole lines that turn the window into the code of an answer; None when there is no code in it."""
    code = code_block(answer.text)
    if not code or not code.strip():
        return None
    old = window.of(snapshot.text)
    if answer.cut:
        code = code[: code.rstrip("\n").rfind("\n") + 1]
    if snapshot.text[: window.start].strip():  # what comes before the window is not missing, so it is not to be added
        code = own_part(code, old)
    found = hunks(old, reindent(code.rstrip() + "\n", old), snapshot.newline)
    if answer.cut:
        found = [hunk for hunk in found if hunk.span.end < len(old)]  # the last one is what the answer did not reach
    return [Edit(Span(window.start + hunk.span.start, window.start + hunk.span.end), hunk.text) for hunk in found]


def _changes(snapshot: Snapshot, window: Span, answer: Answer, dropped: Counter[str]) -> list[_Change]:
    """The differences that are worth an explanation, in the order of the text."""
    edits = _differences(snapshot, window, answer)
    if edits is None:
        dropped["no code in the answer"] += 1
        return []
    if answer.cut:
        dropped[CUT_OFF] += 1
    text, language = snapshot.text, snapshot.language
    known = undefined_names(text, language)
    all_of_them = apply_edits(text, edits)
    sound = (parse_errors(all_of_them, language) or 0) <= (parse_errors(text, language) or 0) and undefined_names(all_of_them, language) <= known
    changes: list[_Change] = []
    for edit in edits:
        after = apply_edits(text, [edit])
        refused = refusal(text, (edit,), window, language)
        if same_words(edit.span.of(text), edit.text) or same_code(text, after, language):
            dropped["changes no code"] += 1
        elif refused is None and undefined_names(after, language) <= known:
            changes.append(_change(text, edit))
        elif (refused is None or refused.startswith(UNPARSABLE)) and sound:  # it needs the other changes, so it is offered as a message only
            changes.append(replace(_change(text, edit), replacement=None))
        else:
            why = "it uses names that nothing defines" if refused is None else "it does not parse" if refused.startswith(UNPARSABLE) else SHORTENED
            dropped[f"replacement refused: {why}"] += 1
    return changes


def _change(text: str, edit: Edit) -> _Change:
    """The edit without the indentation and the last line ending that both sides share."""
    old, new = edit.span.of(text), edit.text
    start, end = edit.span.start, edit.span.end
    if new.strip():
        head = 0
        while old[head : head + 1] == new[head : head + 1] and new[head] in " \t":
            head += 1
        tail = next((len(ending) for ending in ("\r\n", "\n") if old.endswith(ending) and new.endswith(ending)), 0)
        start, end, new = start + head, end - tail, new[head : len(new) - tail]
    return _Change(Span(start, end), edit.span, old, edit.text, new)


def _findings(answer: str, text: str, changes: list[_Change], dropped: Counter[str]) -> list[Finding]:
    """The explanations, each tied to the first change with its quote that has none yet."""
    open_changes, found = list(changes), []
    for raw in read_findings(answer):
        named = [change for change in changes if raw.quote and same_words(raw.quote, change.quote)]
        change = next((change for change in named if change in open_changes), None)
        if not named:
            dropped["quote not found"] += 1
        elif change is None:
            dropped["duplicate"] += 1
        elif not raw.message:
            dropped["no message"] += 1
        else:
            open_changes.remove(change)
            found.append(_finding(raw, change, text))
    if open_changes:
        dropped["not explained"] += len(open_changes)
    return found


def _finding(raw: RawFinding, change: _Change, text: str) -> Finding:
    quote = change.span.of(text)
    name = hashlib.sha256(f"{change.span.start}\0{quote}\0{change.replacement}".encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return Finding(name, raw.category, raw.severity, raw.message, quote, change.span, change.replacement)
