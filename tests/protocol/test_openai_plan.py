"""What the OpenAI routes ask of the engine, as far as no answer shows it; with the scripted engine's process."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any

from qwencoder_lsp import settings
from qwencoder_lsp.engine.protocol import Generate
from qwencoder_lsp.engine.vocabulary import ByteTokenizer
from qwencoder_lsp.errors import RequestError
from qwencoder_lsp.http.openai_bodies import ChatBody, CompletionBody
from qwencoder_lsp.http.openai_plan import plan_chat, plan_completion
from qwencoder_lsp.http.service import Service

HELLO = [{"role": "user", "content": "hello"}]
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


async def chat(s: Service, **body: Any) -> Generate:
    return (await plan_chat(s, ChatBody.model_validate({"messages": HELLO, **body}))).requests[0]


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


async def test_minus_one_means_that_no_limit_is_named(script: Any) -> None:
    async with service() as s:
        assert (await chat(s)).max_tokens == (await chat(s, max_tokens=-1)).max_tokens == (await chat(s, n_predict=-1)).max_tokens == 4096
        assert (await chat(s, max_completion_tokens=-1)).max_tokens == 4096
        assert (await completion(s, prompt="x", max_tokens=-1))[0].max_tokens == 4096


async def test_a_number_to_predict_is_a_limit_and_wins_as_in_llama_cpp(script: Any) -> None:
    async with service() as s:
        assert (await chat(s, n_predict=50)).max_tokens == 50
        assert (await chat(s, n_predict=50, max_tokens=7)).max_tokens == 50
        assert (await chat(s, n_predict=-1, max_tokens=7)).max_tokens == 4096
        assert (await chat(s, n_predict=0)).max_tokens == 0
        assert (await completion(s, prompt="x", n_predict=50))[0].max_tokens == 50


async def test_what_is_only_read_is_shortened_as_for_the_answer_to_come(script: Any) -> None:
    turns = [{"role": "user", "content": "word " * 200}]
    async with service(engine={"context": 512}) as s:
        warm, asked = [await chat(s, messages=turns, truncation="middle", **fields) for fields in ({"n_predict": 0}, {})]
    assert warm.tokens == asked.tokens


async def test_an_answer_without_a_limit_leaves_most_of_a_small_context_to_the_prompt(script: Any) -> None:
    async with service(engine={"context": 1024}) as s:
        (hole,) = await completion(s, **HOLE, max_tokens=-1)
        (text,) = await completion(s, prompt="x" * 700, max_tokens=-1)
    assert hole.max_tokens == 256
    assert text.max_tokens == 1024 - 700


async def test_a_large_text_is_read_while_the_event_loop_goes_on(script: Any) -> None:
    large = "word " * 20_000

    async def turns_beside(work: Awaitable[object]) -> int:
        """How often another task had its turn before `work` was done."""
        done, turns = asyncio.ensure_future(work), 0
        await asyncio.sleep(0)  # now it has begun
        while not done.done():
            turns += 1
            await asyncio.sleep(0)
        assert isinstance(done.exception(), RequestError | None), "it may be too long, which shows when it has been read"
        return turns

    async with service() as s:
        await chat(s)
        assert await turns_beside(completion(s, prompt="x")) == 0, "the engine is there, and nothing else is waited for"
        for work in (completion(s, prompt=large), completion(s, prompt=large, suffix="x"), chat(s, messages=[{"role": "user", "content": large}])):
            assert await turns_beside(work) > 0


async def test_a_bias_on_text_is_one_on_each_of_its_tokens_and_false_leaves_none_of_them(script: Any) -> None:
    async with service() as s:
        (request,) = await completion(s, prompt="x", logit_bias=[["aba", -1], [7, False]])
        (endless,) = await completion(s, prompt="x", logit_bias={"262": 100}, ignore_eos=True)
    assert list(request.sampling.logit_bias) == [(97, -1), (98, -1), (97, -1), (7, -math.inf)]
    assert dict(endless.sampling.logit_bias)[262] == -100
    assert len(endless.sampling.logit_bias) == len(ByteTokenizer.special.end)
