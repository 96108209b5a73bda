"""VS Code with the packaged extension: what a user types, sees in the page, and finds in the saved file."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import qwencoder_lsp
from tests.clients import vscode
from tests.clients.installing import Unavailable
from tests.clients.scripted import TYPING_S
from tests.protocol.test_lsp_gateway import tiny_catalogue
from tests.protocol.windows import end_gateway

pytestmark = pytest.mark.client

Step = dict[str, Any]
MULTI_LINE = "if n < 2:\n        return n\n    return fib(n - 1) + fib(n - 2)"
CODE = "def first(items):\n    return items[1]\n\n\ndef last(items):\n    return items[-1]\n"
WRONG, RIGHT = "return items[1]", "return items[0]"
FIXED = CODE.replace(WRONG, RIGHT)
EXPLAINED = {"findings": [{"quote": WRONG, "message": "It returns the second item.", "category": "logic", "severity": "error"}]}
EXPLAIN = "It takes **the second** item of the list."
SCRIPT = {
    "default": "pass",
    "load_ms": 300,
    "rules": [
        {"contains": "You made these changes", "text": json.dumps(EXPLAINED)},
        {"contains": "fails its tests", "text": f"```python\n{FIXED}```"},
        {"contains": "has a problem", "text": f"```python\n{FIXED[: FIXED.index('def last')].rstrip()}\n```"},
        {"contains": "start at nought", "text": f"```python\n{FIXED[: FIXED.index('def last')].rstrip()}\n```"},
        {"contains": "You explain code", "text": EXPLAIN},
        {"contains": "def fib", "text": MULTI_LINE},
        {"contains": "# greeting", "text": "+ name"},
        {"contains": "# switched", "text": "on = 1"},
        {"contains": "# words", "text": ["alpha(beta, gamma)", "delta(epsilon)", "zeta()"]},
    ],
}
READY: Step = {"status": "Ready"}
END: Step = {"press": "Control+End"}


def server_command(pid_file: Path) -> list[str]:
    """Starts the server of this environment, after writing its process id."""
    return ["sh", "-c", f'echo $$ > "{pid_file}"; exec "$0" -m qwencoder_lsp.cli --stdio', sys.executable]


@pytest.fixture(scope="module")
def extension(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packed extension."""
    try:
        vscode.chromium()
        vscode.playwright()
        vscode.code_server()
        return vscode.build_extension(tmp_path_factory.mktemp("extension"))
    except Unavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def server(extension: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[vscode.CodeServer]:
    """VS Code with the scripted engine."""
    home = tmp_path_factory.mktemp("vscode")
    (home / "project").mkdir()
    (home / "script.json").write_text(json.dumps(SCRIPT))
    env = {
        "QWENCODER_HOME": str(home),
        "QWENCODER_GATEWAY_LINGER_S": "0",
        "QWENCODER_MODEL": "scripted",
        "QWENCODER_SCRIPT": str(home / "script.json"),
    }
    with vscode.CodeServer(home, extension, {"qwencoder.command": server_command(home / "server.pid")}, env) as running:
        yield running


def write(server: vscode.CodeServer, name: str, text: str) -> Path:
    path = server.home / "project" / name
    path.write_bytes(text.encode())
    return path


def test_the_package_is_small(extension: Path) -> None:
    size = extension.stat().st_size
    print(f"\n{extension.name}: {size} bytes")
    assert size < 300_000


def test_fast_typing_after_an_emoji_then_tab_gives_the_text_on_disk(server: vscode.CodeServer) -> None:
    file = write(server, "emoji.py", "# greeting\n")
    report = server.session(file, [READY, END, {"type": "word = '😀é' "}, {"ghost": True}, {"press": "Tab"}, {"save": True}])
    assert report["ghosts"] == ["+ name"]
    assert file.read_bytes().decode() == "# greeting\nword = '😀é' + name"
    print(f"\nlast key to ghost text in VS Code: {report['waits'][0]:.0f} ms")


def test_typing_for_a_while_leaves_no_error_in_the_log(server: vscode.CodeServer) -> None:
    file = write(server, "typing.py", "\n")
    server.session(file, [READY, END, {"typing": TYPING_S}, {"save": True}], TYPING_S + 120)
    assert file.read_text("utf-8").count("def f") > TYPING_S / 4
    assert server.complaints() == []


def test_several_lines_in_a_crlf_file_keep_its_line_endings(server: vscode.CodeServer) -> None:
    file = write(server, "crlf.py", "def fib(n):\r\n")
    report = server.session(file, [READY, END, {"type": "    "}, {"ghost": True}, {"press": "Tab"}, {"save": True}])
    assert report["ghosts"] == [MULTI_LINE]
    assert file.read_bytes().decode() == f"def fib(n):\n    {MULTI_LINE}".replace("\n", "\r\n")


def test_a_workspace_sets_what_a_project_may_and_a_changed_setting_counts_at_once(server: vscode.CodeServer) -> None:
    started = server.home / "started-by-workspace"
    (server.home / "other/.vscode").mkdir(parents=True)
    settings = server.home / "other/.vscode/settings.json"
    own = {"qwencoder.command": ["touch", str(started)], "qwencoder.completion.maxLines": 1}
    settings.write_text(json.dumps(own))
    file = server.home / "other/fib.py"
    file.write_text("def fib(n):\n")
    off = {"write": [str(settings), json.dumps({**own, "qwencoder.completion.languagesOff": ["python"]})]}
    steps: list[Step] = [READY, END, {"type": "    "}, {"ghost": True}, {"press": "Escape"}, off, {"wait": 1500}, {"press": "Backspace"}]
    report = server.session(file, [*steps, {"press": "Space"}, {"status": "language switched off"}, {"noGhost": 300}])
    assert report["ghosts"] == ["if n < 2:"]
    assert not started.exists()


def test_a_lens_above_a_function_explains_it(server: vscode.CodeServer) -> None:
    folder = server.home / "lenses"
    (folder / ".vscode").mkdir(parents=True)
    (folder / ".vscode/settings.json").write_text('{"qwencoder.review.lenses": true}')
    (folder / "first.py").write_text(CODE)
    server.session(folder / "first.py", [READY, {"lens": "Explain"}, {"shows": "the second"}])


def test_a_model_is_chosen_by_name(server: vscode.CodeServer) -> None:
    file, catalogue = server.home / "mine.gguf", server.home / "config/models/mine.toml"
    file.write_bytes(b"GGUF" + bytes(10))
    catalogue.parent.mkdir(parents=True)
    catalogue.write_text(f'name = "mine"\nroles = ["completion", "chat"]\n[[quantisations]]\nname = "Q4"\nfiles = [{{ path = "{file}" }}]\n')
    choose: list[Step] = [READY, {"command": "Choose a model"}, {"pick": "Chat"}, {"pick": "mine"}]
    machine = server.home / "data/Machine/settings.json"  # VS Code keeps there what is for one machine alone
    server.session(write(server, "choose.py", ""), [*choose, {"diskHas": [str(machine), '"qwencoder.model.chat": "mine"']}])
    machine.unlink()
    catalogue.unlink()


def test_a_word_of_a_suggestion_the_next_one_and_none(server: vscode.CodeServer) -> None:
    file = write(server, "words.py", "# words\n")
    word: list[Step] = [READY, END, {"type": "x = "}, {"ghost": True}, {"press": "Control+ArrowRight"}, {"anotherGhost": True}]
    rest: list[Step] = [{"press": "Control+z"}, {"press": "Escape"}, {"press": "Backspace"}, {"press": "Space"}, {"ghost": True}]
    more: list[Step] = [{"press": "Alt+BracketRight"}, {"anotherGhost": True}, {"press": "Escape"}, {"gone": True}, {"save": True}]
    report = server.session(file, [*word, {"save": True}, {"disk": [str(file), "# words\nx = alpha"]}, *rest, *more])
    assert report["ghosts"][:3] == ["alpha(beta, gamma)", "(beta, gamma)", "alpha(beta, gamma)"]
    assert report["ghosts"][3] in {"delta(epsilon)", "zeta()"}
    assert file.read_text() == "# words\nx = "


def test_completion_is_switched_off_and_on_everywhere_for_a_language_and_in_a_workspace(server: vscode.CodeServer) -> None:
    file = write(server, "switched.py", "# switched\n")
    steps: list[Step] = [READY, END]
    for where in ("everywhere", "for this language", "in this workspace"):
        title = f"Switch completion on or off {where}"
        off: list[Step] = [{"command": title}, {"status": "switched off"}, {"type": "x"}, {"noGhost": 600}]
        steps += [*off, {"command": title}, READY, {"press": "Backspace"}, {"ghost": True}, {"press": "Escape"}]
    assert server.session(file, steps)["ghosts"] == ["on = 1"] * 3
    saved = json.loads(server.user_settings.read_text())
    assert (saved["qwencoder.completion.enabled"], saved["[python]"]) == (True, {"qwencoder.completion.enabled": True})


def test_findings_are_shown_a_fix_is_undone_in_one_step_and_clears_them(server: vscode.CodeServer) -> None:
    file = write(server, "code.py", CODE)
    review: list[Step] = [READY, {"command": "Review this file"}, {"squiggles": True}, {"press": "Control+Home"}, {"press": "ArrowDown"}]
    fix: list[Step] = [{"press": "End"}, {"press": "Control+."}, {"pick": "Fix: It returns the second item"}, {"squiggles": False}, {"save": True}]
    menu: Step = {"shot": str(server.pictures / "fix.png")}
    undo: list[Step] = [{"disk": [str(file), FIXED]}, {"press": "Control+z"}, {"save": True}, {"disk": [str(file), CODE]}]
    server.session(file, [*review, *fix[:2], {"wait": 700}, menu, *fix[2:], *undo])


def test_what_was_asked_for_in_words_is_changed_and_what_was_asked_about_is_explained(server: vscode.CodeServer) -> None:
    file = write(server, "asked.py", CODE)
    change: list[Step] = [READY, {"press": "Control+Home"}, {"command": "Ask for a change"}, {"answer": "start at nought"}]
    wait_for: list[Step] = [{"shows": "return items[0]"}, {"save": True}, {"disk": [str(file), FIXED]}]
    explain: list[Step] = [{"command": "Explain this code"}, {"shows": "It takes the second item of the list."}]
    trace: list[Step] = [{"command": "Why did nothing appear"}, {"shows": "The latest requests"}]
    server.session(file, [*change, *wait_for, *explain, {"shot": str(server.pictures / "explanation.png")}, *trace])


def test_changes_since_the_last_commit_are_reviewed(server: vscode.CodeServer) -> None:
    folder = server.home / "repository"
    folder.mkdir()
    (folder / "changed.py").write_text(FIXED)
    (folder / "open.py").write_text("")
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    for arguments in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-qm", "one"]):
        subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True)
    (folder / "changed.py").write_text(CODE)
    # VS Code needs a moment to find the repository, which the Explorer shows by an "M".
    steps: list[Step] = [READY, {"shows": "changed.py"}, {"wait": 2000}, {"command": "Review what differs from the last commit"}]
    server.session(folder / "open.py", [*steps, {"shows": "It returns the second item."}])


def test_a_killed_server_is_started_again(server: vscode.CodeServer) -> None:
    file = write(server, "killed.py", "# greeting\n")
    kill: list[Step] = [READY, {"kill": str(server.home / "server.pid")}, {"status": "starting"}, READY]
    assert server.session(file, [*kill, END, {"type": "word = 'a' "}, {"ghost": True}])["ghosts"] == ["+ name"]


def test_the_status_item_shows_loading_and_ready(server: vscode.CodeServer) -> None:
    end_gateway(server.home)  # that of the tests before: the next engine reads the script again
    (server.home / "script.json").write_text(json.dumps({**SCRIPT, "load_ms": 4000}))
    file = write(server, "states.py", "# greeting\n")

    def shown(name: str) -> Step:
        return {"shotOfStatus": str(server.pictures / f"status-{name}.png")}

    loads: list[Step] = [READY, END, {"type": "a = b "}, {"status": "Loading"}, shown("loading"), READY, shown("ready")]
    good: list[Step] = [*loads, {"press": "Backspace"}, {"press": "Space"}, {"ghost": True}]
    server.session(file, [*good, {"status": "Latest suggestion"}])
    (server.home / "script.json").write_text(json.dumps(SCRIPT))


def test_the_status_item_shows_an_engine_that_fails_and_that_it_works_again(server: vscode.CodeServer) -> None:
    end_gateway(server.home)
    (server.home / "script.json").write_text("damaged")
    file = write(server, "fails.py", "# greeting\n")
    picture = {"shotOfStatus": str(server.pictures / "status-error.png")}
    repaired = {"write": [str(server.home / "script.json"), json.dumps(SCRIPT)]}
    fails: list[Step] = [READY, END, {"type": "a = b "}, {"status": "error"}, picture]
    works: list[Step] = [
        repaired,
        {"command": "Restart the language server"},
        READY,
        {"press": "Backspace"},
        {"press": "Space"},
        {"ghost": True},
    ]
    server.session(file, [*fails, *works])


def test_a_server_that_never_answers_is_left_when_the_user_restarts(server: vscode.CodeServer) -> None:
    program = server.home / "server.sh"
    program.write_text("exec sleep 1000")
    server.user_settings.write_text(server.settings(qwencoder__command=["sh", str(program)]))
    file = write(server, "hangs.py", "# greeting\n")
    restart = {"command": "Restart the language server"}
    works = {"write": [str(program), f"exec {sys.executable} -m qwencoder_lsp.cli --stdio"]}
    server.session(
        file, [{"status": "is starting"}, restart, {"status": "is starting"}, works, restart, READY, END, {"type": "a = b "}, {"ghost": True}]
    )
    server.user_settings.write_text(server.settings())


def test_nothing_in_the_log_of_the_extension_complains(server: vscode.CodeServer) -> None:
    killed = ("signal SIGKILL.", "initialization failed.", "will not be restarted.", "create connection to server.", "Stopping server failed")
    assert [line for line in server.complaints() if not line.endswith(killed)] == []  # two tests kill a server


# A fresh machine: no server, no model, and a workspace that nobody trusts.


def launcher_wheel(directory: Path) -> Path:
    """A wheel whose `qwencoder-lsp` starts the server of this environment, so that a test need not build llama.cpp."""
    name, version = "qwencoder_lsp", qwencoder_lsp.__version__
    info = f"{name}-{version}.dist-info"
    start = f"import os, sys\n\ndef main():\n    os.execv({sys.executable!r}, [{sys.executable!r}, '-m', 'qwencoder_lsp.cli', *sys.argv[1:]])\n"
    files = {
        "launcher.py": start,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: qwencoder-lsp\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": "[console_scripts]\nqwencoder-lsp = launcher:main\n",
    }
    hashes = {path: base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode() for path, text in files.items()}
    record = "".join(f"{path},sha256={hashes[path]},{len(text)}\n" for path, text in files.items()) + f"{info}/RECORD,,\n"
    wheel = directory / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(path, text)
    return wheel


def path_without_server() -> str:
    """The PATH of VS Code without a `qwencoder-lsp`."""
    return os.pathsep.join(d for d in vscode.node_environment()["PATH"].split(os.pathsep) if shutil.which("qwencoder-lsp", path=d) is None)


def test_an_untrusted_workspace_runs_nothing_and_the_server_is_installed_and_asks_for_its_model(extension: Path, tmp_path: Path) -> None:
    project, started = tmp_path / "project", tmp_path / "started-by-workspace"
    (project / ".vscode").mkdir(parents=True)
    workspace = {"qwencoder.command": ["touch", str(started)], "qwencoder.package": str(started)}
    (project / ".vscode/settings.json").write_text(json.dumps(workspace))
    for name in ("qwencoder-lsp", "python3"):  # nor is a program of the workspace taken for one of the PATH
        (project / name).write_text(f"#!/bin/sh\ntouch '{started}'\n")
        (project / name).chmod(0o755)
    (project / "a.py").write_text("")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        env = {
            "PATH": f"{path_without_server()}{os.pathsep}.",
            "QWENCODER_HOME": str(tmp_path),
            "QWENCODER_GATEWAY_LINGER_S": "0",
            **tiny_catalogue(tmp_path, PIP_INDEX_URL=f"http://127.0.0.1:{silent.getsockname()[1]}/simple", PIP_TIMEOUT="600"),
            "PIP_NO_CACHE_DIR": "1",
        }
        with vscode.CodeServer(tmp_path, extension, {"qwencoder.package": str(launcher_wheel(tmp_path))}, env, trusting=False) as server:

            def shown(name: str) -> Step:
                return {"shotOfStatus": str(server.pictures / f"status-{name}.png")}

            first: list[Step] = [{"status": "was not found"}, {"shows": "Get started with Qwen-Coder"}, shown("no-server")]
            walkthrough: Step = {"shot": str(server.pictures / "walkthrough.png")}
            installs: list[Step] = [{"command": "Install or update the language server"}, {"button": "Install"}]
            asks: list[Step] = [{"status": "Shall Tiny be downloaded"}, shown("asking"), {"button": "Download"}]
            loads: list[Step] = [{"status": "Downloading Tiny"}, shown("downloading")]
            server.session(project / "a.py", [*first, walkthrough, *installs, *asks, *loads])
    assert not started.exists()


def test_the_real_model_completes_in_vs_code(extension: Path, model_15b: Path, tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    file = tmp_path / "project/shapes.py"
    text = "import math\n\n\ndef area_of_circle(radius):\n    return math.pi * radius ** 2\n\n\ndef circumference_of_circle(radius):\n"
    file.write_text(text)
    settings = {"qwencoder.command": server_command(tmp_path / "server.pid")}
    env = {"QWENCODER_MODEL_COMPLETION": str(model_15b), "QWENCODER_HOME": str(tmp_path), "QWENCODER_GATEWAY_LINGER_S": "0"}
    with vscode.CodeServer(tmp_path, extension, settings, env) as server:
        picture = {"shot": str(server.pictures / "ghost-text.png")}
        take: list[Step] = [READY, END, {"type": "    ret"}, {"ghost": True}, picture, {"press": "Tab"}, {"save": True}]
        word: list[Step] = [
            {"press": "Enter"},
            {"press": "Enter"},
            {"press": "Enter"},
            {"press": "Shift+Tab"},
            {"type": "def area_of_sq"},
            {"ghost": True},
        ]
        none: list[Step] = [{"press": "Control+ArrowRight"}, {"save": True}, {"press": "Escape"}, {"gone": True}]
        report = server.session(file, [*take, *word, *none])
        written = file.read_text()
        assert server.complaints() == []
    print(f"\nghost text of the 1.5B: {report['ghosts']}, after {report['waits'][0]:.0f} and {report['waits'][1]:.0f} ms")
    assert "return 2 * math.pi * radius" in written
    assert "\n\ndef area_of_square" in written
