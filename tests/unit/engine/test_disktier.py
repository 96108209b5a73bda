"""Computed prefixes on disk: what is written is found again, and nothing else is taken for it."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from qwencoder_lsp.engine.disktier import DiskTier
from qwencoder_lsp.engine.hosttier import BLOCK, Block, HostTier, Ids, chain

ONE, TWO = "1" * 32, "2" * 32
ROOT = b"r" * 16
SIZE = 5000  # bytes of a block's data
Prompt = list[tuple[bytes, Block]]


def tokens(count: int, first: int = 0) -> Ids:
    return np.arange(first, first + count * BLOCK, dtype=np.int32)


def prompt(count: int, first: int = 0, root: bytes = ROOT) -> Prompt:
    ids = tokens(count, first)
    data = np.random.default_rng(first).integers(0, 256, (count, SIZE), np.uint8)
    return [(key, Block(ids[i * BLOCK : (i + 1) * BLOCK], data[i])) for i, key in enumerate(chain(root, ids))]


def tier(directory: Path, budget: int = 1 << 20, days: float = 1.0, opened: str = "") -> DiskTier:
    found = DiskTier(directory, budget, days)
    if opened:
        found.open(opened)
    return found


def saved(directory: Path, *prompts: Prompt, workspace: str = ONE, budget: int = 1 << 20, days: float = 1.0) -> None:
    disk = tier(directory, budget, days)
    for blocks in prompts:
        disk.put(workspace, ROOT, blocks)
        assert disk.flush(30)


def found(disk: DiskTier, blocks: Prompt) -> list[bool]:
    got = [disk.get(key, block.tokens) for key, block in blocks]
    assert all(g is None or np.array_equal(g.data, block.data) for g, (_, block) in zip(got, blocks, strict=True))
    return [g is not None for g in got]


def files(directory: Path) -> list[Path]:
    return sorted(p for p in directory.rglob("*") if p.is_file())


def test_a_saved_prompt_is_found_by_the_next_process_in_the_same_workspace_only(tmp_path: Path) -> None:
    saved(tmp_path / "saved", prompt(3))
    assert found(tier(tmp_path / "saved", opened=ONE), prompt(3)) == [True] * 3
    assert found(tier(tmp_path / "saved", opened=TWO), prompt(3)) == [False] * 3
    assert found(tier(tmp_path / "saved", opened=ONE), prompt(3, root=b"other model")) == [False] * 3


def test_only_the_user_can_enter_the_directory_or_read_a_file(tmp_path: Path) -> None:
    saved(tmp_path / "saved", prompt(1))
    (file,) = files(tmp_path)
    assert file.stat().st_mode & 0o777 == 0o600
    assert {p.stat().st_mode & 0o777 for p in (tmp_path / "saved", *file.parents[:2])} == {0o700}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_nothing_is_written_into_a_directory_that_others_can_enter(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "saved").mkdir(mode=0o755)
    (tmp_path / "saved").chmod(0o755)
    saved(tmp_path / "saved", prompt(1))
    assert files(tmp_path) == []
    assert "can be entered by others" in caplog.text


@pytest.mark.parametrize("damage", ["empty", "truncated", "one bit", "foreign", "another block"])
def test_a_damaged_file_is_deleted_with_one_line_in_the_log_and_the_others_are_used(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    blocks = prompt(2)
    saved(tmp_path, blocks)
    file = next(f for f in files(tmp_path) if f.name == blocks[1][0].hex())
    good = file.read_bytes()
    other = next(f for f in files(tmp_path) if f != file).read_bytes()
    flipped = bytes((*good[:-9], good[-9] ^ 1, *good[-8:]))
    file.write_bytes({"empty": b"", "truncated": good[:-1], "one bit": flipped, "foreign": b"GGUF" * 3000, "another block": other}[damage])
    disk = tier(tmp_path, opened=ONE)
    assert found(disk, blocks) == [True, False]
    assert found(disk, blocks) == [True, False]
    assert [r.levelno for r in caplog.records] == [logging.WARNING]
    assert not file.exists()


def test_files_of_others_and_links_are_ignored_with_one_line_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    blocks = prompt(1)
    saved(tmp_path / "saved", blocks)
    (file,) = files(tmp_path)
    moved = tmp_path / "elsewhere"
    file.rename(moved)
    file.symlink_to(moved)
    file.with_name("notes.txt").write_text("x")
    file.with_name("more.txt").write_text("x")
    assert found(tier(tmp_path / "saved", opened=ONE), blocks) == [False]
    assert len(caplog.records) == 1
    assert "2 files" in caplog.text


def test_a_block_under_the_same_key_with_other_tokens_is_not_taken(tmp_path: Path) -> None:
    ((key, _),) = blocks = prompt(1)
    saved(tmp_path, blocks)
    assert tier(tmp_path, opened=ONE).get(key, tokens(1, first=7)) is None


def test_beyond_the_budget_the_prompt_unused_for_longest_goes_and_of_it_the_last_block_first(tmp_path: Path) -> None:
    size = 0
    old, new = prompt(3), prompt(2, first=1000)
    saved(tmp_path, old)
    size = files(tmp_path)[0].stat().st_size
    for i, (key, _) in enumerate(old):  # a minute ago
        file = next(f for f in files(tmp_path) if f.name == key.hex())
        os.utime(file, (file.stat().st_atime, file.stat().st_mtime - 60 - i))
    saved(tmp_path, new, budget=4 * size, workspace=TWO)
    assert found(tier(tmp_path, opened=ONE), old) == [True, True, False]
    assert found(tier(tmp_path, opened=TWO), new) == [True, True]


def test_what_nobody_used_for_long_goes_and_empty_directories_with_it(tmp_path: Path) -> None:
    old = prompt(2)
    saved(tmp_path, old)
    for file in files(tmp_path):
        os.utime(file, (0, 0))
    half = files(tmp_path)[0].with_name("x.1.part")
    half.write_bytes(b"of a process that was killed")
    os.utime(half, (0, 0))
    saved(tmp_path, prompt(1, first=1000), workspace=TWO)
    assert [f.parents[1].name for f in files(tmp_path)] == [TWO]
    assert [d.name for d in tmp_path.iterdir()] == [TWO]


def test_a_block_that_is_there_is_not_written_again_but_counts_as_used(tmp_path: Path) -> None:
    saved(tmp_path, prompt(1))
    (file,) = files(tmp_path)
    inode = file.stat().st_ino
    os.utime(file, (0, 0))
    saved(tmp_path, prompt(1), days=100)
    assert file.stat().st_ino == inode
    assert file.stat().st_mtime > 0


def test_a_disk_that_refuses_is_told_in_the_log_and_what_comes_later_is_saved(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    disk = tier(tmp_path)
    in_the_way = tmp_path / ONE
    in_the_way.write_text("a file where a directory should be")
    disk.put(ONE, ROOT, prompt(1))
    assert disk.flush(30)
    assert "cannot be saved" in caplog.text
    in_the_way.unlink()
    disk.put(ONE, ROOT, prompt(1))
    assert disk.flush(30)
    assert found(disk, prompt(1)) == [True]


def test_host_memory_finds_what_is_on_disk_and_keeps_it(tmp_path: Path) -> None:
    blocks = prompt(1)
    saved(tmp_path, blocks)
    host = HostTier(1 << 20, tier(tmp_path, opened=ONE))
    ((key, block),) = blocks
    assert not host.empty
    assert host.get(key, block.tokens)
    files(tmp_path)[0].unlink()
    assert host.get(key, block.tokens), "from memory"
