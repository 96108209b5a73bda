"""Monkey: random typing through a raw client (insert, delete, undo, paste, jumps, several files, settings), in the three position encodings.

Every answer is checked against the version it was asked for, and the server's documents against the client's; some completions are replayed at the
end. With the scripted engine, or a model.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qwencoder_lsp.models.store import resolve
from tests.bench.monkey.hands import Hands
from tests.bench.monkey.judge import Judge
from tests.bench.monkey.listening import Listening
from tests.bench.monkey.replays import replays
from tests.protocol.windows import end_gateway, environment

ENCODINGS = ("utf-8", "utf-16", "utf-32")
REPLAYS = 20  # per session
AT_ONCE = 24  # requests under way
PAUSES_S = (0.0, 0.0, 0.0, 0.002, 0.01, 0.05)
HUMAN_S = (0.0, 0.02, 0.06, 0.12, 0.25)
TEXTS = (
    "bc", "value(1, 2)", "return a + b\n    x", "'😀' + 𠀀", ")", "", "\n", " = compute(\n        a,\n    )", "x\ny\nz", "    ",
    "e\u0301é", '")', "}\n}",
)  # fmt: skip
SCRIPT = {
    "default": "result = 1",
    "rules": [{"contains": f"{key}<|cursor|>", "text": TEXTS[i % len(TEXTS)]} for i, key in enumerate("abcxyz_ ()[]{}=.:,\"'+-0129\t#é😀\n")],
    "prefill_ms": 4,
    "token_ms": 1,
}


@dataclass
class Result:
    """What came of it, over all sessions."""

    minutes: float
    actions: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def table(self) -> str:
        """For people."""
        lines = [f"monkey, {self.minutes:g} minutes: {self.actions} actions"]
        lines += [f"  {name:45} {count}" for name, count in sorted(self.counts.items())]
        return "\n".join([*lines, *(f"FAULT {fault}" for fault in self.faults[:40]), f"{len(self.faults)} faults"])


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--model", help="a catalogue name or a GGUF file; otherwise the scripted engine, as fast as it goes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="also append the figures to this file, one JSON object per line")


def main(options: argparse.Namespace) -> int:
    """0 when nothing went wrong."""
    model = resolve(options.model).path if options.model else None
    with tempfile.TemporaryDirectory(prefix="qc-") as home:
        result = run(Path(home), options.minutes, model, options.seed)
    print(result.table())
    if options.out:
        figure = {"name": "monkey: faults", "value": len(result.faults), "bar": 0, "direction": "max", "n": result.actions}
        with options.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(figure) + "\n")
    return 1 if result.faults else 0


def run(home: Path, minutes: float, model: Path | None = None, seed: int = 0) -> Result:
    """One session per encoding, one after the other, with one gateway."""
    more = {"QWENCODER_GATEWAY_LINGER_S": "30"} | ({"QWENCODER_MODEL": str(model)} if model else {})
    env = environment(home, None if model else SCRIPT, more)
    result = Result(minutes)
    try:
        for number, encoding in enumerate(ENCODINGS):
            _session(env, home, encoding, random.Random(f"{seed} {number}"), minutes * 60 / len(ENCODINGS), model is not None, result)  # noqa: S311
    finally:
        end_gateway(home)
    log = (home / "log" / "language-server.log").read_text("utf-8")
    result.faults += [f"in the log: {line}" for line in log.splitlines() if " ERROR " in line or "Traceback" in line]
    return result


def _session(env: dict[str, str], home: Path, encoding: str, draw: random.Random, seconds: float, human: bool, result: Result) -> None:
    judge = Judge(encoding)
    client = Listening(env, judge, home / "stderr")
    try:
        pulls = draw.random() < 0.5
        capabilities: dict[str, Any] = {"general": {"positionEncodings": [encoding]}, "workspace": {"configuration": pulls}}
        client.answers["workspace/configuration"] = lambda params: [hands.settings] * len(params["items"])
        answer = client.request("initialize", {"processId": os.getpid(), "rootUri": "file:///srv", "capabilities": capabilities})
        if answer["capabilities"]["positionEncoding"] != encoding:
            judge.fault("another encoding", str(answer["capabilities"]["positionEncoding"]))
        client.judged = True
        hands = Hands(client, judge, draw)
        client.notify("initialized", {})
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            hands.act()
            client.settle(AT_ONCE)
            time.sleep(draw.choice(HUMAN_S if human else PAUSES_S))
        client.settle(0)
        for uri in list(hands.documents):
            hands._current = uri
            hands.compare()
        client.judged = False
        judge.faults += replays(home, REPLAYS, draw, judge.counts)
        client.request("shutdown")
        client.notify("exit")
        if code := client.exit_code():
            judge.fault("exit code", str(code))
    finally:
        client.close()
    judge.faults += [f"a message to the user: {shown}" for shown in client.all("window/showMessage")]
    if client.garbage or (home / "stderr").read_bytes():
        judge.fault("output beside the protocol", repr((client.garbage + (home / "stderr").read_bytes())[:300]))
    result.actions += hands.done
    result.counts.update(judge.counts)
    result.faults += [f"{encoding}: {fault}" for fault in judge.faults]
