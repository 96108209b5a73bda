"""`python -m tests.bench tools`: function calling on BFCL's simple (Python) and irrelevance items, the same requests to us and to llama-server.

"read" are llama-server's answers with the calls that it left in the text, read as ours are: it knows fewer of the forms that the models write."""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import sys
import time
from collections import deque
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import jsonschema_rs

from qwencoder_lsp.models.store import resolve
from qwencoder_lsp.postprocess.toolcalls import CallReader
from tests.bench.engine.client import Call
from tests.bench.engine.peers import Ours, Peer, Server, own_home, to_its_end
from tests.bench.tools.items import DEFAULT, Item, load

MODEL = "qwencoder-1.5b"
MAX_TOKENS = 512

Record = dict[str, Any]


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds bfcl/ (https://github.com/ShishirPatil/gorilla)")
    parser.add_argument("--peer", type=Path, help="llama-server; without it only ours is asked")
    parser.add_argument("--model", default=MODEL, help="a catalogue name or a GGUF file")
    parser.add_argument(
        "--sample", type=int, default=0, help=f"items of each kind; 0: {DEFAULT['simple']} simple, {DEFAULT['irrelevance']} irrelevance"
    )
    parser.add_argument("--kinds", default="simple,irrelevance")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other items")
    parser.add_argument("--resume", type=Path, help="answers are kept in this file, and those that it holds are not asked for again")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")


def main(options: argparse.Namespace) -> int:
    """0 when every call of ours was valid."""
    kinds = options.kinds.split(",")
    items = [item for kind in kinds for item in load(options.data, kind, options.sample or DEFAULT[kind], options.seed)]
    model = resolve(options.model).path
    with own_home() as home:
        answers = to_its_end(_answers(items, model, options.peer and options.peer.absolute(), home, _read(options.resume), options.resume))
    sides = ["ours", *(["peer", "read"] if options.peer else [])]
    if options.peer:
        answers |= {f"read {i.id}": _read_by_us(answers[f"peer {i.id}"], i) for i in items}
    rows = [(kind, side, _figures([answers[f"{side} {i.id}"] for i in items if i.kind == kind])) for kind in kinds for side in sides]
    print(f"BFCL, {model.name}, greedy, seed {options.seed}")
    for kind, side, f in rows:
        counts = f"right {f['right']:3}/{f['n']:<3} {f['accuracy']:5.1f} %   calls {f['calls']:3}, valid {f['valid']:3}, errors {f['errors']}"
        print(f"{kind:12} {side:5} {counts}   median {f['s']:.1f} s")
    for kind in kinds if options.peer else []:
        won = sum(answers[f"ours {i.id}"]["right"] and not answers[f"peer {i.id}"]["right"] for i in items if i.kind == kind)
        lost = sum(answers[f"peer {i.id}"]["right"] and not answers[f"ours {i.id}"]["right"] for i in items if i.kind == kind)
        print(f"{kind:12} ours alone right {won}, peer alone right {lost}, McNemar p {_mcnemar(won, lost):.2f}")
    if options.json:
        options.json.write_text(json.dumps([{"kind": kind, "side": side, **f} for kind, side, f in rows], indent=1) + "\n", "utf-8")
    return int(any(f["valid"] < f["calls"] for _, side, f in rows if side == "ours"))


async def _answers(items: list[Item], model: Path, peer: Path | None, home: Path, known: dict[str, Record], file: Path | None) -> dict[str, Record]:
    """By "side id"."""
    async with AsyncExitStack() as stack:
        servers: dict[str, Server] = {"ours": await Ours.start(model, home)}
        stack.push_async_callback(servers["ours"].stop)
        if peer:
            servers["peer"] = await Peer.start(peer, model, ("--jinja",), home / "peer.log")
            stack.push_async_callback(servers["peer"].stop)
        for number, item in enumerate(items, 1):
            for side, server in servers.items():
                key = f"{side} {item.id}"
                if key not in known:
                    known[key] = await _ask(server, item)
                    if file:
                        with file.open("a", encoding="utf-8") as out:
                            out.write(json.dumps({"key": key, **known[key]}) + "\n")
            verdict = " ".join(f"{side} {'+' if known[f'{side} {item.id}']['right'] else '-'}" for side in servers)
            print(f"{number}/{len(items)} {item.id}: {verdict}", file=sys.stderr, flush=True)
    return known


async def _ask(server: Server, item: Item) -> Record:
    start = time.monotonic()
    body = {"messages": item.messages, "tools": item.tools, "temperature": 0, "max_tokens": MAX_TOKENS}
    reply = await asyncio.wait_for(server.call(Call("/v1/chat/completions", body)), 600)
    if not reply.ok or not reply.body.get("choices"):
        return {"calls": [], "valid": 0, "right": False, "error": reply.error or str(reply.status), "s": time.monotonic() - start}
    message = reply.body["choices"][0]["message"]
    calls = [(call["function"]["name"], _parsed(call["function"]["arguments"])) for call in message.get("tool_calls") or []]
    schemas = {tool["function"]["name"]: tool["function"]["parameters"] for tool in item.tools}
    valid = sum(name in schemas and jsonschema_rs.is_valid(schemas[name], arguments) for name, arguments in calls)
    text = message.get("content") or ""
    return {"calls": calls, "valid": valid, "right": item.right(calls), "text": text, "s": time.monotonic() - start}


def _read_by_us(record: Record, item: Item) -> Record:
    """What an answer of the peer would be if calls that it left in the text counted."""
    if record["calls"]:
        return record
    reader = CallReader({tool["function"]["name"]: tool["function"]["parameters"] for tool in item.tools})
    deque((*reader.feed(record.get("text") or ""), *reader.finish()), 0)
    calls = [(call.name, _parsed(call.arguments)) for call in reader.calls if call.complete]
    schemas = {tool["function"]["name"]: tool["function"]["parameters"] for tool in item.tools}
    valid = sum(jsonschema_rs.is_valid(schemas[name], arguments) for name, arguments in calls)
    return {**record, "calls": calls, "valid": valid, "right": item.right(calls)}


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _figures(records: list[Record]) -> Record:
    n, right = len(records), sum(r["right"] for r in records)
    times = sorted(r["s"] for r in records)
    return {
        "n": n,
        "right": right,
        "accuracy": 100 * right / n,
        "calls": sum(len(r["calls"]) for r in records),
        "valid": sum(r["valid"] for r in records),
        "errors": sum("error" in r for r in records),
        "s": times[n // 2],
    }


def _mcnemar(won: int, lost: int) -> float:
    """The exact two-sided probability of a difference like this one where there is none."""
    n = won + lost
    return min(1.0, 2 * sum(math.comb(n, k) for k in range(min(won, lost) + 1)) / 2**n) if n else 1.0


def _read(file: Path | None) -> dict[str, Record]:
    if file is None or not file.exists():
        return {}
    return {record.pop("key"): record for record in map(json.loads, file.read_text("utf-8").splitlines())}
