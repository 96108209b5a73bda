"""KV memory is computed before it is taken, and contexts beyond what a model was trained for have a rope of their own."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from qwencoder_lsp.engine import lanes as lanes_module
from qwencoder_lsp.engine.architecture import Yarn, kv_bytes_per_token
from qwencoder_lsp.engine.binding import OK, Context, Model
from qwencoder_lsp.engine.hosttier import HostTier
from qwencoder_lsp.engine.lanes import BULK, LONG, TYPING, Lanes
from qwencoder_lsp.engine.memory import BUFFERS
from qwencoder_lsp.errors import EngineFailed, RequestError
from tests.model.running import CODE, Running, serving

pytestmark = pytest.mark.model

PER_TOKEN = 12288  # of the 0.5B: 24 layers, 2 heads of 64 numbers, keys and values, 2 bytes
HALF, WIDTH, HEADS = 32, 128, 2  # pairs of a head that rope turns; numbers of a key, all heads
BASE = 1_000_000.0  # qwen2.rope.freq_base
SLOW, FAST = 1.0, 32.0  # turns over the original context, between which YaRN blends (section 3.2 of the paper)
Keys = npt.NDArray[np.float64]


@pytest.fixture(scope="module")
def model(model_05b: Path) -> Iterator[Model]:
    loaded = Model(model_05b, 0)
    yield loaded
    loaded.close()


def lanes_of(path: Path, **fields: int) -> Lanes:
    values = {"gpu_layers": 0, "threads": 2, "n_ctx": 512, "max_ctx": 32768, **fields}
    return Lanes(path, tier=HostTier(64 << 20), on_ready=lambda: None, draft=None, **values)


@pytest.fixture
def lanes(model_05b: Path) -> Iterator[Callable[..., Lanes]]:
    made: list[Lanes] = []

    def make(**fields: int) -> Lanes:
        made.append(lanes_of(model_05b, **fields))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def running(model_05b: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    monkeypatch.setattr(lanes_module, "BULK_CTX", 512)
    with serving(model_05b) as engine:
        yield engine


def test_the_size_of_a_token_is_what_llama_cpp_takes_for_it(model: Model) -> None:
    assert kv_bytes_per_token(model.metadata) == PER_TOKEN
    context = Context(model, n_ctx=256, n_seq=2, n_threads=2, n_ubatch=64, n_outputs=2)
    context.batch.clear()
    context.batch.add([1000] * 64, 0, 0, 1)
    assert context.decode() == OK
    saved = context.read(0).nbytes
    context.close()
    assert 64 * PER_TOKEN <= saved <= 64 * (PER_TOKEN + 32)


def test_a_prompt_whose_kv_does_not_fit_is_refused_with_the_figures_and_what_does_fit_is_answered(model: Model, lanes: Callable[..., Lanes]) -> None:
    weights = model.bytes
    few = lanes(memory_limit=weights + 512 * PER_TOKEN + BUFFERS + 10_000 * PER_TOKEN)
    assert few.typing.context.n_ctx == 512
    with pytest.raises(RequestError, match=r"need 12,000 tokens, which take 300 MB \(12 KB for each token\), and 277 of the \d+ MB") as refused:
        few.grow(BULK, 12_000)
    assert "Shorten it to 10,0" in refused.value.hint
    few.grow(BULK, 9000)
    assert 9000 <= few[BULK].context.n_ctx < 10_300, "not rounded up to what there is no memory for"
    few.grow(BULK, 10_000)
    assert few[BULK].context.n_ctx >= 10_000, "the smaller one went for it"


def test_a_model_whose_context_for_completions_does_not_fit_says_so(model: Model, lanes: Callable[..., Lanes]) -> None:
    with pytest.raises(EngineFailed, match=r"512 tokens takes 166 MB .* 0 of the \d+ MB"):
        _ = lanes(memory_limit=model.bytes).typing


def test_a_model_without_yarn_ends_where_it_was_trained(lanes: Callable[..., Lanes]) -> None:
    small = lanes(max_ctx=1 << 20)
    assert small.most_tokens == 32768
    with pytest.raises(RequestError, match="at most 32768 fit"):
        small.grow(small.choose(BULK, 40_000), 40_000)


def test_only_what_needs_it_goes_where_positions_are_scaled_and_its_kv_is_its_own(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    lanes = running.engine.lanes
    assert lanes
    prompt = running.tokens(CODE)[:300]
    running.end(running.post(prompt, 2))
    monkeypatch.setattr(lanes, "_native", 512)  # as if it had been trained for no more
    monkeypatch.setattr(lanes, "yarn", Yarn(4.0, 512))
    assert [lanes.choose(w, n) for w, n in ((TYPING, 500), (BULK, 512), (BULK, 513))] == [TYPING, BULK, LONG]
    _, done = running.end(running.post(running.tokens(CODE)[:700], 2))
    assert done.reused_tokens == 0, "the first 300 were computed under another rope"
    assert lanes[LONG].context.rope == "yarn 4 over 512"
    _, again = running.end(running.post(prompt, 2))
    assert again.reused_tokens >= len(prompt) - 2
    assert lanes[BULK].context.rope == "native"
    assert lanes[LONG].root(()) != lanes[BULK].root(())


def key(model: Model, position: int, yarn: Yarn | None) -> Keys:
    """The first layer's key of one token at `position`, shape (heads, 64): it depends on nothing before."""
    context = Context(model, n_ctx=256, n_seq=2, n_threads=2, n_ubatch=64, n_outputs=2, yarn=yarn)
    context.batch.clear()
    context.batch.add([1000], position, 0, 1)
    assert context.decode() == OK
    data = context.read(0).tobytes()
    context.close()
    head = struct.pack("<iQ", 1, WIDTH * 2)  # before each layer's rows: their type (f16) and size
    start = data.index(head) + len(head)
    return np.frombuffer(data[start : start + WIDTH * 2], np.float16).astype(np.float64).reshape(HEADS, 2 * HALF)


def turned(keys: Keys, angles: Keys) -> Keys:
    """Each pair (i, i + 32) turned by its angle."""
    a, b = keys[:, :HALF], keys[:, HALF:]
    return np.concatenate((a * np.cos(angles) - b * np.sin(angles), a * np.sin(angles) + b * np.cos(angles)), axis=1)


@pytest.mark.parametrize("position", [1, 300, 5000, 60_000])
def test_scaled_positions_are_those_of_the_yarn_paper(model: Model, position: int) -> None:
    yarn = Yarn(4.0, 32768)
    pair = np.arange(HALF)
    angle = position * BASE ** (-pair / HALF)
    low, high = (HALF * math.log(yarn.original / (turns * 2 * math.pi)) / math.log(BASE) for turns in (FAST, SLOW))
    kept = 1 - np.clip((pair - math.floor(low)) / (math.ceil(high) - math.floor(low)), 0, 1)  # the share that is not interpolated
    scaled = angle * kept + angle / yarn.factor * (1 - kept)
    native = key(model, position, None)
    expected = turned(turned(native, -angle), scaled) * (0.1 * math.log(yarn.factor) + 1)
    found = key(model, position, yarn)
    size = np.abs(native).max()
    assert np.abs(found - expected).max() < 0.01 * size
    assert np.abs(found - native).max() > 0.05 * size
