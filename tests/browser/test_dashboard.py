"""The dashboard in a real Chromium: what a person sees of an idle, a busy and a failing service. `DASHBOARD_SHOTS=DIR` keeps the pictures."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import filelock
import pytest

from qwencoder_lsp.core.outcome import ACCEPTED, ANSWERED, EngineRun, Outcome
from qwencoder_lsp.core.report import Reason, Timings, Usage
from qwencoder_lsp.gateway.protocol import ListenRequest
from qwencoder_lsp.models.catalogue import find
from qwencoder_lsp.models.store import path_of
from qwencoder_lsp.observe.history_sqlite import SqliteHistory
from qwencoder_lsp.paths import history_file
from tests.clients import vscode
from tests.clients.installing import Unavailable
from tests.protocol.fronts import Front, front
from tests.protocol.gateways import collect, fill, until

pytestmark = pytest.mark.client

DRIVER = Path(__file__).with_name("dashboard.mjs")
LANGUAGES = ("python", "typescript", "go", "rust", "markdown")
SILENCE = (Reason.MID_WORD, Reason.UNSURE, Reason.EMPTY, Reason.IN_PROSE, Reason.REPEATS_SUFFIX, Reason.BREAKS_SYNTAX)


async def seen(front: Front, *steps: dict[str, Any]) -> dict[str, Any]:
    """What the driver reports of these steps on the front's dashboard."""
    try:
        programs = {"playwright": str(vscode.playwright()), "chromium": str(vscode.chromium())}
        environment = vscode.node_environment()
    except Unavailable as error:
        pytest.skip(f"Chromium cannot be driven here: {error}")
    process = await asyncio.create_subprocess_exec(
        "node",
        str(DRIVER),
        env=environment,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    task = {**programs, "url": f"{front.http.base_url}/dashboard", "steps": steps}
    output, errors = await asyncio.wait_for(process.communicate(json.dumps(task).encode()), 150)
    assert process.returncode == 0, errors.decode()
    report: dict[str, Any] = json.loads(output)
    assert (report["outside"], report["errors"], report["unnamed"]) == ([], [], [])
    assert report["overflow"] == [0] * len(report["overflow"]), "the page is wider than its window"
    return report


def shots(name: str, folder: Path) -> list[dict[str, Any]]:
    """Pictures at both sizes and in both schemes."""
    target = Path(os.environ.get("DASHBOARD_SHOTS") or folder)
    sizes = {"desktop": (1280, 900), "phone": (390, 844)}
    return [
        {"shot": {"path": str(target / f"{name}-{device}-{scheme}.png"), "width": size[0], "height": size[1], "scheme": scheme}}
        for device, size in sizes.items()
        for scheme in ("light", "dark")
    ]


def remember(count: int) -> None:
    """A day of requests, as the windows of a team would have told."""
    history = SqliteHistory(history_file(), 30, 64)
    now = time.time()
    for i in range(count):
        at, language = now - 80_000 * ((i * 37 % 1000) / 1000) ** 1.5, LANGUAGES[i * i % 13 % 5]
        silent = SILENCE[i % 7 % 6] if i % 3 == 0 else None
        source = "" if silent is Reason.MID_WORD else ("asked", "memory", "asked", "ahead", "joined")[i % 5]
        timings = Timings(1.5 + i % 4, 2.0 + i % 3, 180.0 + i * 7 % 400, 1.0 + i % 2, 2.0 + i % 30, 60.0 + i % 90, 110.0 + i % 200, 90.0 + i % 160)
        reason = (silent or Reason.SHOWN).value
        records: list[Outcome | EngineRun] = [
            Outcome(at, ANSWERED, "inline", language, reason, "", "m", source, Usage(400, 330, 14), timings, 190.0 + i * 7 % 420)
        ]
        if not silent and i % 4 == 0:
            records.append(Outcome(at, ACCEPTED, "inline", language))
        if source == "asked":
            end = ("stop_token", "lines", "suffix", "superseded")[i % 4]
            records.append(EngineRun(at, "m", end, False, 400, 330, 40, 14, 9, 7, 0, 2.0 + i % 30, 60.0 + i % 90, 110.0 + i % 200))
        history.write(records)
    history.close()


async def test_an_idle_service_is_ready_and_every_part_says_that_it_is_empty(script: Any, tmp_path: Path) -> None:
    async with front() as f:
        report = await seen(f, {"see": "Ready; the model is loaded at the first request"}, {"text": "page"}, *shots("idle", tmp_path))
    text = report["texts"]["page"]
    for part in ("Nothing.", "No editor has asked in this period.", "No requests in this period.", "The history holds numbers only"):
        assert part in text
    assert "Failures" not in text


async def test_a_busy_service_shows_what_runs_and_what_its_history_comes_to(script: Any, tmp_path: Path) -> None:
    script(default="x" * 4000, token_ms=30)
    remember(600)
    async with front() as f:
        work = [asyncio.create_task(collect(f.private.complete(fill(f"def f{i}(", max_tokens=1000)))) for i in range(3)]
        work.append(asyncio.create_task(collect(f.private.complete(fill("ahead(", max_tokens=1000, ahead=True)))))
        await f.busy(4)
        report = await seen(
            f,
            {"see": "Working on 4 requests"},
            {"text": "page"},
            *shots("busy", tmp_path),
            {"pick": ["Period", "hour"]},
            {"gone": "text=of 600 answers"},
            {"text": "hour"},
        )
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)
    text = report["texts"]["page"]
    for part in ("python", "typescript", "The cursor is inside a word", "Prepared ahead", "Brought back from main memory", "Typing", "Background"):
        assert part in text
    assert "of 600 answers" in text
    assert "new suggestions" in report["texts"]["hour"]


async def test_without_a_model_it_says_what_to_do_and_shows_the_download(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("PIP_NO_INDEX", "HF_HUB_OFFLINE"):
        monkeypatch.setenv(name, "1")
    target = path_of(find("qwencoder-0.5b"))
    target.parent.mkdir(parents=True)
    with filelock.FileLock(target.with_name(target.name + ".lock")):  # so that it waits, as for another program
        async with front() as f:
            await f.http.post("/models/download", json={"model_name": "qwencoder-0.5b"})
            report = await seen(f, {"see": "No model installed"}, {"see": "Downloads"}, {"text": "page"}, *shots("empty", tmp_path))
    assert "Run: qwencoder-lsp models pull qwencoder-1.5b" in report["texts"]["page"]
    assert "of 469 MB" in report["texts"]["page"]


async def test_an_engine_that_died_is_said_plainly(script: Any, tmp_path: Path) -> None:
    script(default="x" * 4000, token_ms=30)
    remember(60)
    async with front() as f:
        work = asyncio.create_task(collect(f.private.complete(fill("def f("))))
        await f.busy(1)
        status = await until(f.private, lambda s: bool(s.models and s.models[0].pid))
        os.kill(status.models[0].pid or 0, signal.SIGKILL)
        await asyncio.gather(work, return_exceptions=True)
        report = await seen(f, {"see": "An engine ended unexpectedly"}, {"text": "page"}, *shots("failing", tmp_path))
    assert "It is started again at the next request" in report["texts"]["page"]
    assert "Failures" in report["texts"]["page"]


async def test_a_service_that_has_gone_is_said_plainly_with_what_was_last_known(script: Any, tmp_path: Path) -> None:
    remember(60)
    async with front() as f:
        pid = (await f.private.status()).pid
        stop: dict[str, Any] = {"run": ["kill", "-9", str(pid)]}
        down: dict[str, Any] = {"see": "The service does not answer"}
        report = await seen(f, {"see": "Ready; the model"}, stop, down, {"text": "page"}, *shots("gone", tmp_path))
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert "Start it with: qwencoder-lsp serve. The figures below are those of" in report["texts"]["page"]
    assert "of 60 answers" in report["texts"]["page"]


async def test_with_a_key_the_page_asks_for_it_by_keyboard_and_shows_nothing_before(script: Any, tmp_path: Path) -> None:
    remember(60)
    async with front(ListenRequest("127.0.0.1", 0, ("the-key",))) as f:
        report = await seen(
            f,
            {"see": "This service needs an API key"},
            {"text": "locked"},
            *shots("locked", tmp_path),
            {"fill": ["API key", "wrong"]},
            {"press": "Enter"},
            {"see": "The service does not know this key."},
            {"fill": ["API key", "the-key"]},
            {"press": "Enter"},
            {"see": "of 60 answers"},
            {"click": "Pause"},
        )
    assert "answers" not in report["texts"]["locked"]
