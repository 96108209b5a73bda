"""Document: a function goes in, an edit that adds its docstring or doc comment comes out.

The words are the model's; the code around them stays as it is, since only the documentation is taken from the answer. Edits nothing.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from textwrap import dedent

from qwencoder_lsp.context.mask import Mask
from qwencoder_lsp.core.prompt import Message
from qwencoder_lsp.core.results import Fix
from qwencoder_lsp.core.text import Edit, Snapshot, Span, apply_edits
from qwencoder_lsp.errors import AnswerError, RequestError
from qwencoder_lsp.features.ask import total_timings
from qwencoder_lsp.features.guarded import ask_about
from qwencoder_lsp.features.prompts import prompt
from qwencoder_lsp.features.rewrite import region_limit
from qwencoder_lsp.gateway.client import Gateway
from qwencoder_lsp.gateway.protocol import ChatRequest
from qwencoder_lsp.postprocess.documentation import convention, documentation, documented, example
from qwencoder_lsp.postprocess.fences import code_block
from qwencoder_lsp.postprocess.functions import Function, function_at, functions
from qwencoder_lsp.postprocess.syntax import parse_errors, same_code
from qwencoder_lsp.settings import Settings


async def document(snapshot: Snapshot, span: Span, gateway: Gateway, settings: Settings) -> Fix:
    """The edit that documents the function at `span`, in the file's convention, in place of what documentation it has.

    Raises RequestError when there is no function or it is too long, AnswerError when no answer of the model could be used, and whatever
    QwencoderError the gateway raises. Cancelling stops the generation.
    """
    text, language = snapshot.text, snapshot.language
    function = function_at(text, language, span)
    if function is None:
        raise RequestError("There is no function here that could be documented.", "Put the cursor into one.")
    code = function.span.of(text).replace("\r\n", "\n")
    if len(code) > region_limit(settings):
        raise RequestError(f"{function.name} is too long to be documented.", "Raise review.max_tokens.")
    values = {"language": language, "code": dedent(code), "convention": convention(text, language), "example": example(text, language, function)}
    messages = prompt("document", snapshot.root, settings).render(**values)
    request = ChatRequest(messages, model=settings.model.chat, max_tokens=settings.review.max_tokens)
    mask = Mask()
    answers = [await ask_about(gateway, request, mask, write_back=True)]
    edit = await asyncio.to_thread(_edit, snapshot, function, answers[0].text)
    if edit is None:
        task = f"write {convention(text, language)} for {function.name}"
        more = prompt("retry", snapshot.root, settings).render(refusal="there is no documentation of the function in it", task=task)
        again = replace(request, messages=(*messages, Message("assistant", answers[0].text), *more))
        answers.append(await ask_about(gateway, again, mask, write_back=True))
        edit = await asyncio.to_thread(_edit, snapshot, function, answers[1].text)
    if edit is None:
        raise AnswerError("The model wrote no documentation that could be used.", "Ask again, or choose a larger model (model.chat).")
    return Fix((edit,), f"Document {function.name}", answers[0].model, total_timings(answers), len(answers))


async def document_all(snapshot: Snapshot, gateway: Gateway, settings: Settings) -> tuple[str, tuple[Fix, ...], tuple[str, ...]]:
    """The text with its undocumented functions documented, the fixes that did it, and a sentence for each function that could not be.

    Raises as `document`, but for what is about one function alone.
    """
    fixes: list[Fix] = []
    refused: list[str] = []
    for function in reversed([f for f in functions(snapshot.text, snapshot.language) if not f.documented]):  # from the last, so that places stay
        try:
            fix = await document(snapshot, Span(function.span.end - 1, function.span.end - 1), gateway, settings)
        except (AnswerError, RequestError) as error:
            refused.append(f"{function.name}: {error.message}")
            continue
        fixes.append(fix)
        snapshot = replace(snapshot, text=apply_edits(snapshot.text, fix.edits))
    return snapshot.text, tuple(fixes), tuple(refused)


def _edit(snapshot: Snapshot, function: Function, answer: str) -> Edit | None:
    """The edit with the answer's documentation; None when there is none, or when it would change the code or break it."""
    text, language = snapshot.text, snapshot.language
    words = documentation(code_block(answer) or "", language, function.name)
    edit = documented(text, function, words, language, snapshot.newline) if words else None
    if edit is None or edit.span.of(text) == edit.text:
        return None
    after = apply_edits(text, [edit])
    sound = (parse_errors(after, language) or 0) <= (parse_errors(text, language) or 0)
    return edit if sound and same_code(text, after, language, "documentation") else None
