"""What the terminal editors share: a home with the configuration that `setup` writes, and a scripted model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from qwencoder_lsp.editors.configurations import PLANS

TYPING_S = float(os.environ.get("QWENCODER_TEST_TYPING_S", "6"))
"""For how long each editor is typed in, where a test looks for errors in its log."""
SERVER = [sys.executable, "-m", "qwencoder_lsp.cli", "--stdio"]

WRONG, RIGHT = "return items[1]", "return items[0]"
REVIEWED = f"def first(items):\n    {WRONG}\n\n\ndef last(items):\n    return items[-1]\n"
MESSAGE = "It returns the second item."
DOUBLE = "def double(x):\n    y = x\n    return 2 * y\n"
SIMPLER = "def double(x):\n    return 2 * x\n"
ADD = "def add(a, b):\n    \n"
SCRIPT = {
    "default": "pass",
    "rules": [
        {"contains": "simpler and easier", "text": f"```python\n{SIMPLER}```"},
        # A review asks twice: for the corrected file, then, with that answer in the prompt, for the reasons.
        {
            "contains": RIGHT,
            "text": json.dumps({"findings": [{"quote": WRONG, "message": MESSAGE, "category": "logic", "severity": "error"}]}),
        },
        {"contains": WRONG, "text": f"```python\n{REVIEWED.replace(WRONG, RIGHT)}```"},
        {"contains": "def add", "text": "return a + b"},
    ],
}


def environment(home: Path, model: Path | None = None) -> dict[str, str]:
    """The environment of an editor whose server uses a model, or answers from SCRIPT."""
    ours = {"QWENCODER_HOME": str(home), "QWENCODER_GATEWAY_LINGER_S": "0", "PYTHONPATH": str(Path(__file__).parents[2])}
    if model:
        return {**ours, "QWENCODER_MODEL": str(model)}
    script = home / "script.json"
    script.write_text(json.dumps(SCRIPT))
    return {**ours, "QWENCODER_MODEL": "scripted", "QWENCODER_SCRIPT": str(script)}


def configuration(editor: str) -> str:
    """The text that `qwencoder-lsp setup EDITOR` makes of an empty file, for this checkout's server."""
    [merged] = PLANS[editor](SERVER).files.values()
    return merged("")


def project(home: Path) -> Path:
    """A git repository in the home, for the files of a test."""
    path = home / "project"
    subprocess.run(["git", "init", "-q", path], check=True)
    return path
