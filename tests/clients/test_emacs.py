"""Emacs with the lines that `setup emacs` writes: lsp-mode with ghost text, and eglot, driven by keystrokes."""

from __future__ import annotations

import itertools
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients import scripted
from tests.clients.installing import Unavailable, cached, run, unpack
from tests.clients.terminal import Terminal, have, launcher, written

pytestmark = pytest.mark.client

EXPORTS = """\
share="$here"/usr/share/emacs/$(ls "$here"/usr/share/emacs | grep '^[0-9]' | head -1)
libexec="$here"/usr/libexec/emacs/$(basename "$share")/x86_64-linux-gnu
export EMACSLOADPATH="$share"/lisp:"$share"/lisp/emacs-lisp:"$share"/lisp/progmodes EMACSDATA="$share"/etc EMACSPATH="$libexec"
"""
LIBRARIES = ("dash", "f", "ht", "lsp-mode", "lv", "markdown-mode", "s", "spinner")
# Only what makes a headless run quiet; lsp-mode asks on the first file of a project, and when a server died, unless it is told the answer.
QUIET = """\
(setq inhibit-startup-screen t make-backup-files nil create-lockfiles nil lsp-auto-guess-root t lsp-restart 'auto-restart lsp-lens-enable nil
      lsp-headerline-breadcrumb-enable nil lsp-warn-no-matched-clients nil confirm-kill-processes nil lsp-auto-execute-action nil
      native-comp-jit-compilation nil lsp-enable-file-watchers nil lsp-completion-provider :none eglot-autoshutdown nil eglot-autoreconnect 1)
(menu-bar-mode -1)
"""


@pytest.fixture(scope="module")
def emacs() -> list[str | Path]:
    """The command, with lsp-mode on the load-path."""
    try:
        if named := have("emacs", os.environ.get("QWENCODER_TEST_EMACS")):
            run([named, "-Q", "--batch", "--eval", "(progn (package-initialize) (require 'lsp-inline-completion))"], timeout=60)
            return [named, "-Q", "--eval", "(package-initialize)"]
        root = cached("emacs-forky", install)
    except Unavailable as reason:
        pytest.skip(f"No Emacs with lsp-mode 10: {reason}")
    folders = [folder for name in LIBRARIES for folder in (root / "usr/share/emacs/site-lisp/elpa-src").glob(f"{name}-[0-9]*")]
    quiet = ["--eval", "(setq native-comp-enable-subr-trampolines nil native-comp-jit-compilation nil)"]
    return [root / "emacs", "-nw", "-Q", *quiet, *(word for folder in folders for word in ("-L", folder)), "-l", "lsp-mode-autoloads"]


def install(target: Path) -> None:
    unpack(target, "forky", "emacs-nox", "elpa-lsp-mode")
    launcher(target, "emacs", '"$here"/usr/bin/emacs-nox --dump-file="$(ls "$libexec"/*.pdmp)"', EXPORTS)


def start(emacs: list[str | Path], home: Path, file: str, text: str, more: str = "", model: Path | None = None) -> Terminal:
    init = home / ".emacs.d/init.el"
    init.parent.mkdir()
    init.write_text(QUIET + scripted.configuration("emacs") + more, encoding="utf-8")
    path = scripted.project(home) / file
    path.write_text(text)
    try:
        terminal = Terminal([*emacs, "-l", init, path], home, scripted.environment(home, model))
    except Unavailable as reason:
        pytest.skip(str(reason))
    terminal.wait(lambda: len(terminal.servers()) == 1)
    return terminal


@pytest.fixture
def editor(emacs: list[str | Path], tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Terminal]:
    file, text = request.param
    with start(emacs, tmp_path, file, text) as terminal:
        yield terminal


@pytest.fixture
def eglot(emacs: list[str | Path], tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Terminal]:
    file, text = request.param
    more = "(remove-hook 'prog-mode-hook #'qwencoder-start) (qwencoder-eglot '(python-mode)) (add-hook 'python-mode-hook #'eglot-ensure)\n"
    with start(emacs, tmp_path, file, text, more) as terminal:
        yield terminal


def command(terminal: Terminal, name: str) -> None:
    """M-x NAME RET."""
    terminal.keys("M-x")
    terminal.wait(lambda: last_line(terminal).startswith("M-x"))
    terminal.type(name)
    terminal.keys("Enter")


def quit_(terminal: Terminal) -> None:
    """C-g, to its end: what is typed before that is thrown away. Where something in the background took it, once more; at once it is an emergency."""

    def pressed() -> bool:
        terminal.keys("C-g")
        for _ in range(30):
            if last_line(terminal).startswith("Quit"):
                return True
            time.sleep(0.1)
        return False

    terminal.wait(pressed)


def last_line(terminal: Terminal) -> str:
    """The minibuffer, or the echo area."""
    return terminal.screen().rstrip().rpartition("\n")[2]


def saved(terminal: Terminal, file: Path, text: str) -> None:
    def same() -> bool:
        terminal.keys("C-x", "C-s")
        time.sleep(0.1)
        return written(file) == text

    terminal.wait(same)


def ghost(terminal: Terminal, seconds: float = 30) -> None:
    """Type in the second line until the suggestion is on the screen."""

    def shown() -> bool:
        quit_(terminal)
        terminal.keys("M-<", "C-n", "C-e")
        terminal.type(" ")
        terminal.keys("BSpace")
        time.sleep(1)
        return "return a + b" in terminal.screen()

    terminal.wait(shown, seconds)


@pytest.mark.parametrize("editor", [("add.py", scripted.ADD)], indirect=True)
def test_ghost_text_appears_while_typing_and_is_inserted(editor: Terminal, tmp_path: Path) -> None:
    ghost(editor)
    editor.type("\x1b[27;5;13~")  # C-RET, as terminals with modifyOtherKeys send it
    saved(editor, tmp_path / "project/add.py", "def add(a, b):\n    return a + b\n")


@pytest.mark.model
def test_the_real_model_completes_in_lsp_mode(emacs: list[str | Path], tmp_path: Path, model_15b: Path) -> None:
    with start(emacs, tmp_path, "add.py", scripted.ADD, model=model_15b) as editor:
        ghost(editor, 180)
        editor.type("\x1b[27;5;13~")
        saved(editor, tmp_path / "project/add.py", "def add(a, b):\n    return a + b\n")


@pytest.mark.parametrize("editor", [("double.py", scripted.DOUBLE)], indirect=True)
def test_an_action_of_lsp_mode_is_applied_and_undone_in_one_step(editor: Terminal, tmp_path: Path) -> None:
    act(editor, "lsp-execute-code-action", "Simplify")
    editor.wait("return 2 * x")
    saved(editor, tmp_path / "project/double.py", scripted.SIMPLER)
    editor.keys("C-_")
    saved(editor, tmp_path / "project/double.py", scripted.DOUBLE)


@pytest.mark.parametrize("editor", [("review.py", scripted.REVIEWED)], indirect=True)
def test_a_finding_is_a_diagnostic_of_lsp_mode_and_its_action_fixes_the_file(editor: Terminal, tmp_path: Path) -> None:
    editor.wait(lambda: re.search(r"LSP\[qwencoder:\d+\]", editor.screen()))
    command(editor, "qwencoder-review")
    editor.wait("Flymake[1 0]")
    act(editor, "lsp-execute-code-action", "Fix:", "C-e", "Left")
    editor.wait(scripted.RIGHT)
    saved(editor, tmp_path / "project/review.py", scripted.REVIEWED.replace(scripted.WRONG, scripted.RIGHT))


@pytest.mark.parametrize("editor", [("add.py", scripted.ADD)], indirect=True)
def test_a_killed_server_is_started_again_by_lsp_mode_and_works(editor: Terminal, tmp_path: Path) -> None:
    editor.wait(lambda: re.search(r"LSP\[qwencoder:\d+\]", editor.screen()))
    killed(editor)
    ghost(editor)


@pytest.mark.parametrize("eglot", [("double.py", scripted.DOUBLE)], indirect=True)
def test_an_action_of_eglot_is_applied_and_undone_in_one_step(eglot: Terminal, tmp_path: Path) -> None:
    act(eglot, "eglot-code-actions", "Simplify")
    eglot.wait("return 2 * x")
    saved(eglot, tmp_path / "project/double.py", scripted.SIMPLER)
    eglot.keys("C-_")
    saved(eglot, tmp_path / "project/double.py", scripted.DOUBLE)


@pytest.mark.parametrize("eglot", [("review.py", scripted.REVIEWED)], indirect=True)
def test_a_finding_is_a_diagnostic_of_eglot_and_its_action_fixes_the_file(eglot: Terminal, tmp_path: Path) -> None:
    eglot.wait("[eglot")
    command(eglot, "qwencoder-review")
    eglot.wait("Flymake[1 0]")
    act(eglot, "eglot-code-actions", "Fix:", "C-e", "Left")
    eglot.wait(scripted.RIGHT)
    saved(eglot, tmp_path / "project/review.py", scripted.REVIEWED.replace(scripted.WRONG, scripted.RIGHT))


@pytest.mark.parametrize("eglot", [("add.py", scripted.ADD)], indirect=True)
def test_eglot_completes_and_starts_a_killed_server_again(eglot: Terminal, tmp_path: Path) -> None:
    eglot.wait("[eglot")
    time.sleep(1.5)  # eglot starts only a server again that has lived for eglot-autoreconnect, here 1 s
    killed(eglot)

    def completed() -> bool:
        eglot.keys("M-<", "C-n", "C-e", "C-M-i")
        time.sleep(2)
        return "return a + b" in eglot.screen()

    eglot.wait(completed)
    saved(eglot, tmp_path / "project/add.py", "def add(a, b):\n    return a + b\n")


@pytest.mark.parametrize("editor", [("written.py", "\n")], indirect=True)
def test_typing_for_a_while_leaves_no_error_of_lsp_mode(editor: Terminal, tmp_path: Path) -> None:
    editor.wait(lambda: re.search(r"LSP\[qwencoder:\d+\]", editor.screen()))
    type_for_a_while(editor, tmp_path / "project/written.py")
    assert errors(editor, tmp_path) == []


@pytest.mark.parametrize("eglot", [("written.py", "\n")], indirect=True)
def test_typing_for_a_while_leaves_no_error_of_eglot(eglot: Terminal, tmp_path: Path) -> None:
    eglot.wait("[eglot")
    type_for_a_while(eglot, tmp_path / "project/written.py")
    assert errors(eglot, tmp_path) == []


def type_for_a_while(terminal: Terminal, file: Path) -> None:
    """Write functions, and take suggestions, undo and complete in turn; then save."""
    end, numbers = time.monotonic() + scripted.TYPING_S, itertools.count()
    while time.monotonic() < end:
        number = next(numbers)
        terminal.keys("M->")
        terminal.type(f"def f{number}(a, b):\r")
        terminal.type("x = a + b")
        time.sleep(0.15)
        terminal.keys(*[("C-M-i",), ("C-_",), ("BSpace", "BSpace"), ("M-b", "C-k"), ("M-<",)][number % 5])
        time.sleep(0.05)
        quit_(terminal)
        terminal.keys("M->")
        terminal.type("\r")
        terminal.keys("M-\\")  # the next function not within this one
    terminal.keys("C-x", "C-s")
    terminal.wait(lambda: written(file).count("def f") > scripted.TYPING_S / 4)


def errors(terminal: Terminal, home: Path) -> list[str]:
    """The lines of Emacs's messages that speak of an error or a warning."""
    terminal.keys("M-:")
    terminal.wait(lambda: last_line(terminal).startswith("Eval:"))
    terminal.type(f'(with-current-buffer "*Messages*" (write-region nil nil "{home}/messages"))')
    terminal.keys("Enter")
    terminal.wait((home / "messages").exists)
    time.sleep(0.2)
    lines = (home / "messages").read_text("utf-8").splitlines()
    assert lines
    bad = [line for line in lines if re.search("error|warning|failed", line, re.IGNORECASE)]
    own = (".el: Warning:", "signaled (quit)")  # of lsp-mode's own source; C-g while Emacs drew the screen
    return [line for line in bad if not any(words in line for words in own)]


def act(terminal: Terminal, name: str, title: str, *to: str) -> None:
    """Choose a code action on the second line."""

    def asked() -> bool:
        quit_(terminal)
        terminal.keys("M-<", "C-n", *to)
        command(terminal, name)
        time.sleep(0.7)
        return "Select code action" in last_line(terminal) or "Pick an action" in last_line(terminal)

    terminal.wait(asked)
    terminal.type(title)
    terminal.keys("Tab", "Enter")


def killed(terminal: Terminal) -> None:
    """Kill the server and wait for another one."""
    [process] = terminal.servers()
    process.kill()
    terminal.wait(lambda: [server.pid for server in terminal.servers()] not in ([], [process.pid]))
