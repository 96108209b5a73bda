"""`python -m tests.bench typing`: the same keys in real time for both sides, one after the other."""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import sys
from pathlib import Path
from typing import Any

from qwencoder_lsp import settings
from qwencoder_lsp.gateway.find import connect
from qwencoder_lsp.models.store import resolve
from tests.bench.engine.peers import Peer, own_home, to_its_end
from tests.bench.engine.processes import processor_seconds, tree
from tests.bench.typing.llamavim import LlamaVim
from tests.bench.typing.ours import Editor, evaluated
from tests.bench.typing.screen import Screen, Seen, kept, quantile
from tests.bench.typing.sessions import Session, load

MODEL = "qwencoder-0.5b"
SESSIONS, QUICK = 8, 1
SETTLE_S = 1.0
# llama-server as llama.vim's README starts it (its --fim-qwen presets), as llama.vscode's manual does for a CPU, and with room for the whole window.
# The server takes three quarters of a batch from before the cursor and a quarter from behind it. At each key it reads the latter again, and, without
# --cache-reuse, at each new line both when there is more than that: with its own defaults 512 and 2048 tokens, which take the 0.5B 2 and 8 s on two
# cores. Nobody pauses for so long here, so that such a server shows nothing at all, whatever the policy.
SIDES = {
    "ours": (),
    "peer": ("-b", "1024", "-ub", "1024", "--cache-reuse", "256"),
    "peer_cpu": ("-b", "512", "-ub", "512", "--cache-reuse", "256"),
    "peer_tuned": ("-b", "8192"),
}
# (figure, how it compares with the peer's, bar)
BARS = (
    ("p50_ms", "max", 1 / 3),
    ("p95_ms", "max", 1 / 2),
    ("shown_rate", "min", 1.0),
    ("kept", "min", 1.0),
    ("tokens_per_key", "max", 1 / 3),
    ("cpu_s", "max", 1.0),
)
WITHOUT_MODEL = 0.30

Figures = dict[str, float]


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--peer", type=Path, required=True, help="llama-server")
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds editing-traces/ (https://github.com/josephg/editing-traces)")
    parser.add_argument("--model", default=MODEL, help="a catalogue name or a GGUF file")
    parser.add_argument("--sample", type=int, default=0, help=f"sessions of some 120 keys; 0: {SESSIONS}")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} session")
    parser.add_argument("--sides", default=",".join(SIDES), help="some of: " + ", ".join(SIDES))
    parser.add_argument("--seed", type=int, default=0, help="another seed, other sessions")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")


def main(options: argparse.Namespace) -> int:
    """0 when all sessions were typed."""
    sessions = load(options.data, options.sample or (QUICK if options.quick else SESSIONS), options.seed)
    model = resolve(options.model).path
    found = {}
    for side in options.sides.split(","):
        found[side] = to_its_end(_ours(sessions, model) if side == "ours" else _peer(sessions, model, options.peer.absolute(), SIDES[side]))
    print(f"typing, {len(sessions)} sessions, {model.name}, seed {options.seed}")
    print(_table(found))
    if options.json:
        finite = {side: {name: value if math.isfinite(value) else None for name, value in f.items()} for side, f in found.items()}
        options.json.write_text(json.dumps({"typing": finite}, indent=1) + "\n", "utf-8")
    return 0


async def _ours(sessions: list[Session], model: Path) -> Figures:
    with own_home() as home:
        editor = await Editor.start(home, model, home / "stderr")
        os.environ["QWENCODER_HOME"] = str(home)
        client = await connect(settings.load()[0])
        pid = (await client.status()).pid
        try:
            editor.open(Session("warm.py", "python", "def add(a, b):\n    return \n", ()), 0)
            await editor.complete("def add(a, b):\n    return \n", 26)
            editor.close()
            roots = (editor.process.pid, pid)
            tokens, cpu = await evaluated(client), processor_seconds(tree(*roots))
            screens = []
            for number, session in enumerate(sessions, 1):
                screen = Screen()
                editor.show = lambda turn, text, free, screen=screen: screen.show(turn, text, free=free)  # type: ignore[misc]
                editor.open(session, number)
                await _type(session, screen, editor.key)
                editor.close()
                records = await editor.request("qwencoder/trace", {"limit": len(session.keys)})
                free = sum(r["reason"] == "shown" and not r["usage"]["prompt"] for r in records)
                for seen in [s for s in screen.turns if s.after is not None][:free]:
                    seen.free = True
                screens.append(screen)
                _say("ours", session, screen)
            tokens, cpu = await evaluated(client) - tokens, processor_seconds(tree(*roots)) - cpu
            return _figures(sessions, screens, tokens, cpu)
        finally:
            await client.shutdown()
            await client.close()
            await editor.stop()
            del os.environ["QWENCODER_HOME"]


async def _peer(sessions: list[Session], model: Path, binary: Path, flags: tuple[str, ...]) -> Figures:
    with own_home() as home:
        peer = await Peer.start(binary, model, flags, home / "peer.log")
        try:
            await peer.warm()
            cpu, tokens, screens = processor_seconds(tree(*peer.roots)), 0, []
            for session in sessions:
                screen = Screen()
                vim = LlamaVim(peer, lambda turn, text, free, screen=screen: screen.show(turn, text, free=free))  # type: ignore[misc]
                await _type(session, screen, lambda turn, _before, key, after, vim=vim: vim.key(turn, after, key.cursor))
                await vim.close()
                tokens += vim.evaluated
                screens.append(screen)
                _say("peer", session, screen)
            return _figures(sessions, screens, tokens, processor_seconds(tree(*peer.roots)) - cpu)
        finally:
            await peer.stop()


async def _type(session: Session, screen: Screen, press: Any) -> None:
    """In real time. The first key waits until the document was seen."""
    await asyncio.sleep(SETTLE_S)
    text = session.text
    gaps = [key.gap for key in session.keys[1:]] + [SETTLE_S]
    for turn, (key, wait) in enumerate(zip(session.keys, gaps, strict=True)):
        before, text = text, key.apply(text)
        screen.pressed(wait)
        press(turn, before, key, text)
        await asyncio.sleep(wait)


def _figures(sessions: list[Session], screens: list[Screen], tokens: float, cpu_s: float) -> Figures:
    turns: list[Seen] = [turn for screen in screens for turn in screen.turns]
    shown = [turn for turn in turns if turn.after is not None]
    right = total = 0
    for session, screen in zip(sessions, screens, strict=True):
        for i, turn in enumerate(screen.turns):
            if turn.text:
                right += kept(turn.text, _typed_after(session, i))
                total += len(turn.text)
    return {
        "p50_ms": quantile(turns, 0.5) * 1000,
        "p95_ms": quantile(turns, 0.95) * 1000,
        "shown_rate": len(shown) / len(turns),
        "kept": right / max(1, total),
        "keys_without_model": sum(turn.free for turn in shown) / max(1, len(shown)),
        "tokens_per_key": tokens / len(turns),
        "cpu_s": cpu_s / len(sessions),
        "keys": len(turns),
    }


def _typed_after(session: Session, turn: int) -> str:
    """What was typed from the cursor on, as long as it was typed in a row."""
    at, text = session.keys[turn].cursor, ""
    for key in session.keys[turn + 1 :]:
        if key.offset != at or key.deleted:
            break
        text += key.inserted
        at = key.cursor
    return text


def _say(side: str, session: Session, screen: Screen) -> None:
    shown = [t.after for t in screen.turns if t.after is not None]
    print(f"{side} {session.name}: {len(screen.turns)} keys, {len(shown)} with a suggestion", file=sys.stderr, flush=True)


def _table(found: dict[str, Figures]) -> str:
    names = list(next(iter(found.values())))
    lines = [f"{'':20}" + "".join(f"{side:>14}" for side in found)]
    lines += [f"{name:20}" + "".join(f"{figures[name]:14.2f}" for figures in found.values()) for name in names]
    ours, peers = found.get("ours"), [f for side, f in found.items() if side != "ours"]
    if ours and peers:
        for name, direction, bar in BARS:
            best = (min if direction == "max" else max)(p[name] for p in peers)
            limit = best * bar
            met = ours[name] <= limit if direction == "max" else ours[name] >= limit
            lines.append(f"{name}: {ours[name]:.2f}, bar {'<=' if direction == 'max' else '>='} {limit:.2f}: {'met' if met else 'MISSED'}")
        free = ours["keys_without_model"]
        lines.append(f"keys_without_model: {free:.2f}, bar >= {WITHOUT_MODEL}: {'met' if free >= WITHOUT_MODEL else 'MISSED'}")
    return "\n".join(lines)
