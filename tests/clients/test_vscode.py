"""VS Code with the packaged extension: what a user types, sees in the page, and finds in the saved file."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients import vscode
from tests.clients.installing import Unavailable

pytestmark = pytest.mark.client

Step = dict[str, Any]
SERVER = [sys.executable, "-m", "qwencoder_lsp.cli", "--stdio"]
MULTI_LINE = "if n < 2:\n        return n\n    return fib(n - 1) + fib(n - 2)"
SCRIPT = {
    "default": "pass",
    "rules": [
        {"contains": "def fib", "text": MULTI_LINE},
        {"contains": "# greeting", "text": "+ name"},
        {"contains": "# switched", "text": "on = 1"},
    ],
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[vscode.CodeServer]:
    home = tmp_path_factory.mktemp("vscode")
    (home / "project").mkdir()
    (home / "script.json").write_text(json.dumps(SCRIPT))
    env = {
        "QWENCODER_HOME": str(home),
        "QWENCODER_GATEWAY_LINGER_S": "0",
        "QWENCODER_MODEL": "scripted",
        "QWENCODER_SCRIPT": str(home / "script.json"),
    }
    try:
        vscode.chromium()
        vscode.playwright()
        prepared = vscode.CodeServer(home, vscode.build_extension(home / "build"), {"qwencoder.command": SERVER}, env)
    except Unavailable as reason:
        pytest.skip(str(reason))
    with prepared as running:
        yield running


def write(server: vscode.CodeServer, name: str, text: str) -> Path:
    path = server.home / "project" / name
    path.write_bytes(text.encode())
    return path


def test_fast_typing_after_an_emoji_then_tab_gives_the_text_on_disk(server: vscode.CodeServer) -> None:
    file = write(server, "emoji.py", "# greeting\n")
    steps: list[Step] = [{"status": "Ready"}, {"press": "Control+End"}, {"type": "word = '😀é' "}, {"ghost": True}, {"press": "Tab"}, {"save": True}]
    report = server.session(file, steps)
    assert report["ghosts"] == ["+ name"]
    assert file.read_bytes().decode() == "# greeting\nword = '😀é' + name"
    print(f"\nlast key to ghost text in VS Code: {report['waits'][0]:.0f} ms")


def test_several_lines_in_a_crlf_file_keep_its_line_endings(server: vscode.CodeServer) -> None:
    file = write(server, "crlf.py", "def fib(n):\r\n")
    steps: list[Step] = [{"status": "Ready"}, {"press": "Control+End"}, {"type": "    "}, {"ghost": True}, {"press": "Tab"}, {"save": True}]
    report = server.session(file, steps)
    assert report["ghosts"] == [MULTI_LINE]
    assert file.read_bytes().decode() == f"def fib(n):\n    {MULTI_LINE}".replace("\n", "\r\n")


def test_the_status_item_switches_suggestions_off_and_on(server: vscode.CodeServer) -> None:
    file = write(server, "switched.py", "# switched\n")
    switch = {"command": "Switch suggestions on or off"}
    off: list[Step] = [{"status": "Ready"}, switch, {"status": "switched off"}, {"press": "Control+End"}, {"type": "x"}]
    on: list[Step] = [{"noGhost": 1000}, switch, {"press": "Backspace"}, {"ghost": True}]
    assert server.session(file, off + on)["ghosts"] == ["on = 1"]


def test_a_workspace_sets_what_a_project_may_but_not_the_command_that_is_started(server: vscode.CodeServer) -> None:
    started = server.home / "started-by-workspace"
    workspace = {"qwencoder.command": ["touch", str(started)], "qwencoder.completion.maxLines": 1}
    (server.home / "other/.vscode").mkdir(parents=True)
    (server.home / "other/.vscode/settings.json").write_text(json.dumps(workspace))
    file = server.home / "other/fib.py"
    file.write_text("def fib(n):\n")
    steps: list[Step] = [{"status": "Ready"}, {"press": "Control+End"}, {"type": "    "}, {"ghost": True}]
    assert server.session(file, steps)["ghosts"] == ["if n < 2:"]
    assert not started.exists()
