"""The OpenAPI document against the behaviour: schemathesis makes requests from it and checks the answers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tests.protocol.fronts import front
from tests.protocol.fuzzing import fuzz

EXAMPLES = os.environ.get("TEST_FUZZ_EXAMPLES", "4")  # per operation


async def test_no_request_makes_the_service_fail_or_answer_otherwise_than_documented(script: Any, tmp_path: Path) -> None:
    script(default='{"a": 1} and more')
    async with front() as f:
        assert await fuzz(f, tmp_path, EXAMPLES) > 50
        assert (await f.client.completions.create(model="auto", prompt="x")).choices[0].text
        await f.busy(0)


async def test_every_operation_documents_its_errors(script: Any) -> None:
    async with front() as f:
        document = (await f.http.get("/openapi.json")).json()
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    assert len(operations) > 20
    shapes = {"#/components/schemas/Error", "#/components/schemas/OllamaError"}
    for operation in operations:
        assert operation["responses"]["default"]["content"]["application/json"]["schema"]["$ref"] in shapes
        assert "422" not in operation["responses"]
    streamed = document["paths"]["/v1/chat/completions"]["post"]["responses"]["200"]["content"]
    assert set(streamed) == {"application/json", "text/event-stream"}
