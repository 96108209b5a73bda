"""The README's main command with the real 1.5B model."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.model


@pytest.mark.timeout(1200)
def test_the_demo_shows_ghost_text_a_finding_and_its_fix(model_15b: Path, home: Path, tmp_path: Path) -> None:
    picture = tmp_path / "session.svg"
    command = [sys.executable, "-m", "qwencoder_lsp.cli", "demo", "--model", str(model_15b), "--svg", str(picture)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1100, check=False)
    assert done.returncode == 0, done.stderr
    assert "item.price * item.quantity" in done.stdout, "the ghost text"
    assert "rates.py: review" in done.stdout
    fixed = [line.strip("│ ") for line in done.stdout.split("rates.py: fix")[1].splitlines()]
    assert any(line.startswith("+") and "rate = await self._load(currency)" in line for line in fixed), "the fix"
    assert "prefill" in done.stdout
    assert picture.read_text("utf-8").startswith("<svg")
