"""Inline completion: gather, render, generate, finish.

A document and a cursor go in, a suggestion or the reason for silence comes out. Gather and finish run here, beside the files; render and generate
run behind the gateway. Knows nothing of editors.
"""

from __future__ import annotations

import uuid
from dataclasses import replace
from time import perf_counter

from qwencoder_lsp.context.gather import gather
from qwencoder_lsp.core.report import Reason
from qwencoder_lsp.core.results import Completion, Suggestion
from qwencoder_lsp.core.text import Snapshot, Span
from qwencoder_lsp.features.ask import collect
from qwencoder_lsp.features.policy import silence, stop_rules
from qwencoder_lsp.gateway.client import Gateway
from qwencoder_lsp.gateway.protocol import CompleteRequest
from qwencoder_lsp.postprocess.finish import finish
from qwencoder_lsp.settings import Settings


async def complete(
    snapshot: Snapshot, offset: int, gateway: Gateway, settings: Settings, *, explicit: bool = False, document: str | None = None
) -> Completion:
    """What to suggest at `offset`. explicit: the user asked for it. document: a newer request with the same key replaces this one.

    Raises QwencoderError when there is no gateway or the model cannot answer (ModelMissing, EngineCrashed, ...). Cancelling stops the generation.
    """
    reason = silence(snapshot, offset, settings, explicit=explicit)
    if reason:
        return Completion(None, reason)

    began = perf_counter()
    parts = gather(snapshot, offset, settings)
    request = CompleteRequest(
        parts,
        model=settings.model.completion,
        max_tokens=settings.completion.max_tokens,
        stops=stop_rules(snapshot, offset, settings, explicit=explicit),
        explicit=explicit,
        document=document,
        max_prefix=settings.completion.max_prefix,
        max_suffix=settings.completion.max_suffix,
    )
    gathered = perf_counter()
    answer = await collect(gateway.complete(request))
    if answer.replaced:
        return Completion(None, Reason.SUPERSEDED, answer.reason, answer.model, answer.usage, answer.timings)

    answered = perf_counter()
    done = finish(answer.text, parts.prefix, parts.suffix, answer.reason)
    suggestion = None
    if done.text:
        span = Span(offset, offset + done.overwrite)
        suggestion = Suggestion(uuid.uuid4().hex, done.text.replace("\n", snapshot.newline), span)
    timings = replace(answer.timings, gather=(gathered - began) * 1000, finish=(perf_counter() - answered) * 1000)
    return Completion(suggestion, done.reason, answer.reason, answer.model, answer.usage, timings)
