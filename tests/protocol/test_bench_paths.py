"""The editor that benchmarks ask: the language server with a gateway of its own, and one whose renderer takes nothing back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.bench.cursor.run import UNHEALED
from tests.bench.fim.paths import Editor


@pytest.mark.parametrize(("gateway", "shown"), [(None, "lt + 1"), (UNHEALED, "ne + 2")])
async def test_only_the_shipped_gateway_takes_the_begun_word_back(gateway: str | None, shown: str, tmp_path: Path) -> None:
    script = tmp_path / "script.json"
    rules = [{"constraint": " resu", "text": "lt + 1"}]
    script.write_text(json.dumps({"rules": rules, "default": "ne + 2"}), "utf-8")
    async with Editor.running(Path("scripted"), {"QWENCODER_SCRIPT": str(script)}, gateway) as editor:
        middle = editor.fill("let result = 1;\nreturn resu", "\n", "javascript", path="lib/a file.js")
    assert middle.text == shown
    assert middle.signals["confidence"] is not None


async def test_silence_comes_with_its_reason(tmp_path: Path) -> None:
    script = tmp_path / "script.json"
    script.write_text(json.dumps({"default": "x"}), "utf-8")
    async with Editor.running(Path("scripted"), {"QWENCODER_SCRIPT": str(script)}) as editor:
        middle = editor.fill("return res", "ult\n")
    assert (middle.text, middle.note) == ("", "the cursor is inside a word")


async def test_a_gateway_that_cannot_start_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ChildProcessError, match="no_such_module"):
        async with Editor.running(Path("scripted"), {}, "no_such_module"):
            pass
