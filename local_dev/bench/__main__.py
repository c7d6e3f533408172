"""`python -m local_dev.bench`: the project against what it has to beat, in one table."""

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from . import (
    crowd,
    distance,
    growth,
    launching,
    memory,
    results,
    starting,
    takeover,
    wire,
    working,
)
from .figures import Figure, Table
from .plots import plot
from .stage import Stage, stage

Group = Callable[[Stage], Iterator[Figure]]

GROUPS: dict[str, Group] = {
    "launching": launching.measure,
    "wire": wire.measure,
    "distance": distance.measure,
    "results": results.measure,
    "starting": starting.measure,
    "working": working.measure,
    "takeover": takeover.measure,
    "growth": growth.measure,
    "memory": memory.measure,
    "crowd": crowd.measure,
}


def main() -> None:
    """Measure what the command line says, print the table, write the files."""
    options = parse_options()
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda number, _: sys.exit(128 + number))  # All blocks are left.
    table = Table()
    try:
        with tempfile.TemporaryDirectory() as data, stage(Path(data), quick=options.quick) as on:
            for name in options.only or GROUPS:
                figures = measured(name, on)
                table.figures += figures
                if options.plots:
                    options.plots.mkdir(parents=True, exist_ok=True)
                    plot(figures, options.plots / f"{name}.png")
    finally:
        sys.stdout.write(f"{table}\n")
        if options.json:
            rows = [each.as_json() for each in table.figures]
            options.json.write_text(json.dumps(rows, indent=1))


def measured(name: str, on: Stage) -> list[Figure]:
    """The figures of a group, which are told as they come."""
    figures = []
    for figure in GROUPS[name](on):
        figures.append(figure)
        sys.stderr.write(f"{figure.group} {figure}\n")
    return figures


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m local_dev.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="rougher figures, in two minutes")
    parser.add_argument("--only", action="append", choices=GROUPS, help="only this group (repeat)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every round to FILE, too")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="draw each group in DIR, too")
    return parser.parse_args()


if __name__ == "__main__":
    main()
