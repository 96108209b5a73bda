"""Where a file belongs: its repository, its workspace folder, or nowhere."""

from __future__ import annotations

from pathlib import Path

from qwencoder_lsp.context.repository import Place, locate, workspace_key


def file(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return str(path)


def test_the_nearest_git_directory_above_wins_over_the_workspace_folder(tmp_path: Path) -> None:
    (tmp_path / "outer" / ".git").mkdir(parents=True)
    (tmp_path / "outer" / "libs" / "inner" / ".git").mkdir(parents=True)
    path = file(tmp_path / "outer" / "libs" / "inner" / "src" / "a.py")
    assert locate(path, str(tmp_path)) == Place("inner", "src/a.py")


def test_a_worktree_has_a_git_file(tmp_path: Path) -> None:
    file(tmp_path / "tree" / ".git")
    assert locate(file(tmp_path / "tree" / "a.py"), None) == Place("tree", "a.py")


def test_without_a_repository_the_workspace_folder_counts(tmp_path: Path) -> None:
    assert locate(file(tmp_path / "work" / "src" / "b.go"), str(tmp_path / "work")) == Place("work", "src/b.go")


def test_a_file_outside_of_both_is_known_by_its_name(tmp_path: Path) -> None:
    assert locate(file(tmp_path / "elsewhere" / "c.js"), str(tmp_path / "work")) == Place("", "c.js")


def test_a_document_that_is_not_on_disk_has_no_place() -> None:
    assert locate(None, "/srv") == Place("", "")


def test_the_key_of_a_workspace_is_always_the_same_and_does_not_show_its_name() -> None:
    one, two = workspace_key("/home/me/secret-project"), workspace_key("/home/me/other")
    assert one == workspace_key("/home/me/secret-project")
    assert one != two
    assert len(one) == 32
    assert bytes.fromhex(one)
    assert workspace_key(None) == ""
