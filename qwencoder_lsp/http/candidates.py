"""Several candidates at once: how their requests differ, and their answers as one stream. One request never takes more than a part of the engine's
places."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace

from qwencoder_lsp.engine.protocol import Chunk, Done, Engine, Generate, Sampling
from qwencoder_lsp.http.host import ModelHost
from qwencoder_lsp.models.store import InstalledModel

AT_ONCE = 16  # the others wait here, so that a list of a hundred prompts is no reason for the engine to say that it is busy

OTHERS = 0.7  # the temperature of the candidates for a hole beside the most probable one: others, but no nonsense

Indexed = tuple[int, Chunk | Done]


def candidates(asked: Sequence[Generate], n: int) -> tuple[Generate, ...]:
    """`n` requests of each, with seeds of their own."""
    return tuple(replace(request, index=i, sampling=_reseeded(request.sampling, i)) for request in asked for i in range(n))


def candidates_of_a_hole(asked: Sequence[Generate], n: int, temperature: float | None) -> tuple[Generate, ...]:
    """The same where each of `asked` is to fill a hole. temperature: the client's, which they have; None: see `hole_sampling`."""
    found = candidates(asked, n)
    if temperature is not None:
        return found
    return tuple(replace(request, sampling=hole_sampling(request.sampling, request.index)) for request in found)


def hole_sampling(sampling: Sampling, index: int) -> Sampling:
    """How candidate `index` for a hole is sampled where nobody asked for a temperature: there is one right text, or a few. So the first is the most
    probable one, and the others are drawn, or all would be the same."""
    return replace(sampling, temperature=OTHERS if index else 0.0)


def _reseeded(sampling: Sampling, i: int) -> Sampling:
    return replace(sampling, seed=None if sampling.seed is None else sampling.seed + i)


async def answers(host: ModelHost, model: InstalledModel, engine: Engine, requests: Sequence[Generate]) -> AsyncGenerator[Indexed, None]:
    """What the engine answers to each request, with the request's place in the list, as it comes. Closing it cancels them all.

    Raises the QwencoderError of the first request that fails, and cancels the others.
    """
    running = _one(0, engine, requests[0]) if len(requests) == 1 else _many(engine, requests)
    async with aclosing(running):
        async for index, answer in running:
            yield index, answer


async def _one(index: int, engine: Engine, request: Generate) -> AsyncGenerator[Indexed, None]:
    async with aclosing(engine.generate(request)) as found:
        async for answer in found:
            yield index, answer


async def _many(engine: Engine, requests: Sequence[Generate]) -> AsyncGenerator[Indexed, None]:
    queue: asyncio.Queue[Indexed | Exception] = asyncio.Queue()
    places = asyncio.Semaphore(AT_ONCE)

    async def follow(index: int, request: Generate) -> None:
        try:
            async with places, aclosing(_one(index, engine, request)) as found:
                async for answer in found:
                    queue.put_nowait(answer)
        except Exception as error:
            queue.put_nowait(error)

    tasks = [asyncio.create_task(follow(index, request)) for index, request in enumerate(requests)]
    left = len(tasks)
    try:
        while left:
            found = await queue.get()
            if isinstance(found, Exception):
                raise found
            left -= isinstance(found[1], Done)
            yield found
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
