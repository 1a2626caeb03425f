"""Measures what a deployment costs and compares it with what it has to be; prints a table.

usage: python -m benchmarks.redeploy [--runs N] [MEASURE ...]

See README.rst beside it. The exit status is 1 when a goal is missed, 2 when nothing can be measured here.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from tests.hosts import base
from tests.hosts.visitor import Visitor

from .figures import Figure, compare, seconds, table
from .stage import FLOOR_PORT, HERE, Host, open_stage
from .wide_area import WideArea

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

MB = 1_000_000

#: Deployments while a visitor must not lose a request.
DEPLOYMENTS = 10

#: What must not be imported by a command that does not deploy.
HEAVY = ("paramiko", "packaging", "rich", "piptools")


def changed_line(host: Host, runs: int) -> Iterator[Figure]:
    """One changed line, from the start of the command until nginx serves it."""
    ours, floor, whole, floor_whole = [], [], [], []
    for _ in range(runs):
        with host.served(80, host.workshop.change()) as watch:
            whole.append(timed(host.deploy))
        ours.append(watch.seconds)
        host.settle()
        with host.served(FLOOR_PORT, host.workshop.change()) as watch:
            floor_whole.append(timed(host.floor))
        floor.append(watch.seconds)
    yield compare("one changed line until it is served, against the floor", ours, floor, goal=1.3)
    yield compare("the same until the command ends", whole, floor_whole)


def nothing_changed(host: Host, runs: int) -> Iterator[Figure]:
    """Nothing changed: what it takes beyond Django's own start."""
    host.deploy()
    host.settle()
    ours, django = [], []
    for _ in range(runs):
        django.append(timed(lambda: host.run(*host.manage("version"))))
        ours.append(timed(host.deploy))
    measured = f"{seconds(ours)}, of which Django's start {seconds(django)}, {runs} runs"
    extra = median(ours) - median(django)
    yield Figure("nothing changed, beyond Django's start", measured, extra, "s", 1.0)


def plan(host: Host, runs: int) -> Iterator[Figure]:
    """``deploy --plan`` of a changed line that it made ready before: what it takes beyond Django's start."""
    host.deploy()
    host.settle()
    host.workshop.change()
    foretell = host.manage("deploy", "staging", "--plan")
    host.run(*foretell)
    ours, django = [], []
    for _ in range(runs):
        django.append(timed(lambda: host.run(*host.manage("version"))))
        ours.append(timed(lambda: host.run(*foretell)))
    measured = f"{seconds(ours)}, of which Django's start {seconds(django)}, {runs} runs"
    extra = median(ours) - median(django)
    yield Figure("deploy --plan with nothing to build, beyond Django's start", measured, extra, "s", 2.0)


def round_trips(host: Host, runs: int) -> Iterator[Figure]:
    """Round trips, by the slope of the time between 100 and 200 ms each."""

    def nothing(at: str) -> float:
        return timed(lambda: host.deploy(at))

    def wheel(at: str) -> float:
        with host.workshop.ballast(200_000):
            time = timed(lambda: host.deploy(at))
        host.settle()
        return time

    with slow_ways(host, 0.1, 0.2) as ways:
        nothing(ways[0.1])
        yield slope("round trips, nothing changed", nothing, ways, runs, goal=8)
        yield slope("round trips, a changed wheel of 200 kB", wheel, ways, runs, goal=12)


def upload(host: Host, runs: int) -> Iterator[Figure]:
    """Files to the host, against ``ssh host 'cat > file'``; neither waits for the other's writing."""
    for size in (50 * MB, 300 * MB):
        file = host.workshop.folder / "upload.bin"
        file.write_bytes(os.urandom(size))
        ours, cat = [], []
        with master(host) as ssh:
            for _ in range(runs):
                os.sync()
                ours.append(send(host, file))
                os.sync()
                cat.append(pipe(file, ssh))
        file.unlink()
        yield compare(
            f"upload of {size // MB} MB, against ssh 'cat > file'", ours, cat, goal=0.9, typical=min
        )


def memory(host: Host, runs: int) -> Iterator[Figure]:
    """The deployer's peak memory with a bundle of 300 MB: to build, to hash and to send it."""
    with host.workshop.ballast(300 * MB):
        peak = peak_memory(host)
    host.settle()
    yield Figure("peak memory of the deployer, bundle of 300 MB", "1 run", peak / MB, "MB", 150)


def lost_requests(host: Host, runs: int) -> Iterator[Figure]:
    """A visitor on four connections, without pause, during ten deployments in a row."""
    with Visitor(f"http://{host.machine.address}/", mark=r"benchmark \d+") as visitor:
        visitor.stay()
        for _ in range(DEPLOYMENTS):
            host.workshop.change()
            host.deploy()
        visitor.stay()
    asked = f"{len(visitor.answers)} requests, {DEPLOYMENTS} deployments, slowest {visitor.slowest:.2f} s"
    yield Figure("lost requests", asked, len(visitor.lost), "", 0)


def imports(host: Host, runs: int) -> Iterator[Figure]:
    """Heavy packages that ``manage.py check`` imports although it deploys nothing."""
    trace = subprocess.run(
        [host.workshop.python, "-X", "importtime", "manage.py", "check"],
        cwd=host.workshop.project,
        env=host.environment(),
        check=True,
        capture_output=True,
        text=True,
    ).stderr
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in trace.splitlines()}
    found = sorted(imported.intersection(HEAVY))
    yield Figure("heavy imports of manage.py check", ", ".join(found) or "none", len(found), "", 0)


MEASURES: dict[str, Callable[[Host, int], Iterator[Figure]]] = {
    "changed": changed_line,
    "nothing": nothing_changed,
    "plan": plan,
    "roundtrips": round_trips,
    "upload": upload,
    "memory": memory,
    "lost": lost_requests,
    "imports": imports,
}


# How it is measured


def timed(work: Callable[[], object]) -> float:
    """The seconds that it takes."""
    started = time.monotonic()
    work()
    return time.monotonic() - started


@contextmanager
def slow_ways(host: Host, *round_trips: float) -> Iterator[dict[float, str]]:
    """``address:port`` by round trip, in seconds: the same machine behind a slower way."""
    with ExitStack() as stack:
        ways = {}
        for round_trip in round_trips:
            proxy = stack.enter_context(WideArea(host.machine.address, round_trip=round_trip))
            host.workshop.laptop.trust(proxy.address, host.machine.host_keys, port=proxy.port)
            ways[round_trip] = f"{proxy.address}:{proxy.port}"
        yield ways


def slope(
    what: str, run: Callable[[str], float], ways: Mapping[float, str], runs: int, *, goal: float
) -> Figure:
    """How many round trips pass from start to end.

    Of each way the fastest run counts: whatever disturbs a run makes it slower, never faster.
    """
    times: dict[float, list[float]] = {way: [] for way in ways}
    for _ in range(runs):
        for way, address in ways.items():
            times[way].append(run(address))
    near, far = ways
    trips = (min(times[far]) - min(times[near])) / (far - near)
    measured = ", ".join(f"{way * 1000:.0f} ms: {seconds(times[way])}" for way in ways)
    return Figure(what, f"{measured}, {runs} runs", trips, "", goal)


@contextmanager
def master(host: Host) -> Iterator[list[str]]:
    """The ssh command for a connection that is open already, so that no handshake is timed."""
    laptop, address = host.workshop.laptop, host.machine.address
    socket = laptop.home / "master"
    ssh = ["ssh", "-F", str(laptop.config), "-S", str(socket), address]
    subprocess.run([*ssh[:-1], "-M", "-N", "-f", address], check=True)
    yield ssh
    subprocess.run([*ssh[:-1], "-O", "exit", address], check=True, capture_output=True)


def send(host: Host, file: Path) -> float:
    """Seconds until the file is in the host's store; not longer there afterwards."""
    took = float(host.run(host.workshop.python, HERE / "send.py", host.target(), file))
    host.settle()
    host.machine.run("find", f"{host.machine.root}/.deploy/store", "-name", file.name, "-delete")
    return took


def pipe(file: Path, ssh: list[str]) -> float:
    """Seconds until ``cat`` has written the file; not longer there afterwards."""
    with file.open("rb") as content:
        took = timed(lambda: subprocess.run([*ssh, "cat > upload.bin"], stdin=content, check=True))
    subprocess.run([*ssh, "rm upload.bin"], check=True)
    return took


def peak_memory(host: Host) -> int:
    """Of the process itself and not of what it runs (a build back end): VmHWM, in bytes."""
    argv = host.manage("deploy", "staging", "--yes", "--json")
    peak = 0
    with subprocess.Popen(
        argv, cwd=host.workshop.project, env=host.environment(), stdout=subprocess.DEVNULL
    ) as deployer:
        while deployer.poll() is None:
            peak = max(peak, high_water(deployer.pid))
            time.sleep(0.02)
    if deployer.returncode:
        raise RuntimeError(f"The deployment with the large bundle exited with {deployer.returncode}.")
    return peak


def high_water(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"(?m)^VmHWM:\s+(\d+) kB$", status)
    return int(found[1]) * 1024 if found else 0


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.redeploy", description="What a deployment costs."
    )
    parser.add_argument(
        "measures", nargs="*", metavar="MEASURE", help=f"of {', '.join(MEASURES)}; default: all"
    )
    parser.add_argument("--runs", type=int, default=7, help="of each measure, interleaved (default: 7)")
    arguments = parser.parse_args()
    if unknown := set(arguments.measures) - set(MEASURES):
        parser.error(f"there is no measure {', '.join(sorted(unknown))}; there are {', '.join(MEASURES)}")
    if problems := base.missing():
        print("Nothing can be measured here.", *problems, sep="\n", file=sys.stderr)
        return 2
    figures = measure(arguments.measures or [*MEASURES], arguments.runs)
    print(table(figures))
    return 1 if any(figure.is_missed for figure in figures) else 0


def measure(names: Sequence[str], runs: int) -> list[Figure]:
    figures: list[Figure] = []
    print("Preparing a host and two sites on it ...", file=sys.stderr, flush=True)
    with open_stage() as host:
        for name in names:
            print(f"Measuring {name}; load {os.getloadavg()[0]:.1f} ...", file=sys.stderr, flush=True)
            figures += MEASURES[name](host, runs)
    return figures


if __name__ == "__main__":
    sys.exit(main())
