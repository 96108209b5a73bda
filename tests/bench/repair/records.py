"""What both benchmarks share: the engine that they ask, their options, and the file in which answers are kept."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from qwencoder_lsp import settings
from qwencoder_lsp.gateway.client import GatewayClient
from qwencoder_lsp.gateway.find import connect
from qwencoder_lsp.settings import Settings
from tests.bench.repair.items import LANGUAGES, Item, load
from tests.protocol.gateways import end

Record = dict[str, Any]


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of both commands."""
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds humanevalfix/")
    parser.add_argument("--model", default="qwencoder-1.5b", help="a catalogue name or a GGUF file")
    parser.add_argument("--languages", default="python,javascript", help=f"some of: {', '.join(LANGUAGES)}")
    parser.add_argument("--sample", type=int, default=80, help="functions of each language; 0: all")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other functions")
    parser.add_argument("--resume", type=Path, help="answers are kept in this file, and those that it holds are not asked for again")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")


def items_of(options: argparse.Namespace) -> list[Item]:
    """The functions that the options choose."""
    return [item for language in options.languages.split(",") for item in load(options.data, language, options.sample, options.seed)]


@asynccontextmanager
async def gateway(model: str, home: Path) -> AsyncIterator[tuple[GatewayClient, Settings]]:
    """A gateway of its own in `home`, with the shipped settings but for the model."""
    os.environ["QWENCODER_HOME"] = str(home)
    chosen = settings.load(command_line={"model": {"completion": model, "chat": model}}, env={}, strict=True)[0]
    client = await connect(chosen)
    pid = (await client.status()).pid
    try:
        yield client, chosen
    finally:
        await client.close()
        end(pid)
        del os.environ["QWENCODER_HOME"]


def read(file: Path | None) -> dict[str, Record]:
    """The answers that a file holds."""
    if file is None or not file.exists():
        return {}
    return {record.pop("key"): record for record in map(json.loads, file.read_text("utf-8").splitlines())}


def keep(known: dict[str, Record], key: str, record: Record, file: Path | None) -> None:
    """Note an answer, in the file too."""
    known[key] = record
    if file:
        with file.open("a", encoding="utf-8") as out:
            out.write(json.dumps({"key": key, **record}) + "\n")
