"""`python -m tests.bench engine`: choose scenarios, run them, print one table, write one JSON file."""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from qwencoder_lsp import __version__
from qwencoder_lsp.models.store import resolve
from tests.bench.engine import scenarios_latency, scenarios_load, scenarios_self, scenarios_text, table
from tests.bench.engine.corpus import Corpus
from tests.bench.engine.peers import own_home, to_its_end
from tests.bench.engine.scenario import Lab, Results, Scenario, run, say

MODEL = "qwencoder-0.5b"
REPEATS, QUICK = 5, 2
ALL: tuple[Scenario, ...] = (
    *scenarios_latency.SCENARIOS,
    *scenarios_load.SCENARIOS,
    *scenarios_text.SCENARIOS,
    *scenarios_self.SCENARIOS,
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--peer", type=Path, required=True, help="llama-server; llama-bench stands beside it")
    parser.add_argument("--model", default=MODEL, help="a catalogue name or a GGUF file")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} repeats instead of {REPEATS}")
    parser.add_argument("--repeats", type=int, help="repeats per scenario and side")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other prompts")
    parser.add_argument("--only", default="", help=f"some of: {', '.join(s.name for s in ALL)}")
    parser.add_argument("--patience", type=float, default=0, help="wait so many seconds before each measurement while others use the cores")
    parser.add_argument("--json", type=Path, help="also write rows and samples to this file")


def main(options: argparse.Namespace) -> int:
    """0 when everything was measured, met or not; 1 when a scenario could not be."""
    wanted = [name for name in options.only.split(",") if name]
    if unknown := [name for name in wanted if not any(s.name.startswith(name) for s in ALL)]:
        raise SystemExit(f"There is no scenario {unknown[0]!r}; there are: {', '.join(s.name for s in ALL)}.")
    chosen = [s for s in ALL if not wanted or any(s.name.startswith(name) for name in wanted)]
    model, repeats = resolve(options.model).path, options.repeats or (QUICK if options.quick else REPEATS)
    with own_home() as home:
        lab = Lab(model, options.peer.absolute(), home, Corpus(model), repeats, options.seed, options.patience)
        about = _about(lab)
        raw, found = to_its_end(_all(chosen, lab, options.json, about))
    print(f"engine side by side, {repeats} repeats, {about['model']} on {about['processor']}, {about['cores']} cores; load {_load(raw)}")
    print(table.table(found))
    return 1 if any(results.failure for results in raw.values()) else 0


async def _all(chosen: list[Scenario], lab: Lab, file: Path | None, about: dict[str, Any]) -> tuple[dict[str, Results], list[table.Row]]:
    raw: dict[str, Results] = {}
    found: list[table.Row] = []
    for scenario in chosen:
        say(f"{scenario.name} ...")
        raw[scenario.name] = await run(scenario, lab)
        found += table.rows(scenario, raw[scenario.name])
        if file:
            _write(file, table.as_json(found, raw, about))
    return raw, found


def _write(file: Path, text: str) -> None:
    """After each scenario, so that a long run that is broken off has not been for nothing."""
    file.write_text(text, "utf-8")


def _about(lab: Lab) -> dict[str, Any]:
    peer = subprocess.run([str(lab.peer), "--version"], capture_output=True, text=True, check=False)
    return {
        "model": lab.model.name,
        "repeats": lab.repeats,
        "seed": lab.seed,
        "cores": len(os.sched_getaffinity(0)),
        "processor": _processor(),
        "load_at_start": os.getloadavg(),
        "niceness": os.nice(0),
        "ours": __version__,
        "peer": (peer.stderr + peer.stdout).strip().splitlines()[:2],
        "python": sys.version.split()[0],
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor())


def _load(raw: dict[str, Results]) -> str:
    load = [value for results in raw.values() for value in results.load]
    return f"of strangers at most {max(load):.2f} cores" if load else "unknown"
