"""LoRA adapters through the whole service, with the real 0.5B."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from qwencoder_lsp import paths
from tests.model.lora import write_lora
from tests.protocol.fronts import Front, front

pytestmark = pytest.mark.model

PROMPT = "def add(a, b):\n    return"


async def score(f: Front, **fields: Any) -> float:
    """The log-probability of the prompt."""
    body = {"prompt": PROMPT, "max_tokens": 0, "echo": True, "logprobs": 0, **fields}
    reply = await f.http.post("/v1/completions", json=body, timeout=120)
    assert reply.status_code == 200, reply.text
    return sum(float(value or 0.0) for value in reply.json()["choices"][0]["logprobs"]["token_logprobs"])


def same(value: float) -> Any:
    """Equal up to what other batches make of it; another adapter makes more."""
    return pytest.approx(value, abs=1.0)


async def test_a_request_names_its_adapter_and_one_that_names_none_gets_what_is_set(model_05b: Path, home: Path) -> None:
    directory = paths.adapters_dir()
    directory.mkdir(parents=True)
    one, two = (write_lora(directory / f"{name}.gguf", seed) for seed, name in enumerate(("one", "two")))
    async with front(model={"completion": str(model_05b), "chat": str(model_05b)}) as f:
        base, of_one, of_two = [await score(f), await score(f, adapter="one"), await score(f, adapter="two")]
        assert min(abs(base - of_one), abs(base - of_two), abs(of_one - of_two)) > 3
        assert await score(f, lora=[{"id": 1, "scale": 1.0}]) == same(of_two)
        assert await score(f) == same(base)
        await f.http.post("/lora-adapters", json=[{"id": 0, "scale": 1.0}])
        assert [await score(f), await score(f, adapter="none"), await score(f, lora=[])] == [same(of_one), same(base), same(base)]
        infill = await f.http.post("/infill", json={"input_prefix": PROMPT, "input_suffix": "", "n_predict": 2, "adapter": "two"}, timeout=120)
        chat = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2, "adapter": "two:0.5"}
        assert (infill.status_code, (await f.http.post("/v1/chat/completions", json=chat, timeout=120)).status_code) == (200, 200)
        await asyncio.to_thread(one.unlink)
        assert await score(f) == same(base), "what was removed counts no more"
        assert (await f.http.post("/v1/completions", json={"prompt": PROMPT, "adapter": "one"})).status_code == 404
        wide = write_lora(directory / "wide.gguf", 3, width=1536)
        refused = await f.http.post("/v1/completions", json={"prompt": PROMPT, "adapter": "wide"})
        assert (refused.status_code, wide.name in refused.json()["error"]["message"]) == (400, True)
        assert await score(f, adapter="two") == same(of_two)
    assert two.exists()


async def test_the_adapter_of_the_settings_counts_for_its_role(model_05b: Path, home: Path) -> None:
    own = write_lora(home / "own.gguf", 5)
    model: dict[str, object] = {"completion": str(model_05b), "chat": str(model_05b), "completion_adapter": str(own)}
    async with front(model=model) as f:
        usual = await score(f)
        assert await score(f, adapter="own") == same(usual)
        assert await score(f, adapter="none") != same(usual)
