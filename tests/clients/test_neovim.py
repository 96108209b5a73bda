"""Neovim with the shipped configuration: what a user types, sees, and gets after Tab."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import statistics
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.clients import neovim
from tests.clients.installing import Unavailable, code_blocks
from tests.clients.scripted import TYPING_S, configuration

pytestmark = pytest.mark.client

SHIPPED = Path(__file__).parents[2] / "editors/neovim"
SERVER = [sys.executable, "-m", "qwencoder_lsp.cli", "--stdio"]

MULTI_LINE = "if n < 2:\n        return n\n    return fib(n - 1) + fib(n - 2)"
WRONG, RIGHT = "return items[1]", "return items[0]"
REVIEWED = f"def first(items):\n    {WRONG}\n\n\ndef last(items):\n    return items[-1]\n"
MESSAGE = "It returns the second item."
EXPLAINED = {"findings": [{"quote": WRONG, "message": MESSAGE, "category": "logic", "severity": "error"}]}
SCRIPT = {
    "default": "pass",
    "rules": [
        {"contains": "simpler and easier", "text": "```python\ndef double(x):\n    return 2 * x\n```"},
        {"contains": "Instruction: add x twice", "text": "```python\ndef double(x):\n    return x + x\n```"},
        {"contains": "Explain this", "text": "It doubles."},
        # A review asks twice: for the corrected file, then, with that answer in the prompt, for the reasons.
        {"contains": RIGHT, "text": json.dumps(EXPLAINED)},
        {"contains": WRONG, "text": f"```python\n{REVIEWED.replace(WRONG, RIGHT)}```"},
        {"contains": "def add", "text": "return a + b"},
        {"contains": "def fib", "text": MULTI_LINE},
        {"contains": "# bracket", "text": "alpha, beta)"},
        {"contains": "# several", "text": ["first()", "second()"]},
        {"contains": "# greeting", "text": "+ name"},
        {"contains": "# typing on", "text": "items.append(1)"},
    ],
}


@pytest.fixture(scope="module", params=["0.12", "0.11", "0.10"])
def nvim(request: pytest.FixtureRequest) -> Path:
    try:
        return neovim.find(request.param)
    except Unavailable as reason:
        pytest.skip(str(reason))


def start(nvim: Path, home: Path, env: dict[str, str], server: list[str] = SERVER) -> neovim.Editor:
    """Neovim with the set-up of the README, the shipped files on its runtime path, and this checkout's server."""
    set_up = code_blocks(SHIPPED / "README.md", "lua")[0]
    assert "setup()" in set_up
    command = ", ".join(json.dumps(word) for word in server)
    init = home / "init.lua"
    init.write_text(
        f"vim.opt.runtimepath:prepend({json.dumps(str(SHIPPED))})\n" + set_up.replace("setup()", f"setup({{ cmd = {{ {command} }} }})"),
        encoding="utf-8",
    )
    neovim.git_repository(home / "project")
    ours = {"QWENCODER_HOME": str(home), "QWENCODER_GATEWAY_LINGER_S": "0"}
    return neovim.Editor(nvim, init, home, ours | env)


def scripted_environment(home: Path) -> dict[str, str]:
    script = home / "script.json"
    script.write_text(json.dumps(SCRIPT))
    return {"QWENCODER_MODEL": "scripted", "QWENCODER_SCRIPT": str(script)}


@pytest.fixture(scope="module")
def scripted(nvim: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[neovim.Editor]:
    home = tmp_path_factory.mktemp("nvim")
    with start(nvim, home, scripted_environment(home)) as editor:
        yield editor


@pytest.fixture
def project(scripted: neovim.Editor) -> Iterator[Path]:
    """The directory for files; afterwards the editor is back in normal mode without buffers."""
    yield scripted.home / "project"
    scripted.keys("<Esc>")
    scripted.lua("vim.cmd('silent! %bwipeout!')")


def write(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path


def test_tab_inserts_the_ghost_text(scripted: neovim.Editor, project: Path) -> None:
    scripted.open(write(project / "add.py", "def add(a, b):\n    \n"))
    scripted.keys("jA")
    assert scripted.wait_ghost() == "return a + b"
    scripted.keys("<Tab>")
    scripted.wait(lambda: scripted.text() == "def add(a, b):\n    return a + b", "the accepted text")


def test_tab_without_ghost_text_is_an_ordinary_tab(scripted: neovim.Editor, project: Path) -> None:
    scripted.open(write(project / "tab.py", ""))
    scripted.lua("vim.bo.expandtab = false")
    scripted.keys(":QwencoderToggle buffer<CR>i<Tab>x")
    scripted.wait(lambda: scripted.text() == "\tx", "a tab")


def test_several_lines_appear_and_are_inserted_as_shown(scripted: neovim.Editor, project: Path) -> None:
    scripted.open(write(project / "fib.py", "def fib(n):\n    \n"))
    scripted.keys("jA")
    assert scripted.wait_ghost() == MULTI_LINE
    scripted.keys("<Tab>")
    scripted.wait(lambda: scripted.text() == f"def fib(n):\n    {MULTI_LINE}", "the accepted text")


def test_a_file_with_crlf_endings_gets_no_stray_carriage_returns(scripted: neovim.Editor, project: Path) -> None:
    path = write(project / "crlf.py", "def fib(n):\r\n    \r\n")
    scripted.open(path)
    assert scripted.lua("return vim.bo.fileformat") == "dos"
    scripted.keys("jA")
    scripted.wait_ghost(MULTI_LINE)
    scripted.keys("<Tab>")
    scripted.wait(lambda: "fib(n - 2)" in scripted.text(), "the accepted text")
    scripted.keys("<Esc>:write<CR>")
    expected = f"def fib(n):\n    {MULTI_LINE}\n".replace("\n", "\r\n").encode()
    scripted.wait(lambda: path.read_bytes() == expected, "the saved file")


def test_an_emoji_before_the_cursor_does_not_shift_the_text(scripted: neovim.Editor, project: Path) -> None:
    scripted.open(write(project / "emoji.py", "# greeting\n"))
    scripted.keys("oword = '😀é' ")
    scripted.wait_ghost("+ name")
    scripted.keys("<Tab>")
    scripted.wait(lambda: scripted.text() == "# greeting\nword = '😀é' + name", "the accepted text")


def test_text_typed_into_the_suggestion_is_not_inserted_twice(scripted: neovim.Editor, project: Path) -> None:
    scripted.open(write(project / "on.py", "# typing on\n"))
    scripted.keys("o")
    scripted.wait_ghost("items.append(1)")
    scripted.keys("items<Tab>")  # Tab comes before Neovim asks again, so the shown suggestion is the old one
    scripted.wait(lambda: scripted.text() == "# typing on\nitems.append(1)", "the accepted text")


def test_the_next_word_alone_is_inserted_and_the_rest_stays_on_offer(scripted: neovim.Editor, project: Path) -> None:
    scripted.open(write(project / "word.py", "def add(a, b):\n    \n"))
    scripted.keys("jA")
    scripted.wait_ghost("return a + b")
    scripted.keys("<M-Right>")
    scripted.wait(lambda: scripted.text() == "def add(a, b):\n    return", "the first word")
    scripted.wait_ghost(" a + b")
    scripted.keys("<M-Right>")
    scripted.wait(lambda: scripted.text() == "def add(a, b):\n    return a", "the second word")
    scripted.wait_ghost(" + b")
    scripted.keys("<Tab>")
    scripted.wait(lambda: scripted.text() == "def add(a, b):\n    return a + b", "the rest")


def test_ghost_text_that_was_dismissed_does_not_come_back_until_its_line_changes(scripted: neovim.Editor, project: Path) -> None:
    scripted.open(write(project / "dismiss.py", "def add(a, b):\n    \n"))
    scripted.keys("jA")
    scripted.wait_ghost("return a + b")
    scripted.keys("<C-]>")
    scripted.wait(lambda: scripted.ghost() is None, "no ghost text")
    scripted.keys("<Esc>A")
    scripted.wait(lambda: traces(scripted)[0]["reason"] == "rejected by the user at this place", "the next request")
    assert scripted.ghost() is None
    scripted.keys("r")
    scripted.wait_ghost()


def traces(editor: neovim.Editor) -> list[dict[str, Any]]:
    """The server's record of its last requests, newest first."""
    found: list[dict[str, Any]] = editor.lua(
        "return require('qwencoder.client').call(vim.lsp.get_clients()[1], 'request_sync', 'qwencoder/trace', { limit = 100 }).result"
    )
    return found


def test_a_finding_of_the_review_command_is_a_diagnostic_and_its_code_action_fixes_the_file(scripted: neovim.Editor, project: Path) -> None:
    scripted.open(write(project / "review.py", REVIEWED))
    scripted.keys(":QwencoderReview<CR>")
    scripted.wait(lambda: scripted.lua("return #vim.diagnostic.get(0)") == 1, "a diagnostic")
    finding = scripted.lua("return vim.diagnostic.get(0)[1]")
    assert MESSAGE in finding["message"]
    assert REVIEWED.splitlines()[finding["lnum"]][finding["col"] : finding["end_col"]] == WRONG
    scripted.keys("]d")
    scripted.lua("vim.lsp.buf.code_action({ apply = true, context = { only = { 'quickfix' } } })")
    scripted.wait(lambda: scripted.text() == REVIEWED.replace(WRONG, RIGHT).rstrip("\n"), "the fix")
    scripted.wait(lambda: scripted.lua("return #vim.diagnostic.get(0)") == 0, "no diagnostic")
    scripted.keys("u")
    scripted.wait(lambda: scripted.text() == REVIEWED.rstrip("\n"), "the text as it was")


def test_a_changed_setting_counts_at_once(scripted: neovim.Editor, project: Path) -> None:
    def change(settings: dict[str, Any]) -> None:
        scripted.lua(
            "local client, new = vim.lsp.get_clients()[1], { settings = ... } client.settings = new.settings "
            "require('qwencoder.client').call(client, 'notify', 'workspace/didChangeConfiguration', new)",
            {"qwencoder": settings},
        )

    scripted.open(write(project / "changed.py", "def add(a, b):\n    \n"))
    scripted.keys("jA")
    scripted.wait_ghost("return a + b")
    change({"completion": {"languages_off": ["python"]}})

    def silent() -> bool:
        scripted.keys("<Esc>A r<BS>")
        scripted.lua("vim.wait(300)")
        return bool(traces(scripted)[0]["reason"] == "language switched off")

    scripted.wait(silent, "a request that is not answered")
    assert scripted.ghost() is None
    change({"completion": {"languages_off": []}})
    scripted.wait(lambda: not silent(), "a request that is answered")
    scripted.wait_ghost("return a + b")


DOUBLE = "def double(x):\n    y = x\n    return 2 * y"


def test_a_refactoring_of_the_menu_is_applied_and_undone_in_one_step(scripted: neovim.Editor, project: Path) -> None:
    scripted.open(write(project / "double.py", f"{DOUBLE}\n"))
    scripted.keys("j")
    scripted.lua("vim.lsp.buf.code_action({ apply = true, context = { only = { 'refactor.rewrite.qwencoder.simplify' } } })")
    scripted.wait(lambda: scripted.text() == "def double(x):\n    return 2 * x", "the simpler function")
    scripted.keys("u")
    assert scripted.text() == DOUBLE


def test_words_change_the_function_and_an_explanation_opens_beside_it(scripted: neovim.Editor, project: Path) -> None:
    scripted.open(write(project / "double.py", f"{DOUBLE}\n"))
    scripted.keys("j:QwencoderEdit add x twice<CR>")
    scripted.wait(lambda: scripted.text() == "def double(x):\n    return x + x", "the changed function")
    scripted.keys(":QwencoderExplain<CR>")
    shown = "return vim.iter(vim.api.nvim_list_bufs()):any(function(b) return vim.api.nvim_buf_get_lines(b, 0, 1, false)[1] == 'It doubles.' end)"
    scripted.wait(lambda: scripted.lua(shown), "the explanation")


def test_the_time_from_the_last_key_to_the_ghost_text_is_printed(scripted: neovim.Editor, project: Path) -> None:
    waits = []
    for number in range(10):
        scripted.open(write(project / f"time{number}.py", f"def add(a, b):  # {number}\n    \n"))
        scripted.keys("jA")
        started = time.perf_counter()
        assert scripted.wait_ghost() == "return a + b"
        waits.append((time.perf_counter() - started) * 1000)
        scripted.keys("<Esc>")
    print(f"\nlast key to ghost text in Neovim: median {statistics.median(waits):.0f} ms, {min(waits):.0f} to {max(waits):.0f} ms")


def test_the_next_line_alone_is_inserted(scripted: neovim.Editor, project: Path) -> None:
    scripted.open(write(project / "line.py", "def fib(n):\n    \n"))
    scripted.keys("jA")
    scripted.wait_ghost(MULTI_LINE)
    scripted.keys("<M-Down>")
    scripted.wait(lambda: scripted.text() == "def fib(n):\n    if n < 2:", "the first line")


def test_what_is_accepted_is_undone_without_what_was_typed_before(scripted: neovim.Editor, project: Path) -> None:
    scripted.open(write(project / "undo.py", "# greeting\n"))
    scripted.keys("oword = a ")
    scripted.wait_ghost("+ name")
    scripted.keys("<Tab>")
    scripted.wait(lambda: scripted.text() == "# greeting\nword = a + name", "the accepted text")
    scripted.keys("<Esc>u")
    scripted.wait(lambda: scripted.text() == "# greeting\nword = a ", "the typed text alone")


def test_a_bracket_that_the_editor_closed_is_not_there_twice_after_typing_into_the_suggestion(scripted: neovim.Editor, project: Path) -> None:
    scripted.open(write(project / "bracket.py", "# bracket\nmax()\n"))
    scripted.keys("j$i")
    scripted.wait(lambda: "alpha, beta" in (scripted.ghost() or ""), "ghost text")
    scripted.keys("al<Tab>")
    scripted.wait(lambda: scripted.text() == "# bracket\nmax(alpha, beta)", "the accepted text")


def test_asking_shows_several_suggestions_to_walk_through(scripted: neovim.Editor, project: Path) -> None:
    scripted.open(write(project / "several.py", "# several\n"))
    scripted.keys("o")
    scripted.wait_ghost("first()")

    def second() -> bool:
        scripted.keys("<M-]>")
        scripted.lua("vim.wait(300)")
        return scripted.ghost() == "second()"

    scripted.wait(second, "the second one")
    scripted.keys("<M-[>")
    scripted.wait(lambda: "first" in (scripted.ghost() or ""), "the first one again")
    scripted.keys("<M-]>")
    scripted.wait(lambda: "second" in (scripted.ghost() or ""), "the second one again")
    scripted.keys("<Tab>")
    scripted.wait(lambda: scripted.text() == "# several\nsecond()", "the accepted text")


def test_ghost_text_is_switched_off_and_on_for_a_buffer_a_file_type_and_everywhere(scripted: neovim.Editor, project: Path) -> None:
    scripted.open(write(project / "toggle.py", "def add(a, b):\n    \n"))
    for scope in ("", " buffer", " filetype"):
        scripted.keys(f":QwencoderToggle{scope}<CR>jA")
        assert scripted.lua("return require('qwencoder').status()") == "Qwen off"
        scripted.keys("<Esc>")
        scripted.lua("vim.wait(400)")
        assert scripted.ghost() is None
        scripted.keys(f":QwencoderToggle{scope}<CR>A")
        scripted.wait_ghost("return a + b")
        assert scripted.lua("return require('qwencoder').status()") == "Qwen"
        scripted.keys("<Esc>")


def test_checkhealth_finds_a_running_server_with_a_model_and_a_key(scripted: neovim.Editor, project: Path) -> None:
    scripted.open(write(project / "health.py", "x = 1\n"))
    report = health(scripted)
    assert "ghost text by" in report
    assert "qwencoder-lsp " in report
    assert "Ready: scripted" in report
    assert "<Tab> accepts ghost text" in report
    assert "ERROR" not in report


def test_checkhealth_says_what_is_missing_and_how_to_get_it(nvim: Path, tmp_path: Path) -> None:
    with start(nvim, tmp_path, {}, ["no-such-program", "--stdio"]) as editor:
        report = health(editor)
    assert "no-such-program is not a program" in report
    assert "pipx install qwencoder-lsp" in report
    assert "runs for no file" in report


def test_a_killed_server_is_started_again_and_works(nvim: Path, tmp_path: Path) -> None:
    with start(nvim, tmp_path, scripted_environment(tmp_path)) as editor:
        editor.open(write(tmp_path / "project/add.py", "def add(a, b):\n    \n"))
        for _ in range(2):
            killed = editor.lua("return vim.lsp.get_clients({ name = 'qwencoder' })[1].id")
            [process] = servers(editor)
            process.kill()
            another = "local c = vim.lsp.get_clients({ bufnr = 0, name = 'qwencoder' })[1]; return c ~= nil and c.initialized == true and c.id ~= ..."
            editor.wait(partial(editor.lua, another, killed), "another client")
            editor.keys("<Esc>jA")
            editor.wait_ghost("return a + b")


def test_typing_for_a_while_leaves_no_error_in_the_log(nvim: Path, tmp_path: Path) -> None:
    with start(nvim, tmp_path, scripted_environment(tmp_path)) as editor:
        editor.open(write(tmp_path / "project/typing.py", ""))
        end, numbers = time.monotonic() + TYPING_S, itertools.count()
        while time.monotonic() < end:
            number = next(numbers)
            editor.keys(f"odef f{number}(a, b):<CR>x = a + b<CR>")
            editor.lua("vim.wait(60)")
            editor.keys(["<Tab>", "<M-Right>", "<C-]>", "<M-]>", "<BS><BS>", "<C-o>u"][number % 6] + "<Esc>")
            editor.lua("vim.wait(20)")
        assert editor.text().count("def f") > TYPING_S
        assert [line for line in editor.log().splitlines() if "[ERROR]" in line] == []
        assert editor.lua("return vim.v.errmsg") == ""


def test_the_help_has_every_command_and_option(nvim: Path, tmp_path: Path) -> None:
    text = (SHIPPED / "doc/qwencoder.txt").read_text("utf-8")
    with start(nvim, tmp_path, {}) as editor:
        commands = editor.lua("return vim.tbl_keys(vim.api.nvim_get_commands({}))")
        plugs = editor.lua("return vim.iter(vim.api.nvim_get_keymap('i')):map(function(m) return m.lhs end):totable()")
        doc = copied_doc(tmp_path)
        editor.lua("vim.cmd.helptags(...)", str(doc))
    assert (doc / "tags").read_text("utf-8") == (SHIPPED / "doc/tags").read_text("utf-8"), "run :helptags editors/neovim/doc"
    assert {name for name in commands if name.startswith("Qwencoder")} == set(re.findall(r"\*:(Qwencoder\w+)\*", text))
    assert {name for name in plugs if name.startswith("<Plug>(qwencoder-")} - {"<Plug>(qwencoder-tab)"} == set(re.findall(r"\*(<Plug>\S+)\*", text))


def test_the_file_that_setup_writes_is_enough(nvim: Path, tmp_path: Path) -> None:
    init = tmp_path / "init.lua"
    init.write_text(configuration("neovim"), encoding="utf-8")
    neovim.git_repository(tmp_path / "project")
    ours = {"QWENCODER_HOME": str(tmp_path), "QWENCODER_GATEWAY_LINGER_S": "0"}
    with neovim.Editor(nvim, init, tmp_path, ours | scripted_environment(tmp_path)) as editor:
        editor.open(write(tmp_path / "project/add.py", "def add(a, b):\n    \n"))
        editor.keys("jA")
        editor.wait_ghost("return a + b")
        editor.keys("<Tab>")
        editor.wait(lambda: editor.text() == "def add(a, b):\n    return a + b", "the accepted text")


def copied_doc(home: Path) -> Path:
    """The help file, where tags may be written."""
    return Path(shutil.copytree(SHIPPED / "doc", home / "doc"))


def health(editor: neovim.Editor) -> str:
    """What `:checkhealth qwencoder` shows."""
    editor.lua("vim.cmd('checkhealth qwencoder')")
    return editor.text()


def servers(editor: neovim.Editor) -> list[psutil.Process]:
    """The language servers of this Neovim."""
    children = psutil.Process(editor.lua("return vim.fn.getpid()")).children(recursive=True)
    return [child for child in children if "--stdio" in child.cmdline()]


@pytest.mark.model
def test_the_real_model_completes_a_function_that_runs(nvim: Path, tmp_path: Path, model_15b: Path) -> None:
    with start(nvim, tmp_path, {"QWENCODER_MODEL": str(model_15b)}) as editor:
        before = 'def add(a, b):\n    """Return the sum of a and b."""\n    return '
        editor.open(write(tmp_path / "project/add.py", ""))
        editor.lua("vim.cmd('setlocal noautoindent indentexpr=')")
        editor.keys("i" + before.replace("\n", "<CR>"))
        ghost = editor.wait_ghost(seconds=180)
        editor.keys("<Tab>")
        editor.wait(lambda: editor.text() == before + ghost, "the accepted text")
        functions: dict[str, Any] = {}
        exec(editor.text(), functions)  # noqa: S102 - running what the model wrote is the test
        assert functions["add"](2, 3) == 5
