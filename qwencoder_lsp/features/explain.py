"""Explain: code, or a problem with it, goes in; Markdown for a person comes out, as it is written. Edits nothing."""

from __future__ import annotations

from collections.abc import Callable
from textwrap import dedent

from qwencoder_lsp.context.mask import Mask
from qwencoder_lsp.core.text import Snapshot, Span
from qwencoder_lsp.errors import AnswerError, RequestError, StaleDocument
from qwencoder_lsp.features.ask import Answer, collect
from qwencoder_lsp.features.guarded import hidden
from qwencoder_lsp.features.prompts import prompt
from qwencoder_lsp.features.refactor import code_at
from qwencoder_lsp.features.rewrite import context
from qwencoder_lsp.gateway.client import Gateway
from qwencoder_lsp.gateway.protocol import ChatRequest
from qwencoder_lsp.postprocess.patch import whole_lines
from qwencoder_lsp.settings import Settings

CHARS_PER_TOKEN = 2.4  # dense code
MAX_TOKENS = 700


async def explain(
    snapshot: Snapshot, span: Span, gateway: Gateway, settings: Settings, problem: str = "", grown: Callable[[str], None] = lambda _: None
) -> Answer:
    """An explanation of the selection, or of the function at an empty `span`; with `problem`, of what a tool says about the code there.

    grown: told the text so far, again and again. Raises RequestError when the code is too long, AnswerError when nothing came, StaleDocument when a
    newer request took over, and whatever QwencoderError the gateway raises. Cancelling stops the generation.
    """
    region = whole_lines(snapshot.text, code_at(snapshot, Span(span.start, span.start) if problem else span, settings))
    if region.end - region.start > int((settings.engine.context - MAX_TOKENS) * CHARS_PER_TOKEN) - len(context(snapshot.text, region)):
        raise RequestError("This is too much code to be explained at once.", "Select less of it, or raise engine.context.")
    code = dedent(region.of(snapshot.text).replace("\r\n", "\n"))
    messages = prompt("explain", snapshot.root, settings).render(
        language=snapshot.language, code=code, context=context(snapshot.text, region), problem=problem
    )
    request = ChatRequest(messages, model=settings.model.chat, max_tokens=MAX_TOKENS)
    request = hidden(request, Mask())  # an explanation names no secret
    answer = await collect(gateway.chat(request), grown)
    if answer.replaced:
        raise StaleDocument("A newer request for the same document took the place of this one.")
    if not answer.text.strip():
        raise AnswerError("The model wrote nothing.", "Ask again, or choose a larger model (model.chat).")
    return answer
