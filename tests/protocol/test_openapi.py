"""The OpenAPI document against the behaviour: schemathesis makes requests from it and checks the answers."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

from tests.protocol.fronts import front

EXAMPLES = os.environ.get("TEST_FUZZ_EXAMPLES", "4")  # per operation
# A request may be right by the document and still ask for what this model, or llguidance, does not have: a token id, a keyword of a schema.
NOT_CHECKED = "positive_data_acceptance"
NOT_ASKED = "/models/download|/api/pull|/v1/files$"  # the first two would fetch models; whatever is uploaded, its part of a form is text


async def test_no_request_makes_the_service_fail_or_answer_otherwise_than_documented(script: Any, tmp_path: Path) -> None:
    script(default='{"a": 1} and more')
    async with front() as f:
        command = [sys.executable, "-m", "schemathesis.cli", "run", f"{f.http.base_url}/openapi.json", "--checks", "all"]
        command += ["--exclude-checks", NOT_CHECKED, "--exclude-path-regex", NOT_ASKED, "--max-examples", EXAMPLES, "--phases", "fuzzing"]
        command += ["--continue-on-failure", "--request-timeout", "60", "--no-color", "--warnings", "off"]
        environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=tmp_path,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        assert process.returncode == 0, output.decode()[-8000:]
        assert (await f.client.completions.create(model="auto", prompt="x")).choices[0].text
        await f.busy(0)
        print(output.decode()[-400:])


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
