"""schemathesis makes requests from the OpenAPI document, and checks the answers against it."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

from tests.protocol.fronts import Front

# A request may be right by the document and still ask for what this model, or llguidance, does not have: a token id, a keyword of a schema.
NOT_CHECKED = "positive_data_acceptance"
LINE = 1000  # characters of a reported one that are shown; a request may have many more
NOT_ASKED = "/models/download|/api/pull|/v1/files$"  # the first two would fetch models; whatever is uploaded, its part of a form is text


async def fuzz(f: Front, folder: Path, examples: str, *options: str) -> int:
    """How many requests were made, `examples` per operation; all answers are as documented, none is a failure of the service."""
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{f.http.base_url}/openapi.json", "--checks", "all"]
    command += ["--exclude-checks", NOT_CHECKED, "--exclude-path-regex", NOT_ASKED, "--max-examples", examples, "--phases", "fuzzing"]
    command += ["--continue-on-failure", "--no-color", "--warnings", "off", *(options or ("--request-timeout", "60"))]
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    text = "\n".join(line[:LINE] for line in output.decode().splitlines())
    assert process.returncode == 0, text[-8000:]
    print(text[-400:])
    made = re.search(r"(\d+) generated", text)
    assert made, text[-400:]
    return int(made[1])
