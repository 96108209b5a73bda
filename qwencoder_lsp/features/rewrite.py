"""Rewrite: a region of a document and a task go in, minimal edits that were verified come out.

What fix, simplify, types, implement, optimise and refactoring by instruction share. The model writes the region again; the edits are the
difference. They are refused, with a reason, when they would break the code: it must parse (for Python also compile), use no names that nothing
defines, leave nothing out, and keep what the task does not touch. After a refusal the model is asked once more and told why. Edits nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from textwrap import dedent
from typing import Any

from qwencoder_lsp.context.mask import Mask
from qwencoder_lsp.core.prompt import Message
from qwencoder_lsp.core.results import Fix
from qwencoder_lsp.core.text import Edit, Snapshot, Span, apply_edits
from qwencoder_lsp.errors import AnswerError, RequestError
from qwencoder_lsp.features.ask import Answer, total_timings
from qwencoder_lsp.features.guarded import ask_about
from qwencoder_lsp.features.prompts import prompt
from qwencoder_lsp.gateway.client import Gateway
from qwencoder_lsp.gateway.protocol import ChatRequest
from qwencoder_lsp.postprocess.fences import code_block
from qwencoder_lsp.postprocess.names import import_edit, imports_of, undefined_names
from qwencoder_lsp.postprocess.patch import CHANGES_NOTHING, minimal_edits, own_part, refusal, reindent, surrounding, whole_lines
from qwencoder_lsp.postprocess.syntax import FUNCTIONS, enclosing, same_code, statements
from qwencoder_lsp.settings import Settings

CHARS_PER_TOKEN = 2.4  # dense code; an answer as long as the region must fit max_tokens
CONTEXT_CHARS = 1500  # text shown around the region; more costs prefill time and adds little


@dataclass(frozen=True, slots=True)
class Task:
    """What the model is to do with a region.

    prompt: the instruction's name. words: the task in a sentence, for a retry. values: for the prompt, besides language, code and context.
    keeps: what of the code may differ at most ("types"), or None when anything may. may_shrink: deleting most of it is no sign of a bad answer.
    """

    prompt: str
    words: str
    values: Mapping[str, Any] = field(default_factory=dict)
    keeps: str | None = None
    may_shrink: bool = False


async def rewrite(snapshot: Snapshot, region: Span, task: Task, title: str, gateway: Gateway, settings: Settings) -> Fix:
    """Edits that carry out `task` on `region`, which is whole lines.

    Raises AnswerError when no answer of the model could be used, RequestError when the region is too long, SettingsError when a prompt file of the
    user's cannot be used, and whatever QwencoderError the gateway raises. Cancelling stops the generation.
    """
    if region.end - region.start > region_limit(settings):
        raise RequestError("This is too much code to be rewritten at once.", "Select less of it, or raise review.max_tokens.")
    code = region.of(snapshot.text).replace("\r\n", "\n")
    values = {"language": snapshot.language, "code": dedent(code), "context": context(snapshot.text, region), **task.values}
    messages = prompt(task.prompt, snapshot.root, settings).render(**values)
    request = ChatRequest(messages, model=settings.model.chat, max_tokens=settings.review.max_tokens)
    mask = Mask()
    answers = [await ask_about(gateway, request, mask, write_back=True)]
    edits, refused = await asyncio.to_thread(verified, snapshot, region, answers[0], task)
    if refused:
        more = prompt("retry", snapshot.root, settings).render(refusal=refused, task=task.words)
        again = replace(request, messages=(*messages, Message("assistant", answers[0].text), *more))
        answers.append(await ask_about(gateway, again, mask, write_back=True))
        edits, refused = await asyncio.to_thread(verified, snapshot, region, answers[1], task)
    if refused:
        raise AnswerError(f"The model's answer cannot be used: {refused}.", "Ask again after an edit, or choose a larger model (model.chat).")
    return Fix(edits, title, answers[0].model, total_timings(answers), len(answers))


def verified(snapshot: Snapshot, region: Span, answer: Answer, task: Task) -> tuple[tuple[Edit, ...], str | None]:
    """The edits of an answer, and why they cannot be used, as the end of a sentence. In a file of ten thousand lines this takes a second, so it is
    called in a thread: keys must be answered meanwhile."""
    code = code_block(answer.text)
    if answer.cut:
        return (), "it was cut off before its end"
    if code is None:
        return (), "there is no code block in it"
    text, language, old = snapshot.text, snapshot.language, region.of(snapshot.text)
    ending = old[len(old.rstrip()) :].replace("\r\n", "\n")
    edits = minimal_edits(text, region, reindent(own_part(code, old).rstrip() + ending, old), snapshot.newline)
    lines = imports_of(code, undefined_names(apply_edits(text, edits), language))
    added = import_edit(text, lines, snapshot.newline) if lines else None
    if added and region.start <= added.span.start < region.end:
        added = None  # the region holds the imports, so the answer was to change them there
    refused = refusal(text, edits, region, language, may_shrink=task.may_shrink)
    if added and refused == CHANGES_NOTHING:
        edits, refused = (), None  # only the import was missing
    if added:
        edits = (added, *edits)
    if refused is None:
        after = apply_edits(text, edits)
        fresh = undefined_names(after, language) - undefined_names(text, language)
        if fresh:
            refused = f"it uses names that nothing defines ({', '.join(sorted(fresh))})"
        elif task.keeps is not None and not same_code(text, after, language, task.keeps):
            refused = f"it changes more than the {task.keeps}"
    return edits, refused


def region_limit(settings: Settings) -> int:
    """The most code points that can be rewritten at once: a retry holds the region three times."""
    tokens = min(settings.review.max_tokens, max(64, (settings.engine.context - CONTEXT_CHARS) // 3))
    return int(tokens * CHARS_PER_TOKEN)


def region_at(snapshot: Snapshot, span: Span, limit: int) -> Span:
    """The whole lines to rewrite for something at `span`: the enclosing function, else the enclosing statement, else the lines around it that
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


def context(text: str, region: Span) -> str:
    """The lines around the region, half of the budget on each side, with the region marked; empty where there is nothing."""
    before = text[: region.start][-CONTEXT_CHARS // 2 :]
    after = text[region.end :][: CONTEXT_CHARS // 2]
    if region.start > len(before):
        before = before[before.find("\n") + 1 :]
    if region.end + len(after) < len(text):
        after = after[: after.rfind("\n") + 1]
    if not (before + after).strip():
        return ""
    return f"{before}[the code below]\n{after}".replace("\r\n", "\n")
