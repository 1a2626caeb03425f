"""Measures what making a bundle costs and compares it with what it has to be; prints a table.

usage: python -m benchmarks.bundle [--runs N] [MEASURE ...]

See README.rst beside it. It needs no host, but an index. The exit status is 1 when a goal is missed.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from .figures import Figure, seconds, table
from .office import Office, timed

#: Requirements by about how many distributions they come to, and the seconds of CPU that they may cost.
SIZES = {"40": ("small.in", 0.15), "150": ("large.in", 0.40)}


def nothing_changed(offices: Offices, runs: int) -> Iterator[Figure]:
    """Nothing changed: CPU of ``build_bundle``, its imports and its commands included."""
    for size, (_, goal) in SIZES.items():
        office = offices.open(size)
        office.bundle()
        times = [office.bundle() for _ in range(runs)]
        cpu = [time.cpu for time in times]
        measured = f"{seconds(cpu)}, {times[0].distributions} distributions, {runs} runs"
        yield Figure(f"nothing changed, CPU, about {size}", measured, min(cpu), "s", goal)


def changed_line(offices: Offices, runs: int) -> Iterator[Figure]:
    """One changed line, beyond what nothing costs, against uv's build of the same tree."""
    office = offices.open("40")
    office.bundle()
    ours, nothing, uv = [], [], []
    for _ in range(runs):
        office.change()
        ours.append(office.bundle().wall)
        nothing.append(office.bundle().wall)
        uv.append(timed(office.build_with_uv))
    beyond = min(ours) - min(nothing)
    measured = f"{seconds(ours)} - {seconds(nothing)} against {seconds(uv)}, {runs} runs"
    yield Figure("one changed line beyond nothing, against uv build", measured, beyond / min(uv), "x", 1.1)


def cold_hashes(offices: Offices, runs: int) -> Iterator[Figure]:
    """Hashes of all files of all pins, with empty caches, against uv."""
    office = offices.open("150")
    ours, uv = [], []
    for _ in range(runs):
        ours.append(office.lock())
        uv.append(timed(office.compile_with_uv))
    measured = f"{seconds(ours)} against {seconds(uv)}, {len(office.pins())} pins, {runs} runs"
    yield Figure("cold hashes, against uv pip compile", measured, min(ours) / min(uv), "x", 2.0)


MEASURES: dict[str, Callable[[Offices, int], Iterator[Figure]]] = {
    "nothing": nothing_changed,
    "changed": changed_line,
    "hashes": cold_hashes,
}


class Offices:
    """Environments by size, made when they are asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: dict[str, Office] = {}

    def open(self, size: str) -> Office:
        if size not in self._open:
            print(f"Installing about {size} distributions ...", file=sys.stderr, flush=True)
            self._open[size] = Office(self._folder / size, SIZES[size][0])
        return self._open[size]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bundle", description="What a bundle costs.")
    parser.add_argument(
        "measures", nargs="*", metavar="MEASURE", help=f"of {', '.join(MEASURES)}; default: all"
    )
    parser.add_argument("--runs", type=int, default=7, help="of each measure, interleaved (default: 7)")
    arguments = parser.parse_args()
    if unknown := set(arguments.measures) - set(MEASURES):
        parser.error(f"there is no measure {', '.join(sorted(unknown))}; there are {', '.join(MEASURES)}")
    figures = measure(arguments.measures or [*MEASURES], arguments.runs)
    print(table(figures))
    return 1 if any(figure.is_missed for figure in figures) else 0


def measure(names: Sequence[str], runs: int) -> list[Figure]:
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="django-deploy-benchmark-") as folder:
        offices = Offices(Path(folder))
        for name in names:
            print(f"Measuring {name}; load {os.getloadavg()[0]:.1f} ...", file=sys.stderr, flush=True)
            figures += MEASURES[name](offices, runs)
    return figures


if __name__ == "__main__":
    sys.exit(main())
