"""The workspace index through the real language server, its indexing process, the real gateway and the scripted engine."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.protocol.gateways import wait
from tests.protocol.windows import Window, window

WATCHED: dict[str, Any] = {"workspace": {"didChangeWatchedFiles": {"dynamicRegistration": True}}}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "shop"
    (root / ".git").mkdir(parents=True)
    (root / "rates.py").write_text('def shipping_rate(weight: float) -> float:\n    """What sending costs."""\n    return 4.9 + weight\n')
    return root


def start(w: Window, root: Path, capabilities: dict[str, Any] | None = None) -> None:
    w.initialize(capabilities, rootUri=root.as_uri(), workspaceFolders=[{"uri": root.as_uri(), "name": root.name}])


def indexers(w: Window) -> list[psutil.Process]:
    return [p for p in psutil.Process(w.process.pid).children() if "qwencoder_lsp.context.indexing" in p.cmdline()]


def names(w: Window, query: str) -> list[str]:
    return [symbol["name"] for symbol in w.request("workspace/symbol", {"query": query}) or []]


def test_symbols_of_the_workspace_are_found_with_their_place(tmp_path: Path, project: Path) -> None:
    with window(tmp_path) as w:
        start(w, project)
        assert wait(lambda: names(w, "shiprate") == ["shipping_rate"], 60)
        symbol = w.request("workspace/symbol", {"query": "shipping"})[0]
        assert wait(lambda: [i["state"] for i in w.request("qwencoder/status")["index"]] == ["ready"], 60)
    assert symbol["location"]["uri"] == (project / "rates.py").as_uri()
    assert symbol["location"]["range"]["start"] == {"line": 0, "character": 0}


@pytest.mark.parametrize("capabilities", [WATCHED, None], ids=["reported by the editor", "seen on the disk"])
def test_a_new_file_is_indexed(tmp_path: Path, project: Path, capabilities: dict[str, Any] | None) -> None:
    with window(tmp_path) as w:
        start(w, project, capabilities)
        assert wait(lambda: bool(names(w, "shipping_rate")), 60)
        new = project / "taxes.py"
        new.write_text("def vat(): ...\n")
        if capabilities:
            w.notify("workspace/didChangeWatchedFiles", {"changes": [{"uri": new.as_uri(), "type": 1}]})
        assert wait(lambda: names(w, "vat") == ["vat"], 60)
        new.unlink()
        if capabilities:
            w.notify("workspace/didChangeWatchedFiles", {"changes": [{"uri": new.as_uri(), "type": 3}]})
        assert wait(lambda: not names(w, "vat"), 60)


def test_after_a_rest_completions_know_the_definition_in_another_file(tmp_path: Path, project: Path) -> None:
    rule = {"contains": "<|file_sep|>rates.py\ndef shipping_rate(weight: float)", "text": "shipping_rate(w)"}
    cart = project / "cart.py"
    cart.write_text("from rates import shipping_rate\n\n\ndef total(w):\n    return \n")
    with window(tmp_path, {"default": "0", "rules": [rule]}) as w:
        start(w, project)
        assert wait(lambda: bool(names(w, "total")), 60)
        w.open(cart.read_text(), cart.as_uri())
        assert w.inline(4, 11, cart.as_uri())["items"][0]["insertText"].strip() == "return 0"
        assert wait(lambda: any(t["feature"] == "context" for t in w.request("qwencoder/trace", {"limit": 5})), 60)

        width, versions = [11], itertools.count(2)

        def known() -> bool:
            version = next(versions)
            line = f"    cost_{version} = "
            w.change((4, 0), (4, width[0]), line, cart.as_uri(), version)  # another line each time: its answer is not known
            width[0] = len(line)
            answer = w.inline(4, len(line), cart.as_uri())
            if answer and answer["items"] and "shipping_rate(w)" in answer["items"][0]["insertText"]:
                return True
            time.sleep(2)  # a rest, in which the model reads
            return False

        assert wait(known, 60)
        seen = w.request("qwencoder/trace", {"limit": 50})
    assert any(t["feature"] == "context" and t["detail"].startswith("1 snippets") for t in seen)


def test_nothing_is_indexed_where_the_project_says_so(tmp_path: Path, project: Path) -> None:
    (project / ".qwencoder.toml").write_text("[index]\nenabled = false\n")
    with window(tmp_path) as w:
        start(w, project)
        w.ready()
        assert names(w, "shipping_rate") == []
        assert not (tmp_path / "cache" / "index").exists()


def test_the_indexing_process_ends_with_the_window_and_a_second_window_takes_over(tmp_path: Path, project: Path) -> None:
    with window(tmp_path) as first:
        start(first, project)
        assert wait(lambda: bool(names(first, "shipping_rate")), 60)
        with window(tmp_path) as second:
            start(second, project)
            assert wait(lambda: bool(names(second, "shipping_rate")), 60)
            old = indexers(first)
            first.close()
            assert psutil.wait_procs(old, timeout=20)[1] == []
            (project / "later.py").write_text("def later(): ...\n")
            assert wait(lambda: names(second, "later") == ["later"], 60)


def test_an_indexing_process_that_dies_is_started_again(tmp_path: Path, project: Path) -> None:
    with window(tmp_path) as w:
        start(w, project)
        assert wait(lambda: bool(names(w, "shipping_rate")), 60)
        [old] = indexers(w)
        old.kill()
        (project / "later.py").write_text("def later(): ...\n")
        assert wait(lambda: names(w, "later") == ["later"], 60)
