"""Several completions to choose from."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace

import pytest

from qwencoder_lsp.core.report import Reason
from qwencoder_lsp.errors import EngineCrashed
from qwencoder_lsp.features.candidates import candidates
from qwencoder_lsp.features.complete import Completer
from qwencoder_lsp.gateway.protocol import CompleteRequest, Event, Piece
from qwencoder_lsp.settings import load
from tests.unit.features.test_complete import DEFAULTS, InProcess, document


class Choices(InProcess):
    """Candidate n gets the n-th text, with its log-probability."""

    def __init__(self, *texts: tuple[str, float]) -> None:
        super().__init__(rules=[{"contains": f"#{n}", "text": text} for n, (text, _) in enumerate(texts)])
        self.scores = [score for _, score in texts]

    async def complete(self, request: CompleteRequest) -> AsyncGenerator[Event, None]:
        parts = replace(request.parts, prefix=f"#{request.candidate}\n{request.parts.prefix}")
        async for event in super().complete(replace(request, parts=parts)):
            yield replace(event, logprobs=(self.scores[request.candidate],)) if isinstance(event, Piece) else event


async def texts(gateway: InProcess, marked: str = "x = |\n") -> list[str]:
    found = await candidates(Completer(), *document(marked), gateway, DEFAULTS, document="key")
    return [c.suggestion.text for c in found if c.suggestion]


async def test_they_come_best_first() -> None:
    assert await texts(Choices(("b", -0.5), ("c", -0.9), ("a", -0.1))) == ["a", "b", "c"]


async def test_the_same_text_comes_once_and_empty_ones_not_at_all() -> None:
    assert await texts(Choices(("a", -0.5), ("a", -0.2), ("", -0.1))) == ["a"]


async def test_where_nothing_is_suggested_the_reason_is_told() -> None:
    found = await candidates(Completer(), *document("x = |\n"), Choices(("", 0.0), ("", 0.0), ("", 0.0)), DEFAULTS)
    assert [(c.suggestion, c.reason) for c in found] == [(None, Reason.EMPTY)]


async def test_they_are_asked_as_one_and_numbered() -> None:
    gateway = Choices(("a", 0.0), ("b", 0.0), ("c", 0.0))
    await texts(gateway)
    assert sorted(request.candidate for request in gateway.requests) == [0, 1, 2]
    assert len({(r.parts.suffix, r.parts.typed, r.near, r.stops, r.max_tokens, r.explicit) for r in gateway.requests}) == 1
    assert [r.document for r in gateway.requests if r.candidate == 0] == ["key"]


async def test_their_number_is_a_setting() -> None:
    gateway = Choices(("a", 0.0))
    settings, _ = load({"completion": {"candidates": 1}}, env={})
    assert len(await candidates(Completer(), *document("x = |\n"), gateway, settings)) == 1


async def test_a_failure_of_one_ends_all() -> None:
    gateway = InProcess("x" * 50, token_ms=20)
    gateway.failure = EngineCrashed("gone", "ask again")
    with pytest.raises(EngineCrashed):
        await texts(gateway)


async def test_when_the_caller_goes_all_generations_stop() -> None:
    gateway = InProcess("x" * 500, token_ms=20)
    task = asyncio.create_task(texts(gateway))
    while len(gateway.requests) < 3:  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await asyncio.sleep(1)
    assert len(gateway.cancelled) == 3
