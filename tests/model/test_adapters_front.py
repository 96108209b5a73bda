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


async def first(f: Front, **fields: Any) -> float:
    """The log-probability of the most probable first token."""
    reply = await f.http.post("/v1/completions", json={"prompt": PROMPT, "max_tokens": 1, "temperature": 0, "logprobs": 1, **fields}, timeout=120)
    assert reply.status_code == 200, reply.text
    return round(float(reply.json()["choices"][0]["logprobs"]["token_logprobs"][0]), 1)


async def test_a_request_names_its_adapter_and_one_that_names_none_gets_what_is_set(model_05b: Path, home: Path) -> None:
    directory = paths.adapters_dir()
    directory.mkdir(parents=True)
    one, two = (write_lora(directory / f"{name}.gguf", seed) for seed, name in enumerate(("one", "two")))
    async with front(model={"completion": str(model_05b), "chat": str(model_05b)}) as f:
        base, of_one, of_two = [await first(f), await first(f, adapter="one"), await first(f, adapter="two")]
        assert len({base, of_one, of_two}) == 3
        assert await first(f, lora=[{"id": 1, "scale": 1.0}]) == of_two
        assert await first(f) == base
        await f.http.post("/lora-adapters", json=[{"id": 0, "scale": 1.0}])
        assert [await first(f), await first(f, adapter="none"), await first(f, lora=[])] == [of_one, base, base]
        infill = await f.http.post("/infill", json={"input_prefix": PROMPT, "input_suffix": "", "n_predict": 2, "adapter": "two"}, timeout=120)
        chat = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2, "adapter": "two:0.5"}
        assert (infill.status_code, (await f.http.post("/v1/chat/completions", json=chat, timeout=120)).status_code) == (200, 200)
        await asyncio.to_thread(one.unlink)
        assert await first(f) == base, "what was removed counts no more"
        assert (await f.http.post("/v1/completions", json={"prompt": PROMPT, "adapter": "one"})).status_code == 404
        wide = write_lora(directory / "wide.gguf", 3, width=1536)
        refused = await f.http.post("/v1/completions", json={"prompt": PROMPT, "adapter": "wide"})
        assert (refused.status_code, wide.name in refused.json()["error"]["message"]) == (400, True)
        assert await first(f, adapter="two") == of_two
    assert two.exists()


async def test_the_adapter_of_the_settings_counts_for_its_role(model_05b: Path, home: Path) -> None:
    own = write_lora(home / "own.gguf", 5)
    model: dict[str, object] = {"completion": str(model_05b), "chat": str(model_05b), "completion_adapter": str(own)}
    async with front(model=model) as f:
        assert await first(f) != await first(f, adapter="none")
        assert await first(f) == await first(f, adapter="own")
