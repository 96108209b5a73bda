"""Helix with the configuration that `setup helix` writes: completion, action menu, undo, diagnostics, and a server that dies."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients import scripted
from tests.clients.installing import Unavailable, cached, unpack
from tests.clients.terminal import Terminal, have, launcher, written

pytestmark = pytest.mark.client


@pytest.fixture(scope="module")
def helix() -> Path:
    try:
        return have("hx", os.environ.get("QWENCODER_TEST_HELIX")) or cached("helix-forky", install) / "hx"
    except Unavailable as reason:
        pytest.skip(str(reason))


def install(target: Path) -> None:
    unpack(target, "forky", "hx")
    launcher(target, "hx", '"$here"/usr/lib/hx/hx')


def start(helix: Path, home: Path, file: str, text: str, model: Path | None = None) -> Terminal:
    configured = home / "config/helix/languages.toml"
    configured.parent.mkdir(parents=True)
    configured.write_text(scripted.configuration("helix"), encoding="utf-8")
    path = scripted.project(home) / file
    path.write_text(text)
    try:
        terminal = Terminal([helix, "--log", home / "helix.log", path], home, scripted.environment(home, model))
    except Unavailable as reason:
        pytest.skip(str(reason))
    terminal.wait(lambda: len(terminal.servers()) == 1)
    return terminal


@pytest.fixture
def editor(helix: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Terminal]:
    file, text = request.param
    with start(helix, tmp_path, file, text) as terminal:
        yield terminal


def saved(terminal: Terminal, file: Path, text: str) -> None:
    """Save, and wait until the file holds the text."""

    def same() -> bool:
        terminal.keys("Escape")
        terminal.type(":write\r")
        return written(file) == text

    terminal.wait(same)


def complete(terminal: Terminal, seconds: float = 30) -> None:
    """Open the menu at the end of the second line until the model's entry is in it, and take it."""

    def offered() -> bool:
        terminal.keys("Escape", "g", "g", "j", "A")
        terminal.keys("C-x")
        return "return a + b" in terminal.screen()

    terminal.wait(offered, seconds)
    terminal.keys("Tab", "Enter")


@pytest.mark.parametrize("editor", [("add.py", scripted.ADD)], indirect=True)
def test_the_entry_of_the_menu_is_inserted(editor: Terminal, tmp_path: Path) -> None:
    complete(editor)
    saved(editor, tmp_path / "project/add.py", "def add(a, b):\n    return a + b\n")


@pytest.mark.model
def test_the_real_model_completes_in_the_menu(helix: Path, tmp_path: Path, model_15b: Path) -> None:
    with start(helix, tmp_path, "add.py", scripted.ADD, model_15b) as editor:
        complete(editor, 180)
        saved(editor, tmp_path / "project/add.py", "def add(a, b):\n    return a + b\n")


@pytest.mark.parametrize("editor", [("double.py", scripted.DOUBLE)], indirect=True)
def test_an_action_of_the_menu_is_applied_and_undone_in_one_step(editor: Terminal, tmp_path: Path) -> None:
    choose(editor, "Simplify double")
    editor.wait(lambda: "return 2 * x" in editor.screen())
    editor.keys("u")
    saved(editor, tmp_path / "project/double.py", scripted.DOUBLE)


@pytest.mark.parametrize("editor", [("review.py", scripted.REVIEWED)], indirect=True)
def test_a_finding_is_shown_and_its_action_fixes_the_file(editor: Terminal, tmp_path: Path) -> None:
    choose(editor, "Review this file")
    editor.wait(scripted.MESSAGE)
    choose(editor, f"Fix: {scripted.MESSAGE}", to=("]", "d"))
    editor.wait(scripted.RIGHT)
    saved(editor, tmp_path / "project/review.py", scripted.REVIEWED.replace(scripted.WRONG, scripted.RIGHT))


def choose(terminal: Terminal, title: str, to: tuple[str, ...] = ("j",)) -> None:
    """Open the action menu where the keys `to` lead from the first line, and go down to the entry whose title holds the text."""

    def opened() -> bool:
        terminal.keys("Escape", "Escape", "g", "g", *to, "Space", "a")
        time.sleep(0.3)
        return title in terminal.screen()

    terminal.wait(opened)
    rows = [line for line in terminal.screen().splitlines() if any(word in line for word in ("Qwen-Coder", "Fix: ", "Dismiss: "))]
    assert any(title in row for row in rows), rows
    for _ in range(next(number for number, row in enumerate(rows) if title in row)):
        terminal.keys("Down")
    terminal.keys("Enter")


@pytest.mark.parametrize("editor", [("add.py", scripted.ADD)], indirect=True)
def test_a_killed_server_works_again_after_a_restart_and_typing_leaves_no_error(editor: Terminal, tmp_path: Path) -> None:
    [process] = editor.servers()
    process.kill()
    editor.wait("Language server exited: qwencoder")
    editor.type(":lsp-restart qwencoder\r")
    editor.wait(lambda: [server.pid for server in editor.servers()] not in ([], [process.pid]))
    complete(editor)
    editor.keys("Escape", "o")
    editor.type("def f(a):\nreturn a\n" * 10)
    editor.keys("Escape")
    editor.type(":write\r")
    editor.wait(lambda: written(tmp_path / "project/add.py").count("def f") == 10)
    log = (tmp_path / "helix.log").read_text() if (tmp_path / "helix.log").exists() else ""
    assert [line for line in log.splitlines() if "panic" in line.lower()] == []


@pytest.mark.parametrize("editor", [("written.py", "\n")], indirect=True)
def test_typing_for_a_while_leaves_no_error_in_the_log(editor: Terminal, tmp_path: Path) -> None:
    end, numbers = time.monotonic() + scripted.TYPING_S, itertools.count()
    while time.monotonic() < end:
        number = next(numbers)
        editor.keys("Escape", "g", "e", "o")
        editor.type(f"def f{number}(a, b):\r")
        editor.type("x = a + b")
        time.sleep(0.1)
        editor.keys(*[("C-x", "Tab"), ("C-x", "C-n", "C-p"), ("Escape", "u"), ("BSpace", "BSpace"), ("C-w",)][number % 5])
    editor.keys("Escape")
    editor.type(":write\r")
    editor.wait(lambda: written(tmp_path / "project/written.py").count("def f") > scripted.TYPING_S / 4)
    log = (tmp_path / "helix.log").read_text() if (tmp_path / "helix.log").exists() else ""
    assert [line for line in log.splitlines() if "[ERROR]" in line or "panic" in line.lower()] == []
