"""What "auto" means with two real models installed, and that the answer says so."""

from __future__ import annotations

import json
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from qwencoder_lsp.core.prompt import Message
from qwencoder_lsp.gateway.protocol import ChatRequest, Start
from tests.protocol.fronts import Front, front

pytestmark = [pytest.mark.model, pytest.mark.asyncio(loop_scope="module")]

SMALL, LARGE = "qwencoder-0.5b", "qwencoder-1.5b"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def f(model_05b: Path, model_15b: Path) -> AsyncIterator[Front]:
    """A service of a fresh home with both models installed, of which only one fits into memory at a time."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(prefix="qc-", ignore_cleanup_errors=True) as path:
        patch.setenv("QWENCODER_HOME", path)
        models = Path(path) / "data" / "models"
        models.mkdir(parents=True)
        for file in (model_05b, model_15b):
            (models / file.name).symlink_to(file)
        async with front(engine={"memory_mb": 1800}) as served:
            yield served


async def chat(f: Front, model: str, **fields: Any) -> Any:
    body = {"model": model, "messages": [{"role": "user", "content": "Say hi."}], "max_tokens": 2, "temperature": 0, **fields}
    return await f.http.post("/v1/chat/completions", json=body, timeout=120)


async def test_before_any_measurement_one_model_serves_both_and_the_answer_says_so(f: Front) -> None:
    answer = (await chat(f, "auto")).json()
    assert answer["model"] == LARGE
    assert answer["auto"] == {"model": LARGE, "why": "No model has been measured on this machine yet, and it serves completion too."}


async def test_a_model_that_was_named_needs_no_reason_and_takes_the_others_place_in_memory(f: Front) -> None:
    answer = (await chat(f, SMALL)).json()
    assert (answer["model"], "auto" in answer) == (SMALL, False)
    states = {model.name: model.state for model in (await f.private.status()).models}
    assert states[SMALL] == "ready"
    assert states[LARGE] == "unloaded"


async def test_a_stream_says_it_at_the_end_of_a_choice(f: Front) -> None:
    lines = (await chat(f, "auto", stream=True)).text.split("\n\n")
    events = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: {")]
    assert [event["auto"]["model"] for event in events if "auto" in event] == [events[0]["model"]]


async def test_the_gateway_tells_editors_too(f: Front) -> None:
    async for event in f.private.chat(ChatRequest((Message("user", "Say hi."),), max_tokens=2)):
        if isinstance(event, Start):
            assert event.model in (SMALL, LARGE)
            assert event.why.endswith(".")
            return
    raise AssertionError("no Start")
