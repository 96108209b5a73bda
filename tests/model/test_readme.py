"""The examples of the README's chapter on HTTP, as they stand there, with the real 1.5B model."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from qwencoder_lsp import paths
from tests.protocol.fronts import front

pytestmark = pytest.mark.model

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
CHAPTER = README.split("\n## HTTP\n")[1].split("\n## ")[0]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", CHAPTER, re.DOTALL)


async def run(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env={**os.environ}
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return output.decode()


async def test_every_example_answers(home: Path, model_15b: Path) -> None:
    paths.models_dir().mkdir(parents=True)
    (paths.models_dir() / model_15b.name).symlink_to(model_15b)
    commands = re.split(r"\n(?=curl )", blocks("sh")[0].strip())
    async with front() as f:
        address = f"127.0.0.1:{f.http.base_url.port}"
        answers: list[Any] = [
            json.loads(await run("bash", "-c", command.replace("curl ", "curl -sS --fail-with-body ", 1).replace("127.0.0.1:11452", address)))
            for command in commands
        ]
        printed = [await run(sys.executable, "-c", program.replace("127.0.0.1:11452", address)) for program in blocks("python")]
    health, models, completion, chat = answers
    assert health["status"] == "ok"
    assert next(row for row in models["models"] if row["model_name"] == "qwencoder-1.5b")["state"] in ("unloaded", "ready")
    assert "return" in completion["choices"][0]["text"]
    assert completion["usage"]["completion_tokens"] <= 100
    call = chat["choices"][0]["message"]["function_call"]
    assert (call["name"], json.loads(call["arguments"])["city"]) == ("weather", "Oslo")
    assert "a + b" in printed[0]
    assert printed[0].count("def add(a, b):") == 1
