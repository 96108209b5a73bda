"""Makes random recorded completions of the running window again, as `qwencoder-lsp trace replay` does."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from pathlib import Path

from qwencoder_lsp.features.record import Record
from qwencoder_lsp.features.replay import Stage, replay
from qwencoder_lsp.gateway.find import connect
from qwencoder_lsp.observe import windows
from qwencoder_lsp.settings import Settings


def replays(home: Path, count: int, draw: random.Random, counts: Counter[str]) -> list[str]:
    """What came out differently of `count` random ones, a sentence each. counts: gets the number of replays and of near-ties."""
    os.environ["QWENCODER_HOME"] = str(home)
    try:
        known = [e for _, entries in windows.ask({"ask": "traces", "limit": 500}) for e in entries if e["source"]]
        found = []
        for entry in draw.sample(known, len(known)):
            for _, whole in windows.ask({"ask": "trace", "request": entry["request"]}):
                if whole and whole["record"]:
                    found.append(Record.from_json(whole["record"]))
            if len(found) == count:
                break
        return asyncio.run(_replay(found, counts))
    finally:
        del os.environ["QWENCODER_HOME"]


async def _replay(records: list[Record], counts: Counter[str]) -> list[str]:
    client = await connect(Settings(), start=False)
    faults = []
    try:
        for record in records:
            stages = await replay(record, client)
            counts["replays"] += 1
            counts["replays with a near-tie"] += any("is another" in stage.detail for stage in stages)
            faults += [_told(record, stage) for stage in stages if not stage.same]
    finally:
        await client.close()
    return faults


def _told(record: Record, stage: Stage) -> str:
    return f"a replay differs: {stage.name} of an answer from {record.source}: {stage.detail}"
