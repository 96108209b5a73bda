"""The index against the folder: true after every kind of change and fault."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from qwencoder_lsp.context.indexer import Indexer
from qwencoder_lsp.context.store import location
from qwencoder_lsp.errors import IndexUnavailable


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("QWENCODER_HOME", str(tmp_path / "home"))
    folder = tmp_path / "work"
    (folder / "pkg").mkdir(parents=True)
    (folder / "pkg" / "a.py").write_text("def alpha():\n    return beta()\n")
    (folder / "b.py").write_text("from pkg.a import alpha\n\n\ndef beta():\n    return alpha()\n")
    return folder


def content(root: Path) -> dict[str, str]:
    """What the index holds, by path; read beside the writer."""
    with sqlite3.connect(location(root)) as db:
        rows = db.execute(
            "SELECT path, group_concat(text, '') FROM files LEFT JOIN (SELECT * FROM chunks ORDER BY line) c ON c.file = files.id GROUP BY path"
        )
        return {path: text or "" for path, text in rows}


def names(root: Path) -> set[str]:
    with sqlite3.connect(location(root)) as db:
        return {name for (name,) in db.execute("SELECT name FROM symbols")}


def hits(root: Path, word: str) -> int:
    with sqlite3.connect(location(root)) as db:
        return len(db.execute("SELECT rowid FROM terms WHERE terms MATCH ?", (f'"{word}"',)).fetchall())


def disk(root: Path) -> dict[str, str]:
    return {p.relative_to(root).as_posix(): p.read_text() for p in root.rglob("*.py")}


@pytest.fixture
def indexer(root: Path) -> Indexer:
    made = Indexer(root)
    made.scan()
    return made


def test_a_scan_holds_every_file_and_a_second_one_reads_nothing(root: Path, indexer: Indexer) -> None:
    assert content(root) == disk(root)
    assert names(root) == {"alpha", "beta"}
    assert indexer.scan().parsed == 0


def test_what_changed_came_and_went_is_followed(root: Path, indexer: Indexer) -> None:
    (root / "b.py").write_text("def gamma(): ...\n")
    (root / "c.py").write_text("def delta(): ...\n")
    (root / "pkg" / "a.py").unlink()
    indexer.update(["b.py", "c.py", "pkg/a.py"])
    assert content(root) == disk(root)
    assert names(root) == {"gamma", "delta"}
    assert (hits(root, "alpha"), hits(root, "delta")) == (0, 1)


def test_a_file_that_was_only_touched_is_not_parsed_again(root: Path, indexer: Indexer) -> None:
    os.utime(root / "b.py", ns=(1, 1))
    assert indexer.scan().parsed == 0
    assert indexer.update(["b.py"]).parsed == 0


def test_a_directory_that_was_deleted_or_moved_is_followed(root: Path, indexer: Indexer) -> None:
    (root / "pkg").rename(root / "other")
    indexer.update(["pkg", "other"])
    assert content(root) == disk(root)


def test_a_file_that_becomes_a_directory_is_gone(root: Path, indexer: Indexer) -> None:
    (root / "b.py").unlink()
    (root / "b.py").mkdir()
    (root / "b.py" / "inner.py").write_text("x = 1\n")
    indexer.update(["b.py"])
    assert set(content(root)) == {"pkg/a.py", "b.py/inner.py"}


def test_a_changed_ignore_file_takes_its_files_out_and_puts_them_back(root: Path, indexer: Indexer) -> None:
    (root / ".gitignore").write_text("pkg/\n")
    indexer.update([".gitignore"])
    assert "pkg/a.py" not in content(root)
    (root / ".gitignore").write_text("")
    indexer.update([".gitignore"])
    assert "pkg/a.py" in content(root)


def test_no_secret_is_stored(root: Path, indexer: Indexer) -> None:
    key = "ghp_" + "a1B2" * 9
    (root / "b.py").write_text(f"TOKEN = '{key}'\n")
    (root / ".env").write_text(f"TOKEN={key}\n")
    indexer.update(["b.py", ".env"])
    indexer.close()
    assert "<secret:github-token>" in content(root)["b.py"]
    assert not any(key.encode() in file.read_bytes() for file in location(root).parent.iterdir())


def test_only_one_process_writes_and_the_next_one_may_when_it_has_gone(root: Path, indexer: Indexer) -> None:
    code = f"from pathlib import Path; from qwencoder_lsp.context.indexer import Indexer; Indexer(Path({str(root)!r})).close()"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "Another process keeps the index" in other.stderr
    indexer.close()
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("fault", ["deleted", "garbage", "truncated", "half"])
def test_an_index_that_was_damaged_while_closed_is_made_again(root: Path, indexer: Indexer, fault: str) -> None:
    indexer.close()
    _damage(location(root), fault)
    again = Indexer(root)
    again.scan()
    assert content(root) == disk(root)
    assert again.store.is_sound()


@pytest.mark.parametrize("fault", ["deleted", "garbage"])
def test_an_index_that_is_damaged_while_in_use_is_made_again(root: Path, indexer: Indexer, fault: str) -> None:
    indexer.close()
    indexer = Indexer(root)
    _damage(location(root), fault)
    (root / "c.py").write_text("def delta(): ...\n")
    indexer.update(["c.py"])
    indexer.scan()
    assert content(root) == disk(root)


def test_damage_in_the_middle_of_the_file_is_found_by_the_check(root: Path) -> None:
    for number in range(40):
        (root / f"n{number}.py").write_text(f"def f{number}(): ...\n" * 200)
    indexer = Indexer(root)
    indexer.scan()
    assert indexer.verify().parsed == 0
    indexer.close()
    data = bytearray(location(root).read_bytes())
    data[len(data) // 2 : len(data) // 2 + 8192] = b"\xff" * 8192
    location(root).write_bytes(data)
    indexer = Indexer(root)
    assert indexer.verify().parsed == 42
    assert content(root) == disk(root)


def _damage(file: Path, fault: str) -> None:
    if fault == "deleted":
        file.unlink()
    elif fault == "garbage":
        file.write_bytes(os.urandom(file.stat().st_size))
    else:
        os.truncate(file, file.stat().st_size // 2 if fault == "half" else 0)


def test_a_cache_that_cannot_be_written_is_an_error_with_a_hint(root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("QWENCODER_HOME", str(tmp_path / "file"))
    with pytest.raises(IndexUnavailable, match="cannot be written"):
        Indexer(root)


def test_a_full_disk_is_an_error_and_the_index_stays_as_it_was(root: Path, indexer: Indexer) -> None:
    indexer.store._db.execute("PRAGMA max_page_count = 1")
    before = content(root)
    for number in range(20):
        (root / f"n{number}.py").write_text("x = 1\n" * 2000)
    with pytest.raises(IndexUnavailable, match="full"):
        indexer.scan()
    assert content(root) == before


@pytest.mark.parametrize("folder", [Path("/"), Path.home()])
def test_a_whole_disk_or_home_is_not_indexed(folder: Path) -> None:
    with pytest.raises(IndexUnavailable, match="too much"):
        Indexer(folder)


def test_the_work_can_be_stopped_and_goes_on_where_it_was(root: Path) -> None:
    class Stop(Exception):
        pass

    asked = 0

    def may() -> None:
        nonlocal asked
        asked += 1
        if asked == 2:
            raise Stop

    for number in range(300):
        (root / f"n{number}.py").write_text(f"def f{number}(): ...\n" * 30)
    first = Indexer(root, may)
    with pytest.raises(Stop):
        first.scan()
    first.close()
    second = Indexer(root)
    second.scan()
    assert content(root) == disk(root)
