import os
from pathlib import Path

import pytest

from qwencoder_lsp import paths
from qwencoder_lsp.errors import RequestError
from qwencoder_lsp.lsp.explanations import KEPT, _write


def test_the_oldest_explanations_make_room(home: Path) -> None:
    files = []
    for number in range(KEPT + 5):
        files.append(_write(f"{number}"))
        os.utime(files[-1], (number, number))
    left = sorted((paths.runtime_dir() / "explanations").glob("*.md"), key=lambda p: p.stat().st_mtime)
    assert len(left) == KEPT
    assert left == files[-KEPT:]
    assert files[-1].read_text("utf-8") == f"{KEPT + 4}"
    assert files[-1].stat().st_mode & 0o777 == 0o600


def test_where_nothing_can_be_written_the_user_is_told(home: Path) -> None:
    (paths.runtime_dir() / "explanations").write_text("in the way", "utf-8")
    with pytest.raises(RequestError, match="cannot be written"):
        _write("x")
