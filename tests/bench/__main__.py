"""Benchmarks: `python -m tests.bench NAME ...`. Each prints one table; `engine` and `soak` have options of their own, see their --help."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.bench import plumbing, soak, startup
from tests.bench.engine import run as engine

SMALL = {"startup": startup, "plumbing": plumbing}


def main() -> int:
    """Run one benchmark."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    commands = parser.add_subparsers(dest="name", required=True)
    for name, module in SMALL.items():
        command = commands.add_parser(name, description=module.__doc__)
        command.add_argument("--sample", type=int, default=0, help="number of measurements; 0: the benchmark's own")
        command.add_argument("--out", type=Path, help="also append the figures to this file, one JSON object per line")
    engine.arguments(commands.add_parser("engine", description=engine.__doc__))
    soak.arguments(commands.add_parser("soak", description=soak.__doc__))
    options = parser.parse_args()
    if options.name in SMALL:
        return _small(options)
    return engine.main(options) if options.name == "engine" else soak.main(options)


def _small(options: argparse.Namespace) -> int:
    report = SMALL[options.name].run(options.sample)
    print(report.table())
    if options.out:
        with options.out.open("a", encoding="utf-8") as file:
            file.write(report.lines())
    return 0


if __name__ == "__main__":
    sys.exit(main())
