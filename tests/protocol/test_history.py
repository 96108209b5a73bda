"""From a keystroke to the history: what a real language server and a real gateway write down, and that it holds no text."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qwencoder_lsp.errors import ModelUnknown
from qwencoder_lsp.observe.history import Summary
from qwencoder_lsp.observe.history_sqlite import SqliteHistory
from tests.protocol.gateways import collect, fill, gateway, wait
from tests.protocol.windows import window

SCRIPT = {"default": "hidden_value"}


def summary(home: Path, until: Callable[[Summary], bool] = lambda found: True) -> Summary:
    """What the gateway of `home` has written so far, once it meets the condition."""
    file = home / "data" / "history.sqlite"
    assert wait(file.exists, 10)
    found: list[Summary] = []

    def read() -> bool:
        history = SqliteHistory(file, 30, 64)
        found[:] = [history.summary(0, time.time() + 60, 1)]
        history.close()
        return until(found[0])

    assert wait(read, 20), found
    return found[0]


def item_id(result: Any) -> str:
    return str(result["items"][0]["command"]["arguments"][0])


def test_what_a_window_shows_and_what_the_user_takes_reaches_the_history_as_numbers(tmp_path: Path) -> None:
    with window(tmp_path, SCRIPT) as w:
        w.initialize()
        w.open("secret_name = ")
        shown = item_id(w.inline(0, 14))
        w.notify("qwencoder/didShow", {"id": shown})
        w.notify("qwencoder/didPartiallyAccept", {"id": shown, "acceptedLength": 3})
        w.open("value = 1", uri="file:///srv/project/a.go", language="go")
        w.request("workspace/executeCommand", {"command": "qwencoder.accepted", "arguments": [shown]})
        w.notify("qwencoder/didReject", {"id": shown})
        w.inline(0, 2, uri="file:///srv/project/a.go")
        found = summary(tmp_path, lambda s: s.answers >= 2 and s.runs >= 1)
    languages = {language.name: language for language in found.languages}
    python = languages["python"]
    assert (python.asked, python.shown, python.offered, python.displayed, python.accepted, python.partly, python.rejected) == (1, 1, 1, 1, 1, 1, 1)
    assert languages["go"].shown == 0
    assert sum(found.silence.values()) == 1
    assert next(stage for stage in found.editor if stage.name == "total_ms").p50 > 0
    data = b"".join(file.read_bytes() for file in (tmp_path / "data").glob("history.sqlite*"))
    assert b"hidden_value" not in data
    assert b"secret_name" not in data
    assert b"srv/project" not in data


def test_a_window_that_closes_tells_its_last_outcomes(tmp_path: Path) -> None:
    with window(tmp_path, SCRIPT) as w:
        w.initialize()
        w.open("x = ")
        w.inline(0, 4)
        summary(tmp_path, lambda s: s.answers == 1)
        w.inline(0, 4)
        w.request("shutdown")
        w.notify("exit")
        summary(tmp_path, lambda s: s.answers == 2)


def test_windows_without_history_on_disk_leave_no_file(tmp_path: Path) -> None:
    with window(tmp_path, SCRIPT, env={"QWENCODER_HISTORY_ENABLED": "false"}) as w:
        w.initialize()
        w.open("x = ")
        w.inline(0, 4)
        w.request("shutdown")
    assert not list(tmp_path.rglob("history.sqlite*"))


async def test_a_request_that_gets_an_error_is_counted_as_failed_with_its_code(home: Path, script: Any) -> None:
    async with gateway() as client:
        with pytest.raises(ModelUnknown):
            await collect(client.complete(fill("x", model="gpt-4")))
        await collect(client.complete(fill("x")))
    found = summary(home, lambda s: s.runs == 2)
    assert (found.failed, found.failures, found.ends) == (1, {"model_unknown": 1}, {"stop_token": 1})
