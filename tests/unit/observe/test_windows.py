from __future__ import annotations

import asyncio
import json
import os
import stat
from pathlib import Path

import pytest

from qwencoder_lsp import paths
from qwencoder_lsp.observe import windows


@pytest.fixture(params=[True, False], ids=["Unix socket", "loopback"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, home: Path) -> bool:
    monkeypatch.setattr(windows, "USE_UNIX_SOCKET", request.param)
    return bool(request.param)


async def ask(**question: object) -> list[tuple[int, object]]:
    return await asyncio.to_thread(lambda: list(windows.ask(dict(question))))


async def test_a_window_answers_the_command_line(kind: bool) -> None:
    withdraw = await windows.listen(lambda question: {"got": question["ask"], "text": "é" * 100_000})
    assert await ask(ask="status") == [(os.getpid(), {"got": "status", "text": "é" * 100_000})]
    withdraw()
    assert await ask(ask="status") == []
    assert list(paths.runtime_dir().iterdir()) == []


async def test_without_the_token_nothing_is_said(kind: bool) -> None:
    withdraw = await windows.listen(lambda _: "secret")
    (file,) = paths.runtime_dir().glob("window-*.json")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    place = json.loads(file.read_text("utf-8"))
    file.write_text(json.dumps({**place, "token": "wrong"}), "utf-8")
    assert await ask(ask="status") == []
    file.write_text(json.dumps(place), "utf-8")
    assert await ask(ask="status") == [(os.getpid(), "secret")]
    withdraw()


async def test_what_a_killed_window_left_is_removed(kind: bool) -> None:
    folder = paths.runtime_dir()
    (folder / "window-99.json").write_text(json.dumps({"token": "x"} if kind else {"token": "x", "port": 9}), "utf-8")
    (folder / "window-98.json").write_text("{", "utf-8")
    assert await ask(ask="status") == []
    assert not (folder / "window-99.json").exists()


async def test_a_directory_that_others_can_enter_leaves_the_window_out(home: Path) -> None:
    paths.runtime_dir().chmod(0o755)
    withdraw = await windows.listen(lambda _: "secret")
    withdraw()
    assert not list((home / "run").iterdir())
