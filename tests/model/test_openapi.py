"""The OpenAPI document against the behaviour, with the real 0.5B model."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.protocol.fronts import front
from tests.protocol.fuzzing import fuzz

EXAMPLES = "2"  # per operation
CONTEXT = 512  # tokens: an answer that nobody limits ends there

pytestmark = pytest.mark.model


async def test_no_request_makes_the_service_with_a_model_fail_or_answer_otherwise_than_documented(
    model_05b: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = str(model_05b)
    async with front(model={"completion": model, "chat": model}, engine={"context": CONTEXT, "max_context": CONTEXT}) as f:
        assert await fuzz(f, tmp_path, EXAMPLES, "--request-timeout", "600", "--max-response-time", "600") >= 50
        assert (await f.client.completions.create(model="auto", prompt="x", max_tokens=1)).usage
        await f.busy(0)
