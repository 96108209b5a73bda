"""`qwencoder-lsp setup` on a home directory of its own: every editor, twice, undone, and with files that are the user's."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from qwencoder_lsp.cli.app import app
from qwencoder_lsp.editors import configurations, places, record
from qwencoder_lsp.editors.configurations import PLANS
from qwencoder_lsp.errors import RequestError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

EDITORS = sorted(PLANS)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "NVIM_APPNAME", "QWENCODER_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def setup(*arguments: str) -> str:
    """What the command prints. Raises its errors."""
    result = CliRunner().invoke(app, ["setup", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def tree(home: Path) -> dict[str, bytes | None]:
    """Every file and folder but the system's folder for data."""
    found = {path.relative_to(home).as_posix(): path.read_bytes() if path.is_file() else None for path in home.rglob("*")}
    return {name: content for name, content in found.items() if name not in {".local", ".local/share"}}


@pytest.mark.parametrize("editor", EDITORS)
def test_a_fresh_home_is_set_up_once_and_undone_to_the_last_folder(home: Path, editor: str) -> None:
    assert "--stdio" in setup(editor, "--yes") or editor == "zed"
    first = tree(home)
    assert first
    assert "set up already" in setup(editor, "--yes")
    assert tree(home) == first
    setup(editor, "--undo", "--yes")
    assert tree(home) == {}


@pytest.mark.parametrize("editor", EDITORS)
def test_nothing_is_written_when_only_printed_or_when_nobody_can_be_asked(home: Path, editor: str) -> None:
    assert "+++ " in setup(editor, "--print")
    with pytest.raises(RequestError, match="nobody to ask"):
        setup(editor)
    assert tree(home) == {}


USERS: dict[str, tuple[Path, str]] = {
    "emacs": (Path(".emacs.d/init.el"), "(setq inhibit-startup-screen t)"),
    "helix": (
        Path(".config/helix/languages.toml"),
        '# mine\n[[language]]\nname = "python"\nlanguage-servers = ["pylsp"]\n\n[[language]]\nname = "go"\nscope = "x"',
    ),
    "zed": (
        Path(".config/zed/settings.json"),
        '// mine\n{\n  "theme": "One", // why\n  "edit_predictions": { "provider": "zed", "mode": "subtle" },\n}\n',
    ),
    "sublime": (Path(".config/sublime-text/Packages/User/LanguageServers.sublime-settings"), '{\n\t// mine\n\t"pylsp": {"enabled": true}\n}'),
    "vscode": (Path(".config/Code/User/settings.json"), '{\r\n  "editor.fontSize": 12\r\n}\r\n'),
}


@pytest.mark.skipif(sys.platform != "linux", reason="the paths in this test are those of Linux")
@pytest.mark.parametrize("editor", sorted(USERS))
def test_the_users_own_lines_stay_and_undo_brings_the_file_back_to_the_byte(home: Path, editor: str) -> None:
    place, text = USERS[editor]
    file = home / place
    file.parent.mkdir(parents=True)
    file.write_bytes(text.encode())
    before = tree(home)
    setup(editor, "--yes")
    now = file.read_bytes().decode()
    assert "qwencoder" in now or "11452" in now
    assert all(line in now for line in text.splitlines() if "mine" in line or "setq" in line or "fontSize" in line)
    assert "set up already" in setup(editor, "--yes")
    setup(editor, "--undo", "--yes")
    assert tree(home) == before


@pytest.mark.skipif(sys.platform != "linux", reason="the paths in this test are those of Linux")
def test_undo_keeps_what_the_user_wrote_after_setup(home: Path) -> None:
    setup("emacs", "--yes")
    file = home / ".emacs.d/init.el"
    file.write_text("; above\n" + file.read_text() + "; below\n")
    setup("emacs", "--undo", "--yes")
    assert file.read_text() == "; above\n; below\n"


@pytest.mark.skipif(sys.platform != "linux", reason="the paths in this test are those of Linux")
def test_undo_refuses_when_our_lines_were_changed_and_changes_nothing(home: Path) -> None:
    setup("vim", "--yes")
    file = home / ".vim/plugin/qwencoder.vim"
    file.write_text(file.read_text().replace("--stdio", "--studio"))
    before = tree(home)
    with pytest.raises(RequestError, match=r"qwencoder\.vim: The lines that setup wrote were changed"):
        setup("vim", "--undo", "--yes")
    assert tree(home) == before


def test_undo_without_setup_says_so(home: Path) -> None:
    with pytest.raises(RequestError, match="not changed anything for zed"):
        setup("zed", "--undo", "--yes")


@pytest.mark.skipif(sys.platform != "linux", reason="the paths in this test are those of Linux")
@pytest.mark.parametrize(("editor", "bad"), [("zed", "{ 'a': "), ("helix", "[[language"), ("sublime", "[1]")])
def test_a_file_that_cannot_be_merged_is_named_and_left_alone(home: Path, editor: str, bad: str) -> None:
    file = home / USERS[editor][0]
    file.parent.mkdir(parents=True)
    file.write_text(bad)
    with pytest.raises(RequestError, match=file.name):
        setup(editor, "--yes")
    assert file.read_text() == bad


@pytest.mark.skipif(sys.platform != "linux", reason="the paths in this test are those of Linux")
def test_a_newer_version_replaces_what_the_older_one_wrote_and_undo_still_finds_the_users_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, text = USERS["emacs"]
    (home / place).parent.mkdir(parents=True)
    (home / place).write_text(text)
    setup("emacs", "--yes")
    monkeypatch.setattr("qwencoder_lsp.cli.setup.server_command", lambda: ["/new/qwencoder-lsp", "--stdio"])
    setup("emacs", "--yes")
    now = (home / place).read_text()
    assert "/new/qwencoder-lsp" in now
    assert now.count(configurations.MARK) == 1
    setup("emacs", "--undo", "--yes")
    assert (home / place).read_text() == text


@pytest.mark.parametrize(
    ("row", "servers"),
    [
        ('language-servers = ["pylsp"]', ["pylsp", "qwencoder"]),
        ('language-servers = [\n  "pylsp",\n  { name = "ruff", only-features = ["format"] },\n]', None),
        ("language-servers = []", ["qwencoder"]),
        ("auto-format = true", None),
    ],
)
def test_helix_lists_keep_their_servers_and_get_ours_behind_them(home: Path, row: str, servers: list[str] | None) -> None:
    text = f'[[language]]\nname = "python"\n{row}\n\n[editor]\nx = 1\n'
    [merged] = PLANS["helix"](["qwencoder-lsp", "--stdio"]).files.values()
    try:
        tree_ = tomllib.loads(merged(text))
    except RequestError as error:
        assert "only-features" in row, error
        return
    [python] = [language for language in tree_["language"] if language["name"] == "python"]
    assert tree_["editor"] == {"x": 1}
    if servers:
        assert python["language-servers"] == servers
    assert python["language-servers"][-1] == "qwencoder"


def test_a_record_holds_the_changed_lines_alone(home: Path) -> None:
    changed = record.hunks("secret = 1\nlast\n", "secret = 1\nlast,\nours\n")
    assert [(hunk.before, hunk.after) for hunk in changed] == [(["last\n"], ["last,\n", "ours\n"])]
    assert record.reverted("new\nsecret = 1\nlast,\nours\nmore\n", changed) == "new\nsecret = 1\nlast\nmore\n"


def test_every_editor_with_shipped_files_has_a_readme() -> None:
    for editor in EDITORS:
        assert any(places.shipped(editor).rglob("README.md")), editor


def test_the_wheel_carries_the_files_that_setup_reads() -> None:
    root = Path(__file__).parents[3]
    included: dict[str, Any] = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["build"]["targets"]["wheel"][
        "force-include"
    ]
    carried = {key for key in included if key.startswith("editors/")}
    assert carried == {f"editors/{editor}" for editor in EDITORS if editor != "vscode"}
    assert json.dumps(included).count("qwencoder_lsp/editors/files/") == len(carried)
