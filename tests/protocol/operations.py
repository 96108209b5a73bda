"""Running commands as an orchestrator does: in processes of their own, in a fresh home."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COMMAND = [sys.executable, "-m", "qwencoder_lsp.cli"]


@dataclass(frozen=True, slots=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def run(*arguments: str, stdin: str = "", env: dict[str, str] | None = None, cwd: Path | None = None) -> Ran:
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=180, check=False, input=stdin, env=env, cwd=cwd)
    assert "Traceback" not in done.stderr, done.stderr
    return Ran(done.returncode, done.stdout, done.stderr)
