"""LoRA adapters in the engine: chosen per request, never mixed in a step, and no KV of one used under another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import numpy as np
import pytest

from qwencoder_lsp.engine.binding import load_tokenizer
from qwencoder_lsp.engine.hosttier import BLOCK
from qwencoder_lsp.engine.process import EngineSpec
from qwencoder_lsp.engine.protocol import Chunk, Done, Generate, Priority
from qwencoder_lsp.engine.supervise import EngineProcess
from qwencoder_lsp.errors import RequestError
from tests.model.lora import write_lora
from tests.protocol.gateways import wait

pytestmark = pytest.mark.model

TEXT = "".join(f"def scale_{i}(value):\n    return value * {i}\n\n\n" for i in range(6))
SCORED = 8  # tokens at the end whose log-probabilities are compared
TOLERANCE = 0.5  # the same tokens in other batches differ by up to 0.35; under another adapter by several
ROUNDS = 200
Set = tuple[tuple[str, float], ...]


@pytest.fixture
def adapters(tmp_path: Path) -> list[Set]:
    """None, one, and the other. Stronger ones would make noise of the text, which differs more from batch to batch."""
    one, two = (str(write_lora(tmp_path / f"{name}.gguf", seed, strength=0.15)) for seed, name in enumerate(("one", "two")))
    return [(), ((one, 1.0),), ((two, 1.0),)]


@pytest.fixture
def sets(tmp_path: Path) -> list[Set]:
    """None, one, the other, both, and one at half its strength, each of which is to make a difference."""
    one, two = (str(write_lora(tmp_path / f"strong-{name}.gguf", seed)) for seed, name in enumerate(("one", "two")))
    return [(), ((one, 1.0),), ((two, 1.0),), ((one, 1.0), (two, 1.0)), ((one, 0.5),)]


async def start(model: Path, home: Path) -> EngineProcess:
    spec = EngineSpec("0.5b", str(model), 1024, costs=((1, 1, 29.0), (48, 1, 320.0)), saved=str(home / "saved"), saved_bytes=1 << 30, saved_days=1)
    return await EngineProcess.start(spec, home / "engine.log")


@pytest.fixture
async def engine(model_05b: Path, tmp_path: Path) -> AsyncIterator[EngineProcess]:
    running = await start(model_05b, tmp_path)
    yield running
    await running.stop()


@pytest.fixture(scope="module")
def tokens(model_05b: Path) -> tuple[int, ...]:
    return tuple(load_tokenizer(model_05b).tokenize(TEXT))


async def ask(engine: EngineProcess, tokens: tuple[int, ...], adapters: Set, **fields: object) -> Done:
    values = {"score_from": len(tokens) - SCORED, "max_tokens": 0, "adapters": adapters, **fields}
    async with aclosing(engine.generate(Generate(0, tokens, **values))) as answers:  # type: ignore[arg-type]  # the test's keywords
        async for answer in answers:
            if isinstance(answer, Done):
                return answer
    raise AssertionError("no Done")


def apart(a: Done, b: Done) -> float:
    return float(np.abs(np.array(a.scores) - np.array(b.scores)).max())


async def alone(model: Path, home: Path, tokens: tuple[int, ...], adapters: Set) -> Done:
    """The answer of an engine that never saw another adapter."""
    engine = await start(model, home)
    try:
        return await ask(engine, tokens, adapters)
    finally:
        await engine.stop()


async def test_alternating_adapters_answer_as_each_does_alone(
    engine: EngineProcess, model_05b: Path, tmp_path: Path, tokens: tuple[int, ...], adapters: list[Set]
) -> None:
    three = adapters[:3]
    expected = [await alone(model_05b, tmp_path, tokens, a) for a in three]
    assert min(apart(expected[i], expected[j]) for i, j in ((0, 1), (0, 2), (1, 2))) > 4 * TOLERANCE, "the adapters must change the answer"
    places = asyncio.Semaphore(24)

    async def one(i: int) -> float:
        lane, priority = (("typing", Priority.TYPING), ("bulk", Priority.CHAT), ("bulk", Priority.REVIEW))[i // 3 % 3]
        async with places:
            return apart(await ask(engine, tokens, three[i % 3], lane=lane, priority=priority), expected[i % 3])

    worst = max(await asyncio.gather(*(one(i) for i in range(ROUNDS))))
    print(f"largest difference of a log-probability over {ROUNDS} requests: {worst:.3f}")
    assert worst < TOLERANCE


async def test_text_written_side_by_side_under_different_adapters_is_that_of_each_alone(
    engine: EngineProcess, tokens: tuple[int, ...], adapters: list[Set]
) -> None:
    async def write(chosen: Set) -> list[float]:
        found: list[float] = []
        async with aclosing(engine.generate(Generate(0, tokens, 6, adapters=chosen, speculate=False))) as answers:
            async for answer in answers:
                if isinstance(answer, Chunk):
                    found += answer.logprobs
        return found

    one_by_one = [await write(a) for a in adapters[:3]]
    together = await asyncio.gather(*(write(a) for a in adapters[:3]))
    for before, now in zip(one_by_one, together, strict=True):
        assert abs(before[0] - now[0]) < TOLERANCE
    assert len({round(lps[0], 2) for lps in together}) == 3


async def test_scales_count_sets_are_sets_and_nothing_computed_under_one_is_used_under_another(
    engine: EngineProcess, tokens: tuple[int, ...], sets: list[Set]
) -> None:
    first = [await ask(engine, tokens, a) for a in sets]
    assert [d.reused_tokens for d in first] == [0] * len(sets)
    assert min(apart(a, b) for i, a in enumerate(first) for b in first[:i]) > TOLERANCE
    both = await ask(engine, tokens, tuple(reversed(sets[3])))
    assert both.reused_tokens > 0, "the order of the adapters means nothing"
    assert apart(both, first[3]) < TOLERANCE
    off = await ask(engine, tokens, ((sets[1][0][0], 0.0),))
    assert off.reused_tokens > 0, "scale 0 is no adapter"


async def test_a_file_that_is_gone_or_no_adapter_or_for_another_model_is_refused_and_the_engine_goes_on(
    engine: EngineProcess, tmp_path: Path, model_05b: Path, tokens: tuple[int, ...]
) -> None:
    wide = write_lora(tmp_path / "wide.gguf", 3, width=1536)
    noise = tmp_path / "noise.gguf"
    noise.write_bytes(b"GGUF" + bytes(5000))
    with pytest.raises(RequestError, match="no adapter file"):
        await ask(engine, tokens, ((str(tmp_path / "none.gguf"), 1.0),))
    for file in (wide, noise, model_05b):
        with pytest.raises(RequestError, match="cannot be used as a LoRA adapter"):
            await ask(engine, tokens, ((str(file), 1.0),))
    assert (await ask(engine, tokens, ())).reason == "scored"


async def test_a_file_that_was_replaced_is_another_adapter_and_one_that_was_removed_is_freed(
    engine: EngineProcess, tmp_path: Path, tokens: tuple[int, ...], adapters: list[Set]
) -> None:
    before = await ask(engine, tokens, adapters[1])
    path = Path(adapters[1][0][0])
    write_lora(path, 7)
    after = await ask(engine, tokens, adapters[1])
    assert after.reused_tokens == 0
    assert apart(before, after) > TOLERANCE
    await asyncio.to_thread(path.unlink)
    await ask(engine, tokens, ())
    assert await asyncio.to_thread(wait, lambda: (tmp_path / "engine.log").read_text().count("one.gguf is freed") == 2, 30)


async def test_saved_prefixes_are_those_of_the_adapter(model_05b: Path, tmp_path: Path, tokens: tuple[int, ...], adapters: list[Set]) -> None:
    kept = {"workspace": "1" * 32, "keep": len(tokens), "score_from": None, "max_tokens": 1}
    engine = await start(model_05b, tmp_path)
    await ask(engine, tokens, adapters[1], **kept)
    await engine.stop()
    engine = await start(model_05b, tmp_path)
    try:
        restored = [(await ask(engine, tokens, a, **kept)).restored_tokens for a in adapters[:3]]
    finally:
        await engine.stop()
    assert restored[0] == restored[2] == 0
    assert restored[1] >= len(tokens) // BLOCK * BLOCK - 1
