"""What the OpenAI routes ask of the engine, as far as no answer shows it; with the scripted engine's process."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from qwencoder_lsp import settings
from qwencoder_lsp.engine.protocol import Generate
from qwencoder_lsp.engine.vocabulary import ByteTokenizer
from qwencoder_lsp.http.openai_bodies import CompletionBody
from qwencoder_lsp.http.openai_plan import plan_completion
from qwencoder_lsp.http.service import Service

HOLE = {"prompt": "def add(", "suffix": "): pass"}


@asynccontextmanager
async def service(**sections: dict[str, object]) -> AsyncIterator[Service]:
    """What stands behind the routes, without them."""
    found = Service(settings.load(command_line=sections, strict=True)[0])
    try:
        yield found
    finally:
        await found.host.close()


async def completion(s: Service, **body: Any) -> tuple[Generate, ...]:
    return (await plan_completion(s, CompletionBody.model_validate(body))).requests


async def test_of_several_candidates_for_a_hole_the_first_is_the_most_probable_and_the_others_are_drawn(script: Any) -> None:
    async with service() as s:
        first, *others = (request.sampling for request in await completion(s, **HOLE, n=3, seed=7))
    assert first.temperature == 0
    assert all(other.temperature > 0 for other in others)
    assert len({sampling.seed for sampling in (first, *others)}) == 3


async def test_a_temperature_that_is_asked_for_is_that_of_all_candidates(script: Any) -> None:
    async with service() as s:
        assert {request.sampling.temperature for request in await completion(s, **HOLE, n=3, temperature=0.2)} == {0.2}
        assert {request.sampling.temperature for request in await completion(s, prompt="x", n=3)} == {0.7}


async def test_a_bias_on_text_is_one_on_each_of_its_tokens_and_false_leaves_none_of_them(script: Any) -> None:
    async with service() as s:
        (request,) = await completion(s, prompt="x", logit_bias=[["aba", -1], [7, False]])
        (endless,) = await completion(s, prompt="x", logit_bias={"262": 100}, ignore_eos=True)
    assert list(request.sampling.logit_bias) == [(97, -1), (98, -1), (97, -1), (7, -math.inf)]
    assert dict(endless.sampling.logit_bias)[262] == -100
    assert len(endless.sampling.logit_bias) == len(ByteTokenizer.special.end)
