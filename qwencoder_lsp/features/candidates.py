"""Several completions to choose from, for somebody who asked. They are generated side by side behind one prefill."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace

from qwencoder_lsp.core.results import Completion
from qwencoder_lsp.core.text import Snapshot
from qwencoder_lsp.features.ask import collect
from qwencoder_lsp.features.complete import Completer
from qwencoder_lsp.features.policy import stop_rules
from qwencoder_lsp.gateway.client import Gateway
from qwencoder_lsp.settings import Settings


async def candidates(
    completer: Completer, snapshot: Snapshot, offset: int, gateway: Gateway, settings: Settings, *, document: str | None = None
) -> tuple[Completion, ...]:
    """Up to `completion.candidates` different completions, best first; where nothing is suggested, one with the reason.

    Raises as Completer.complete; then, and when the caller goes, all generations are stopped.
    """

    async def other(number: int) -> Completion:
        request = replace(completer.request(snapshot, offset, settings, document), explicit=True, candidate=number)
        request = replace(request, document=None)  # they replace nothing, least of all each other
        request = replace(request, max_tokens=settings.completion.max_tokens, stops=stop_rules(snapshot, offset, settings, explicit=True))
        answer = await collect(gateway.complete(request))
        return completer.present(snapshot, offset, answer, settings, answer.timings, explicit=True)

    tasks = [asyncio.create_task(completer.complete(snapshot, offset, gateway, settings, explicit=True, document=document))]
    tasks += [asyncio.create_task(other(number)) for number in range(1, settings.completion.candidates)]
    try:
        found = await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    shown = {c.suggestion.text: c for c in sorted(found, key=_confidence) if c.suggestion}  # of two with the same text the surer one stays
    return tuple(sorted(shown.values(), key=_confidence, reverse=True)) or (found[0],)


def _confidence(completion: Completion) -> float:
    found = completion.signals.confidence
    return -math.inf if found is None else found
