"""Runs a repaired function with its tests, in a process of its own, with limits."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from functools import lru_cache

from tests.bench.fim.judge import LIMIT_S
from tests.bench.fim.judge import passes as python_passes
from tests.bench.repair.items import Item

STRICT = "console.assert = (ok) => { if (!ok) process.exit(1); };\n"  # node goes on after an assertion that fails


def passes(item: Item, code: str) -> bool:
    """Whether `code` in place of the buggy file passes the item's tests in time."""
    return python_passes(f"{code}\n{item.test}") if item.language == "python" else _node_passes(f"{STRICT}{code}\n{item.test}")


@lru_cache(maxsize=8192)
def _node_passes(program: str) -> bool:
    node = shutil.which("node")
    if node is None:
        raise FileNotFoundError("node is not installed; it is needed for JavaScript")
    with tempfile.TemporaryDirectory() as directory:
        try:
            done = subprocess.run(
                [node, "--max-old-space-size=512", "-"],
                input=program.encode(),
                capture_output=True,
                timeout=LIMIT_S,
                cwd=directory,
                env={},
                check=False,
            )
        except subprocess.TimeoutExpired:
            return False
    return done.returncode == 0
