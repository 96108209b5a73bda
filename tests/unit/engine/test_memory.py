"""What is left for one more KV memory."""

from __future__ import annotations

import mmap
from pathlib import Path

import psutil
import pytest

from qwencoder_lsp.engine.memory import BUFFERS, RESERVE, Room, demand, free_bytes, give_back_pages, room

MB = 1 << 20


def test_without_a_limit_it_is_what_the_machine_has_free() -> None:
    left = room(0, 10**15)
    assert 0 <= left.bytes <= psutil.virtual_memory().total - RESERVE
    assert "the machine's memory" in left.why


def test_a_limit_counts_what_is_used_already() -> None:
    left = room(100 * MB, 40 * MB)
    assert left.bytes == 60 * MB
    assert left.why == "60 of the 100 MB that the model may use are left (engine.memory_mb)"
    assert room(100 * MB, 200 * MB).bytes == 0


def test_the_machine_counts_where_it_has_less_than_the_limit() -> None:
    assert "the machine's memory" in room(1 << 60, 0).why
    assert "engine.memory_mb" in room(1 << 60, 0, shared=False).why, "a GPU's memory is not the machine's"


def test_cells_are_what_is_left_beside_the_buffers() -> None:
    assert Room(BUFFERS + 10 * 1000 + 1, "").cells(1000) == 10
    assert Room(1, "").cells(1000) == 0


def test_a_demand_says_the_figures() -> None:
    assert demand(32768, 28 * 1024) == "1,056 MB (28 KB for each token)"


def test_a_container_has_what_its_group_may_use_and_page_cache_is_free(tmp_path: Path) -> None:
    for name, text in (("memory.max", "300000000\n"), ("memory.current", "250000000\n"), ("memory.stat", "anon 100\nfile 20000000\n")):
        (tmp_path / name).write_text(text)
    assert free_bytes(tmp_path) == 70_000_000
    (tmp_path / "memory.max").write_text("max\n")
    assert free_bytes(tmp_path) > 70_000_000
    assert free_bytes(tmp_path / "none") > 70_000_000


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="this system has no /proc")
def test_pages_of_a_mapped_file_are_given_back_and_can_still_be_read(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF" * (1 << 18))
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert bytes(mapped) == file.read_bytes()
        assert resident(file) >= 1024
        give_back_pages()
        assert resident(file) == 0
        assert bytes(mapped) == file.read_bytes()


def resident(file: Path) -> int:
    """KB of it in this process's memory."""
    found = Path("/proc/self/smaps").read_text("utf-8", "replace").split(f"{file}\n")
    return sum(int(part.split("\nRss:", 1)[1].split()[0]) for part in found[1:])
