"""Benchmarks: `python -m tests.bench NAME [--out FILE]`. Each prints one table and writes one JSON object per figure."""

from __future__ import annotations

import argparse
from pathlib import Path

from tests.bench import plumbing, startup

BENCHES = {"startup": startup.run, "plumbing": plumbing.run}


def main() -> None:
    """Run one benchmark."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("name", choices=sorted(BENCHES))
    parser.add_argument("--sample", type=int, default=0, help="number of measurements; 0: the benchmark's own")
    parser.add_argument("--out", type=Path, help="also append the figures to this file, one JSON object per line")
    options = parser.parse_args()
    report = BENCHES[options.name](options.sample)
    print(report.table())
    if options.out:
        with options.out.open("a", encoding="utf-8") as file:
            file.write(report.lines())


main()
