"""The ignore rules against git itself, on random rules and paths."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from qwencoder_lsp.context.ignore import Ignore, Rules
from qwencoder_lsp.context.walk import Entry, walk

PARTS = ("a", "b", "build", "x.py", "y.pyc", "a b", "[z]", "foo.min.js")
PATTERNS = (
    *("a", "b/", "/a", "a/b", "*.py", "!x.py", "!*.py", "**/b", "a/**", "a/**/b", "**", "*", "/*", "!/a", "?", "[ab]", "[!a]", "[^b]", "*.py[co]"),
    *("build/", "/build/", "!build/", "a/*", "!a/b", "# a", "\\#a", "\\!a", "x.*", "", "a b", "b\\ ", "a/b/", "**/a/**", "foo.*.js"),
    *("\\[z\\]", "[z-a]", "["),
    *("[[]z]", "a*b", "*/b", "!**/x.py", "/**/x.py", "*/", "x.py/", "b   "),
)  # fmt: skip


@pytest.fixture(scope="module")
def plain_git(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    home = str(tmp_path_factory.mktemp("home"))
    return {**os.environ, "HOME": home, "XDG_CONFIG_HOME": home, "GIT_CONFIG_NOSYSTEM": "1"}


@pytest.mark.parametrize("seed", range(6))
def test_the_walk_finds_what_git_does(seed: int, tmp_path: Path, plain_git: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", plain_git["HOME"])
    rng = random.Random(seed)  # noqa: S311 - the same trees in every run
    git = ["git", "-c", "core.ignoreCase=false"]
    subprocess.run([*git, "init", "-q", "."], cwd=tmp_path, env=plain_git, check=True)
    for _ in range(60):
        file = tmp_path.joinpath(*(rng.choice(PARTS) for _ in range(rng.randint(1, 4))))
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
        except OSError:  # a file where the directory would be, or the other way round
            continue
    for directory in [tmp_path, *(d for d in tmp_path.rglob("*") if d.is_dir() and ".git" not in d.parts and rng.random() < 0.4)]:
        lines = [rng.choice(PATTERNS) for _ in range(rng.randint(0, 5))]
        (directory / ".gitignore").write_text("\n".join(lines) + "\n")
    listed = subprocess.run(
        [*git, "ls-files", "-z", "--others", "--exclude-standard"], cwd=tmp_path, env=plain_git, check=True, capture_output=True, text=True
    )
    theirs = {name for name in listed.stdout.split("\0") if name and not name.endswith((".pyc", ".min.js"))}
    assert {e.path for e in walk(tmp_path) if isinstance(e, Entry)} == theirs


def test_rules_of_directories_above_the_folder_hold(tmp_path: Path) -> None:
    (tmp_path / ".git" / "info").mkdir(parents=True)
    (tmp_path / ".git" / "info" / "exclude").write_text("c.py\n")
    (tmp_path / ".gitignore").write_text("/src/a.py\n*.b.py\n")
    root = tmp_path / "src"
    root.mkdir()
    for name in ("a.py", "x.b.py", "c.py", "d.py"):
        (root / name).touch()
    assert [e.path for e in walk(root) if isinstance(e, Entry)] == ["d.py"]


def test_our_own_file_has_the_last_word(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("a.py\n")
    (tmp_path / ".qwencoderignore").write_text("!a.py\nb.py\n")
    (tmp_path / "a.py").touch()
    (tmp_path / "b.py").touch()
    assert [e.path for e in walk(tmp_path) if isinstance(e, Entry) and e.path.endswith(".py")] == ["a.py"]


def test_a_negated_rule_after_a_simple_one_counts() -> None:
    rules = Rules("", ["*.py", "!keep.py", "*.py.bak"])
    assert rules.verdict("x.py", "x.py", directory=False) is True
    assert rules.verdict("keep.py", "keep.py", directory=False) is False
    assert rules.verdict("x.txt", "x.txt", directory=False) is None


def test_without_rules_only_what_nobody_wants_stays_out(tmp_path: Path) -> None:
    ignore = Ignore.of(tmp_path)
    assert ignore.leaves_out("node_modules", "node_modules", directory=True)
    assert not ignore.leaves_out("src", "src", directory=True)
