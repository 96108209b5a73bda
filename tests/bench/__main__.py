"""Benchmarks: `python -m tests.bench NAME ...`. Each prints one table; see the --help of each for its options."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.bench import beside, context, index, plumbing, restart, schemas, soak, startup, streams, swap, users
from tests.bench.cursor import run as cursor
from tests.bench.engine import run as engine
from tests.bench.fim import run as fim
from tests.bench.monkey import run as monkey
from tests.bench.quiet import run as quiet
from tests.bench.repair import fix, review
from tests.bench.requirements import run as requirements
from tests.bench.tools import run as tools
from tests.bench.typing import run as typing

SMALL = {"startup": startup, "plumbing": plumbing, "swap": swap}
LARGE = {
    "engine": engine,
    "soak": soak,
    "restart": restart,
    "typing": typing,
    "fim": fim,
    "cursor": cursor,
    "quiet": quiet,
    "monkey": monkey,
    "index": index,
    "context": context,
    "beside": beside,
    "review": review,
    "fix": fix,
    "tools": tools,
    "requirements": requirements,
    "schemas": schemas,
    "users": users,
    "streams": streams,
}


def main() -> int:
    """Run one benchmark."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    commands = parser.add_subparsers(dest="name", required=True)
    for name, module in SMALL.items():
        command = commands.add_parser(name, description=module.__doc__)
        command.add_argument("--sample", type=int, default=0, help="number of measurements; 0: the benchmark's own")
        command.add_argument("--out", type=Path, help="also append the figures to this file, one JSON object per line")
    for name, large in LARGE.items():
        large.arguments(commands.add_parser(name, description=large.__doc__))
    options = parser.parse_args()
    if options.name in SMALL:
        return _small(options)
    status: int = LARGE[options.name].main(options)
    return status


def _small(options: argparse.Namespace) -> int:
    report = SMALL[options.name].run(options.sample)
    print(report.table())
    if options.out:
        with options.out.open("a", encoding="utf-8") as file:
            file.write(report.lines())
    return 0


if __name__ == "__main__":
    sys.exit(main())
