"""What followers of a download are told, however slowly they read. Nothing is fetched."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from qwencoder_lsp.http.downloads import Download, Downloads
from qwencoder_lsp.http.service import Service
from qwencoder_lsp.settings import Settings


def end(download: Download, state: str) -> None:
    download.state = state
    download.changed.set()


async def states(following: Any) -> list[str]:
    return [shown["state"] async for shown in following]


async def test_an_end_during_a_slow_read_is_told(home: Path) -> None:
    download = Download("m", 10)
    following = Downloads(Service(Settings())).follow(download)
    assert (await anext(following))["state"] == "running"
    end(download, "failed")
    assert await asyncio.wait_for(states(following), 10) == ["failed"]


async def test_a_follower_that_reads_on_takes_no_news_from_a_slow_one(home: Path) -> None:
    download, downloads = Download("m", 10), Downloads(Service(Settings()))
    slow, quick = downloads.follow(download), downloads.follow(download)
    await anext(slow)
    await anext(quick)
    waiting = asyncio.create_task(anext(quick))
    await asyncio.sleep(0)
    download.done = 5
    download.changed.set()
    assert (await waiting)["done"] == 5
    waiting = asyncio.create_task(anext(quick))
    await asyncio.sleep(0)  # it waits again, for which it has cleared the event
    assert (await asyncio.wait_for(anext(slow), 10))["done"] == 5
    end(download, "done")
    assert (await waiting)["state"] == "done"
    assert await asyncio.wait_for(states(slow), 10) == ["done"]
