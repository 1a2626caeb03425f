"""What visitors notice of 50 deployments in a row, and what grows meanwhile.

Two real hosts behind a third one, whose nginx shares out the requests and hides no failure of theirs
(``tests/hosts/balancer.py``). From the root of a checkout, as root on Linux::

    python -m benchmarks.load                     # 50 deployments, 32 connections
    python -m benchmarks.load --deployments 12    # a look at it
    python -m benchmarks.load --batch 1           # one host starts its new processes at a time

Visitors, balancer, hosts and deployer share the machine's cores.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles

from benchmarks.figures import Figure, table
from tests.hosts import base, deployer
from tests.hosts.balancer import balance
from tests.hosts.bookshop import Bookshop
from tests.hosts.index import Index
from tests.hosts.inspection import assert_serves
from tests.hosts.laptop import Laptop
from tests.hosts.machines import Machine, boot
from tests.hosts.network import Network
from tests.hosts.stock import grown, take_stock
from tests.hosts.visitor import Answer, Visitor

#: Of the deployments, so many are made before it is looked at what grows.
WARM = 10

#: Seconds in which the site is asked while nobody deploys, before and after.
QUIET = 30.0

WEB = "gunicorn bookshop.wsgi --bind unix:{socket} --workers 2 --threads 8 --no-control-socket"


@dataclass
class Course:
    """The hosts, and what was seen."""

    bookshop: Bookshop
    hosts: list[Machine]
    balancer: Machine
    connections: int
    quiet: list[Answer] = field(default_factory=list)
    busy: list[Answer] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    @contextmanager
    def visitors(self, answers: list[Answer]) -> Iterator[Visitor]:
        url = f"http://{self.balancer.address}/"
        with Visitor(
            url, connections=self.connections, mark="edition [0-9]+", max_requests=5_000_000, max_seconds=7200
        ) as visitor:
            yield visitor
        answers += visitor.answers

    def stay_quiet(self) -> None:
        with self.visitors(self.quiet):
            time.sleep(QUIET)

    def deploy(self, count: int) -> str:
        """So many deployments under load; the last release."""
        with self.visitors(self.busy) as visitor:
            for _ in range(count):
                mark = self.bookshop.new_edition()
                started = time.monotonic()
                release = self.bookshop.deployed()
                self.seconds.append(time.monotonic() - started)
                visitor.stay(200)
                print(f"{len(self.seconds)}: {mark}, {self.seconds[-1]:.1f} s", file=sys.stderr, flush=True)
        for host in self.hosts:
            assert_serves(host, release, mark)
        return release


@contextmanager
def open_course(connections: int, batch: int) -> Iterator[Course]:
    with ExitStack() as stack:
        disk = base.build()
        network = stack.enter_context(Network())
        index = stack.enter_context(Index(network.gateway))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="django-deploy-benchmark-")))
        laptop = Laptop(folder / "home")
        bookshop = Bookshop(folder, laptop, index)
        machines = [Machine(disk, network, laptop) for _ in range(3)]
        for machine in machines:
            stack.callback(machine.destroy)
        boot(machines)
        *hosts, balancer = machines
        bookshop.aim(hosts, STEPS=["collectstatic", {"COMMAND": "migrate", "ON": "each"}, "compress --force"])
        bookshop.target["PROCESSES"]["web"] = WEB
        bookshop.target["BATCH"] = batch
        bookshop.deployed()
        balance(balancer, hosts)
        yield Course(bookshop, hosts, balancer, connections)


def measure(deployments: int, connections: int, batch: int) -> list[Figure]:
    with open_course(connections, batch) as course:
        course.stay_quiet()
        course.deploy(min(WARM, deployments - 1))
        before = [take_stock(host) for host in course.hosts]
        course.deploy(deployments - len(course.seconds))
        after = [take_stock(host) for host in course.hosts]
        course.stay_quiet()
    for host, old, new in zip(course.hosts, before, after, strict=True):
        print(f"\n{host.name}, after deployment {min(WARM, deployments - 1)} and {deployments}:")
        for name, count in new.items():
            print(f"  {name:60} {old.get(name, 0):>9} {count:>9}")
    return figures(course, [grown(old, new) for old, new in zip(before, after, strict=True)])


def figures(course: Course, growth: list[dict[str, tuple[int, int]]]) -> list[Figure]:
    lost = [answer for answer in course.busy if answer.lost]
    for answer in lost[:20]:
        print(f"lost: {answer}", file=sys.stderr)
    asked = f"{len(course.busy)} requests, {len(course.seconds)} deployments"
    slowest = max(answer.seconds for answer in course.busy)
    ours, theirs = p99(course.busy), p99(course.quiet)
    at_rest = max(answer.seconds for answer in course.quiet)
    what_grows = ", ".join(sorted({name for found in growth for name in found})) or "nothing"
    return [
        Figure("failed requests", asked, len(lost), "", 0),
        Figure("slowest request", f"{at_rest:.2f} s without deployments", slowest, "s", 1),
        Figure("p99", f"{ours * 1000:.0f} ms against {theirs * 1000:.0f} ms without", ours / theirs, "x", 2),
        Figure("median", "of a request under deployments", median(course.busy) * 1000, "ms"),
        Figure("median", "without", median(course.quiet) * 1000, "ms"),
        Figure("a deployment", "median, under load", sorted(course.seconds)[len(course.seconds) // 2], "s"),
        Figure("what grows", what_grows, sum(map(len, growth)), "", 0),
    ]


def p99(answers: list[Answer]) -> float:
    return quantiles((answer.seconds for answer in answers), n=100)[98]


def median(answers: list[Answer]) -> float:
    return quantiles((answer.seconds for answer in answers), n=2)[0]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description="Deployments under load.")
    parser.add_argument("--deployments", type=int, default=50, help="how many in a row (default: 50)")
    parser.add_argument("--connections", type=int, default=32, help="of visitors (default: 32)")
    parser.add_argument("--batch", type=int, default=2, help="hosts that switch at once (default: 2)")
    arguments = parser.parse_args()
    if problems := base.missing():
        print("Nothing can be measured here.", *problems, sep="\n", file=sys.stderr)
        return 2
    deployer.LONGEST = 600.0  # this is no test, and the machine is busy
    load = os.getloadavg()[0]
    found = measure(arguments.deployments, arguments.connections, arguments.batch)
    print(f"\n{os.cpu_count()} cores; load {load:.1f} before.\n{table(found)}")
    return 1 if any(figure.is_missed for figure in found) else 0


if __name__ == "__main__":
    sys.exit(main())
