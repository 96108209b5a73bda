"""index, search and context as a user runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.protocol.gateways import wait
from tests.protocol.test_cli import COMMAND, cli

CART = "from rates import shipping_rate\n\n\ndef total(w):\n    return \n"


@pytest.fixture
def shop(home: Path, tmp_path: Path) -> Path:
    (tmp_path / "rates.py").write_text('def shipping_rate(weight):\n    """What sending costs."""\n    return 4.9 + weight\n')
    (tmp_path / "cart.py").write_text(CART)
    (tmp_path / ".env").write_text("KEY=1\n")
    return tmp_path


def test_index_says_what_it_did_and_what_it_left_out(shop: Path) -> None:
    first, second = cli("index", str(shop)), cli("index", str(shop))
    assert "2 files, 2 read (8 lines" in first.stdout
    assert "left out: 1 made for secrets" in first.stdout
    assert "2 files, 0 read" in second.stdout
    assert cli("index", str(shop), "--rebuild", "--json").stdout.startswith('{"files": 2, "parsed": 2')
    status = cli("index", str(shop), "--status")
    assert "2 files, 8 lines, 2 symbols" in status.stdout
    assert json.loads(cli("index", str(shop), "--status", "--json").stdout)["languages"] == {"python": 8}


def test_search_prints_definitions_and_lines_and_fails_without_any(shop: Path) -> None:
    cli("index", str(shop))
    done = cli("search", "shipping_rate", "--root", str(shop))
    lines = done.stdout.splitlines()
    assert lines[0] == "rates.py:1: [function] def shipping_rate(weight):"
    assert "cart.py:1: from rates import shipping_rate" in lines
    assert cli("search", "nothing_of_this", "--root", str(shop)).returncode == 1
    assert json.loads(cli("search", "total", "--root", str(shop), "--json").stdout)["definitions"][0]["path"] == "cart.py"


def test_context_prints_what_would_be_sent_and_why(shop: Path) -> None:
    cli("index", str(shop))
    done = cli("context", f"{shop}/cart.py:5:12", "--root", str(shop))
    assert "    def shipping_rate(weight):" in done.stdout
    assert "shipping_rate is imported" in done.stdout
    found = json.loads(cli("context", f"{shop}/cart.py:5:12", "--root", str(shop), "--tokens", "16", "--json").stdout)
    assert found["snippets"] == []
    assert [c["path"] for c in found["left_out"]] == ["rates.py"]


def test_index_follows_changes_when_asked_to(shop: Path) -> None:
    process = subprocess.Popen([*COMMAND, "index", str(shop), "--watch"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        while "Following" not in process.stdout.readline():
            pass

        def seen() -> bool:
            (shop / "later.py").write_text(f"def later(): ...  # {len(list(shop.iterdir()))}\n")
            return "later" in cli("search", "def later", "--root", str(shop)).stdout

        assert wait(seen, 60)
    finally:
        process.kill()
        process.communicate()


def test_a_folder_that_is_none_is_an_error(shop: Path) -> None:
    done = cli("index", str(shop / "nowhere"))
    assert done.returncode == 1
    assert "is no folder" in done.stderr


def test_the_index_of_another_process_is_left_to_it(shop: Path) -> None:
    hold = f"i = Indexer(Path({str(shop)!r})); print(1, flush=True); input()"
    code = f"from pathlib import Path; from qwencoder_lsp.context.indexer import Indexer; {hold}"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        other.stdout.readline()
        done = cli("index", str(shop))
        assert other.stdin is not None
        other.stdin.write("\n")
        other.communicate()
    assert "Another process keeps the index" in done.stderr
