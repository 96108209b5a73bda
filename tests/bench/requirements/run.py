"""`python -m tests.bench requirements`: one table of the promised figures with this machine's values, each met, missed, or "needs a GPU"."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from qwencoder_lsp.models.store import resolve
from tests.bench.asked import Records
from tests.bench.engine.corpus import Corpus
from tests.bench.engine.peers import Peer, own_home, to_its_end
from tests.bench.report import Report
from tests.bench.requirements import coding, models, service
from tests.bench.requirements.visit import Visit

LARGE, SMALL = "qwencoder-1.5b", "qwencoder-0.5b"
ITEMS, QUICK_ITEMS = 40, 2
MEASURES = (service.speed, service.health, service.many, service.completions, service.rate, service.memory, service.long_prompt)


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--model", default=LARGE, help="a catalogue name or a GGUF file")
    parser.add_argument("--second", default=SMALL, help="the model to change to")
    parser.add_argument("--quick", action="store_true", help=f"fewer samples, and {QUICK_ITEMS} items of HumanEval")
    parser.add_argument("--peer", type=Path, help="llama-server, for HumanEval")
    parser.add_argument("--data", type=Path, help="the folder that holds humaneval/ (https://github.com/openai/human-eval)")
    parser.add_argument("--items", type=int, default=0, help=f"items of HumanEval; 0: {ITEMS}")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other items")
    parser.add_argument("--resume", type=Path, help="answers to HumanEval are kept in this file, and those that it holds are not asked for again")
    parser.add_argument("--out", type=Path, help="also append the figures to this file, one JSON object per line")


def main(options: argparse.Namespace) -> int:
    """0 when no figure is missed, 1 otherwise."""
    model = resolve(options.model).path
    report = Report(f"requirements, {model.name}{', quick' if options.quick else ''}")
    errors: list[str] = []
    try:
        to_its_end(_measure(options, model, resolve(options.second).path, report, errors))
    finally:
        if report.figures:  # also those of a run that was cut off
            print(report.table())
        for error in errors[:20]:
            print(f"  {error}")
    if options.out:
        with options.out.open("a", encoding="utf-8") as file:
            file.write(report.lines())
    return 1 if any(figure.verdict == "MISSED" for figure in report.figures) else 0


async def _measure(options: argparse.Namespace, model: Path, second: Path, report: Report, errors: list[str]) -> None:
    """Fills the report, and `errors` with what went wrong, a sentence each."""
    count = options.items or (QUICK_ITEMS if options.quick else ITEMS)
    items = coding.load(options.data, count, options.seed) if options.peer and options.data else []
    records = Records(options.resume)
    with own_home() as home:
        server = await models.start(model, home, report)
        try:
            visit = Visit(server, model, Corpus(model), report, options.quick, errors=errors)
            await server.warm()
            for measure in MEASURES:
                print(f"{measure.__name__} ...", file=sys.stderr, flush=True)
                await measure(visit)
            report.add("error rate", 100 * visit.failed / visit.sent, "%", visit.sent, 1, "max")
            await coding.answers(server, "ours", items, records)
        finally:
            await server.stop()
        await models.swaps(model, second, home, report, 1 if options.quick else 3)
        if not items:
            report.lack("HumanEval: p of ours being below by chance", "", "not run: needs --peer and --data", coding.BY_CHANCE, "min")
            return
        peer = await Peer.start(options.peer.absolute(), model, ("-c", "8192"), home / "peer.log")
        try:
            await coding.answers(peer, "peer", items, records)
        finally:
            await peer.stop()
    coding.compare(items, records, report)
