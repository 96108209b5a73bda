"""`python -m tests.bench users`: so many people at once, each with a conversation of their own, at our service and at llama-server in turns.

Each user asks, reads the stream to its end, and asks the next question. Bars: no error, the median time to the first token at least 1.5 times better
than that of llama-server's best setting, the tokens per second of all together at least 0.9 of it."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median

from qwencoder_lsp.models.store import resolve
from tests.bench.engine.client import Reply
from tests.bench.engine.peers import Ours, Peer, Server, own_home, to_its_end
from tests.bench.report import Report

SLOTS = (4, 8, 20)  # settings of llama-server to choose the best from
TASKS = (
    "Explain in two sentences what a {} is.",
    "Write a Python function that makes a {} and returns it.",
    "What is the difference between a {} and a list?",
)
THINGS = ("queue", "trie", "heap", "set", "deque", "graph", "matrix", "tuple", "stack", "ring buffer")
BETTER, THROUGHPUT = 1.5, 0.9


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--peer", type=Path, required=True, help="llama-server")
    parser.add_argument("--model", default="qwencoder-0.5b", help="a catalogue name or a GGUF file")
    parser.add_argument("--users", type=int, default=20)
    parser.add_argument("--sample", type=int, default=3, help="questions of each user")
    parser.add_argument("--tokens", type=int, default=64, help="most tokens of an answer")
    parser.add_argument("--slots", type=lambda text: [int(n) for n in text.split(",")], default=list(SLOTS), help="llama-server's settings of -np")
    parser.add_argument("--out", type=Path, help="also append the figures to this file, one JSON object per line")


def main(options: argparse.Namespace) -> int:
    """0 when all bars are met."""
    with own_home() as home:
        report = to_its_end(_report(options, resolve(options.model).path, home))
    print(report.table())
    if options.out:
        with options.out.open("a", encoding="utf-8") as file:
            file.write(report.lines())
    return int(any(figure.verdict == "MISSED" for figure in report.figures))


async def _report(options: argparse.Namespace, model: Path, home: Path) -> Report:
    async with AsyncExitStack() as stack:
        ours = await Ours.start(model, home)
        stack.push_async_callback(ours.stop)
        own, own_s = await _crowd(ours, options)
    peers = []
    for slots in options.slots:
        peer = await Peer.start(options.peer.absolute(), model, ("--jinja", "-np", str(slots), "-c", str(1024 * slots)), home / "peer.log")
        try:
            peers.append((slots, *await _crowd(peer, options)))
        finally:
            await peer.stop()
    report = Report(f"{options.users} users, {options.sample} questions each, {model.name}")
    n = len(own)
    report.add("errors of ours", sum(not reply.ok for reply in own), "", n, 0, "max")
    report.add("ours: first token, median", _first(own), "s", n)
    report.add("ours: all tokens", _tokens(own) / own_s, "/s", n)
    for slots, replies, _ in peers:
        report.add(f"llama-server -np {slots}: first token, median", _first(replies), "s", n)
    for slots, replies, seconds in peers:
        report.add(f"llama-server -np {slots}: all tokens", _tokens(replies) / seconds, "/s", n)
    best = min(peers, key=lambda run: _first(run[1]))
    fastest = max(_tokens(replies) / seconds for _, replies, seconds in peers)
    report.add("first token: its best over ours", _first(best[1]) / _first(own), "", n, BETTER, "min")
    report.add("throughput: ours over its best", _tokens(own) / own_s / fastest, "", n, THROUGHPUT, "min")
    return report


async def _crowd(server: Server, options: argparse.Namespace) -> tuple[list[Reply], float]:
    """All replies, and the seconds that all of them took."""
    await server.warm()

    async def user(number: int) -> list[Reply]:
        thing = THINGS[number % len(THINGS)] + (f" of {number}" if number >= len(THINGS) else "")
        return [await server.call(server.chat(TASKS[i % len(TASKS)].format(thing), options.tokens)) for i in range(options.sample)]

    start = time.perf_counter()
    replies = await asyncio.gather(*(user(number) for number in range(options.users)))
    return [reply for one in replies for reply in one], time.perf_counter() - start


def _first(replies: Sequence[Reply]) -> float:
    return median(reply.first for reply in replies if reply.ok)


def _tokens(replies: Sequence[Reply]) -> int:
    return sum(int(reply.usage.get("completion_tokens", 0)) for reply in replies)
