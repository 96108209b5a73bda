"""`python -m tests.bench fix`: pass@1 on HumanEvalFix for one question, for two of which the likelier answer counts, and for our action "find and fix
bugs". Everybody sees the function with its documentation; nobody sees its tests. Run on the command line's settings."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from qwencoder_lsp.core.prompt import Message
from qwencoder_lsp.core.text import Snapshot, Span, apply_edits
from qwencoder_lsp.errors import AnswerError
from qwencoder_lsp.features.ask import Answer, ask
from qwencoder_lsp.features.refactor import refactor
from qwencoder_lsp.gateway.client import GatewayClient
from qwencoder_lsp.gateway.protocol import ChatRequest
from qwencoder_lsp.models.store import resolve
from qwencoder_lsp.postprocess.fences import code_block
from qwencoder_lsp.settings import Settings
from tests.bench.engine.peers import own_home, to_its_end
from tests.bench.fim.run import mcnemar
from tests.bench.repair.items import Item
from tests.bench.repair.judge import passes
from tests.bench.repair.records import Record, arguments, gateway, items_of, keep, read

ARMS = ("one_shot", "best_of_2", "ours")
BARS = {"one_shot": 8.0, "best_of_2": 4.0}  # points of ours over it
TEMPERATURE = 0.7

__all__ = ["arguments", "main"]


def main(options: argparse.Namespace) -> int:
    """0 when everything was answered."""
    items, model = items_of(options), str(resolve(options.model).path)
    with own_home() as home:
        known = to_its_end(_answers(items, model, home, options.resume))
    found = {arm: _figures(items, known, arm) for arm in ARMS}
    print(f"HumanEvalFix with documentation and without tests, fix, {Path(model).name}, seed {options.seed}")
    print(_table(found, items, known))
    if options.json:
        options.json.write_text(json.dumps({"fix": found}, indent=1) + "\n", "utf-8")
    return 0


async def _answers(items: list[Item], model: str, home: Path, file: Path | None) -> dict[str, Record]:
    known = read(file)
    async with gateway(model, home) as (client, chosen):
        for number, item in enumerate(items, 1):
            for arm in ARMS:
                key = f"{arm} {item.id}"
                if key not in known:
                    start = time.monotonic()
                    code, calls, note = await _asked(arm, item, client, chosen)
                    record = {"passed": passes(item, code), "calls": calls, "note": note, "s": round(time.monotonic() - start, 1)}
                    keep(known, key, record, file)
            verdict = " ".join(f"{arm} {'+' if known[f'{arm} {item.id}']['passed'] else '-'}" for arm in ARMS)
            print(f"{number}/{len(items)} {item.id}: {verdict}", file=sys.stderr, flush=True)
    return known


async def _asked(arm: str, item: Item, client: GatewayClient, chosen: Settings) -> tuple[str, int, str]:
    """The file as it is afterwards, how often the model was asked, and why nothing was changed."""
    if arm == "ours":
        at = item.buggy.rindex(item.name) if item.language == "javascript" else item.buggy.rindex(f"def {item.name}")
        snapshot = Snapshot(f"file:///{item.id}", item.buggy, item.language)
        try:
            fix = await refactor(snapshot, Span(at, at), "fix", client, chosen)
        except AnswerError as error:
            return item.buggy, 2, error.message
        return apply_edits(item.buggy, fix.edits), fix.calls, ""
    request = ChatRequest(
        (Message("user", f"```{item.language}\n{item.buggy.rstrip()}\n```\n\nFix bugs in {item.name}. Answer with the whole code."),),
        model=chosen.model.chat,
        max_tokens=chosen.review.max_tokens,
    )
    answers = [await ask(client, request)]
    if arm == "best_of_2":
        answers.append(await ask(client, _sampled(request)))
    best: Answer = max(answers, key=lambda answer: answer.confidence or 0.0)
    code = code_block(best.text)
    return code or item.buggy, len(answers), "" if code else "no code"


def _sampled(request: ChatRequest) -> ChatRequest:
    return ChatRequest(request.messages, request.model, request.max_tokens, TEMPERATURE)


def _figures(items: list[Item], known: dict[str, Record], arm: str) -> Record:
    found = [known[f"{arm} {item.id}"] for item in items]
    n = len(found)
    by_language = {
        language: round(100 * sum(known[f"{arm} {i.id}"]["passed"] for i in items if i.language == language) / total, 1)
        for language in dict.fromkeys(item.language for item in items)
        if (total := sum(i.language == language for i in items))
    }
    passed = sum(r["passed"] for r in found)
    return {"pass@1": round(100 * passed / n, 1), "n": n, "calls": round(sum(r["calls"] for r in found) / n, 2), "languages": by_language}


def _table(found: dict[str, Record], items: list[Item], known: dict[str, Record]) -> str:
    lines = [f"{'':12}{'pass@1':>8}{'n':>6}{'calls':>7}  by language"]
    lines += [f"{arm:12}{f['pass@1']:8.1f}{f['n']:6}{f['calls']:7.2f}  {f['languages']}" for arm, f in found.items()]
    for arm, bar in BARS.items():
        pairs = [(known[f"ours {item.id}"]["passed"], known[f"{arm} {item.id}"]["passed"]) for item in items]
        better, worse = sum(a and not b for a, b in pairs), sum(b and not a for a, b in pairs)
        gain = found["ours"]["pass@1"] - found[arm]["pass@1"]
        verdict = "met" if gain >= bar else "MISSED"
        lines.append(f"ours {gain:+.1f} points over {arm} (+{better} -{worse}, p = {mcnemar(better, worse):.3f}), bar +{bar:g}: {verdict}")
    return "\n".join(lines)
