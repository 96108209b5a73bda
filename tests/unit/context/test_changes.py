import subprocess
from pathlib import Path

import pytest

from qwencoder_lsp.context.changes import changed_files, changed_lines, listed_files, patched_files, staged_diff, staged_files
from qwencoder_lsp.errors import RequestError

CODE = "a = 1\nb = 2\nc = 3\nd = 4\n"


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q")
    (tmp_path / "é.py").write_text(CODE, "utf-8")
    (tmp_path / "gone.py").write_text("x\n", "utf-8")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "one")
    return tmp_path


def test_the_changed_lines_of_the_working_tree(repo: Path) -> None:
    (repo / "é.py").write_text("a = 1\nb = 5\nb = 6\nc = 3\n", "utf-8")
    (repo / "gone.py").unlink()
    (changed,) = changed_files(repo, "HEAD")
    assert changed.path.name == "é.py"
    assert [span.of(changed.text) for span in changed.spans] == ["b = 5\nb = 6\nc = 3\n"], "where lines went, the line above counts"


def test_the_changed_lines_of_one_file(repo: Path) -> None:
    file = repo / "é.py"
    assert changed_lines(file, "HEAD") == ()
    file.write_text(CODE.replace("c = 3", "c = 7"), "utf-8")
    git(repo, "add", "-A")
    spans = changed_lines(file, "HEAD")
    assert spans is not None
    assert [span.of(file.read_text("utf-8")) for span in spans] == ["c = 7\n"], "staged or not"


def test_a_file_that_git_does_not_know_is_new_as_a_whole(repo: Path) -> None:
    (repo / "new.py").write_text("x = 1\n")
    assert changed_lines(repo / "new.py", "HEAD") is None


def test_staged_text_is_what_is_staged_and_not_what_is_on_disk(repo: Path) -> None:
    (repo / "é.py").write_text(CODE.replace("d = 4", "d = 5"), "utf-8")
    git(repo, "add", "-A")
    (repo / "é.py").write_text("other\n", "utf-8")
    (changed,) = staged_files(repo)
    assert [span.of(changed.text) for span in changed.spans] == ["d = 5\n"]
    assert "+d = 5" in staged_diff(repo)


def test_a_patch_counts_where_it_is_applied_and_is_refused_elsewhere(repo: Path) -> None:
    (repo / "é.py").write_text(CODE.replace("b = 2", "b = 9"), "utf-8")
    patch = git(repo, "-c", "core.quotePath=false", "diff")
    (changed,) = patched_files(repo, patch)
    assert [span.of(changed.text) for span in changed.spans] == ["b = 9\n"]
    git(repo, "checkout", "-q", ".")
    with pytest.raises(RequestError, match="not applied"):
        patched_files(repo, patch)


@pytest.mark.parametrize("name", ["../x.py", "/etc/passwd"])
def test_a_patch_cannot_name_a_file_outside_of_the_folder(repo: Path, name: str) -> None:
    (repo / "in").mkdir()
    with pytest.raises(RequestError):
        patched_files(repo / "in", f"--- a/{name}\n+++ b/{name}\n@@ -0,0 +1 @@\n+x\n")


@pytest.mark.parametrize("patch", ["--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n+x\n"])
def test_a_broken_patch_is_an_error(tmp_path: Path, patch: str) -> None:
    (tmp_path / "x").write_text("x\n")
    with pytest.raises(RequestError):
        patched_files(tmp_path, patch)


def test_unknown_revisions_options_and_folders_without_a_repository_are_errors(repo: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    for revision in ("nothing", "--output=/tmp/x"):
        with pytest.raises(RequestError, match="git cannot tell"):
            changed_files(repo, revision)
    with pytest.raises(RequestError):
        changed_files(tmp_path_factory.mktemp("plain"), "HEAD")


def test_programs_that_the_repository_names_are_not_run(repo: Path) -> None:
    for key in ("diff.external", "core.fsmonitor", "diff.x.textconv"):
        git(repo, "config", key, "touch RAN; cat")
    (repo / ".gitattributes").write_text("*.py diff=x\n")
    (repo / "é.py").write_text("a = 2\n", "utf-8")
    changed_files(repo, "HEAD")
    listed_files(repo)
    staged_diff(repo)
    assert not (repo / "RAN").exists()


def test_files_are_listed_without_what_git_ignores_and_without_links(repo: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    (repo / ".gitignore").write_text("out/\n")
    (repo / "out").mkdir()
    (repo / "out" / "a.py").write_text("")
    (repo / "new.py").write_text("")
    (repo / "link.py").symlink_to("/etc/passwd")
    assert {path.name for path in listed_files(repo)} == {".gitignore", "gone.py", "new.py", "é.py"}
    plain = tmp_path_factory.mktemp("plain")
    (plain / ".hidden").mkdir()
    (plain / ".hidden" / "a.py").write_text("")
    (plain / "b.py").write_text("")
    assert [path.name for path in listed_files(plain)] == ["b.py"]
