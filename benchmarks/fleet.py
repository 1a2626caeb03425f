"""A redeploy of a changed file of 200 kB to many hosts, against ``ssh host true`` on as many.

From the root of a checkout, as root on Linux::

    python -m benchmarks.fleet                  # 1, 4, 16, 64 and 100 hosts
    python -m benchmarks.fleet --hosts 1 16     # fewer

What is simulated: a host is an OpenSSH server of its own on a port of this machine, in namespaces of its own
for processes and mounts where ROOT is a folder of its own, with uv and a release that is live. Host program,
uv, virtualenv, Django's preflight and the steps are real, once a host. There are no long-running processes,
and so no health check: one hundred gunicorns would not fit. The network is the loopback.

All of them share this machine's cores with the deployer, which a hundred real hosts do not. So the processor
time that the hosts use is measured apart, by their servers' own accounts: ``alone`` is the wall time less
that time shared out to the cores, which is what the deployer and the waiting for it come to.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import uv

from benchmarks.figures import Figure, table
from benchmarks.redeploy import high_water
from benchmarks.stage import Workshop, run
from django_deploy.transport.ssh import MAX_CONNECTIONS
from tests.hosts import base
from tests.hosts.index import Index
from tests.hosts.network import Network

SIZES = (1, 4, 16, 64, 100)
CHANGE = 200_000
FIRST_PORT = 21_000

#: The same for all hosts; each sees a folder of its own there.
ROOT = Path("/srv/django-deploy-fleet")

SSHD = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
UsePAM no
StrictModes no
PermitRootLogin prohibit-password
MaxStartups 200
SetEnv HOME={home} PATH={path}
"""

#: Of a ROOT, what must not be shared by links: it is written in place, or locked.
OWN = (".deploy/lock", ".deploy/history.jsonl", ".deploy/cache/uv/.lock")


@dataclass(frozen=True)
class Measured:
    """One deployment: seconds of wall time and processor, bytes of memory."""

    wall: float
    deployer: float
    memory: int
    hosts: float
    phases: dict[str, float]


class Herd:
    """Servers on ports of this machine, started as they are needed."""

    def __init__(self, folder: Path, workshop: Workshop) -> None:
        self.folder = folder
        self.workshop = workshop
        self.servers: list[subprocess.Popen[bytes]] = []
        # What root's own shell does when it starts is not what is measured.
        self.empty_home = folder / "home-of-hosts"
        self.empty_home.mkdir()
        ROOT.mkdir()
        Path("/run/sshd").mkdir(exist_ok=True)
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "host_key"])
        (folder / "authorized_keys").write_text(workshop.laptop.public_key)

    def name(self, number: int) -> str:
        return f"root@127.0.0.1:{FIRST_PORT + number}"

    def place(self, number: int) -> Path:
        return self.folder / f"root-{number}"

    def start(self, number: int) -> None:
        port = FIRST_PORT + number
        config = self.folder / f"sshd-{number}"
        path = f"{Path(uv.find_uv_bin()).parent}:/usr/local/bin:/usr/bin:/bin"
        config.write_text(SSHD.format(port=port, folder=self.folder, path=path, home=self.empty_home))
        self.workshop.laptop.trust("127.0.0.1", [(self.folder / "host_key.pub").read_text()], port=port)
        script = f"mount --bind {self.place(number)} {ROOT} && exec /usr/sbin/sshd -D -e -f {config}"
        spaces = ["--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
        with (self.folder / f"log-{number}").open("wb") as log:
            # A hundred real hosts take no processor from the deployer.
            command = ["chrt", "--idle", "0", "unshare", *spaces, "sh", "-c", script]
            self.servers.append(subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL))

    def multiply(self, count: int) -> None:
        """Hosts like the first one, so many in all; what releases share may be shared by hosts, too."""
        for number in range(len(self.servers), count):
            run(["cp", "-al", self.place(0), self.place(number)])
            for name in OWN:
                copy = self.place(number) / name
                copy.unlink()
                shutil.copy2(self.place(0) / name, copy)
            self.start(number)
        for number in range(count):
            log = self.folder / f"log-{number}"
            deadline = time.monotonic() + 60
            while b"Server listening" not in log.read_bytes():
                if time.monotonic() > deadline:
                    raise RuntimeError(log.read_text())
                time.sleep(0.05)

    def processor(self, count: int) -> float:
        """Seconds that the first hosts have used, by the accounts of each one's first process."""
        return sum(_seconds(_children(server.pid)[0]) for server in self.servers[:count])

    def close(self) -> None:
        for server in self.servers:
            server.kill()
            server.wait()
        ROOT.rmdir()


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _seconds(pid: int) -> float:
    """Of a process and of its children that have ended, and theirs."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


class Fleet:
    """The herd as a target of the workshop's."""

    def __init__(self, herd: Herd, index: Index) -> None:
        self.herd = herd
        self.index = index

    def environment(self, count: int) -> dict[str, str]:
        target = {
            "HOSTS": [self.herd.name(number) for number in range(count)],
            "ROOT": str(ROOT),
            "INDEX_URL": self.index.url,
            "ENV": {"BOOKSHOP_SECRET_KEY": "benchmark" * 6, "BOOKSHOP_ALLOWED_HOSTS": "*"},
            "STEPS": ["collectstatic", {"COMMAND": "migrate", "ON": "each"}],
            "HEALTH_CHECK": None,
            "KEEP_RELEASES": 2,
        }
        return {**self.herd.workshop.environment, "BENCHMARK_TARGET": json.dumps(target)}

    def change(self) -> None:
        path = self.herd.workshop.project / "catalogue/templates/catalogue/ballast.bin"
        path.write_bytes(os.urandom(CHANGE))

    def deploy(self, count: int, *words: str) -> Measured:
        """One deployment, measured; then the hosts are waited for."""
        workshop, before = self.herd.workshop, self.herd.processor(count)
        argv = [workshop.python, "manage.py", "deploy", "staging", "--yes", "--json", *words]
        started, peak = time.monotonic(), 0
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            process = subprocess.Popen(
                argv, cwd=workshop.project, env=self.environment(count), stdout=out, stderr=err
            )
            while not (ended := os.wait4(process.pid, os.WNOHANG))[0]:
                peak = max(peak, high_water(process.pid))
                time.sleep(0.02)
            process.returncode = os.waitstatus_to_exitcode(ended[1])
            wall = time.monotonic() - started
            out.seek(0)
            err.seek(0)
            if process.returncode:
                raise RuntimeError(err.read().decode()[-4000:])
            events = [json.loads(line) for line in out]
        used = ended[2].ru_utime + ended[2].ru_stime
        phases = events[-1].get("phases", {})
        self.settle(count)
        return Measured(wall, used, peak, self.herd.processor(count) - before, phases)

    def settle(self, count: int) -> None:
        """Until no host program is at work: it drains and prunes after its deployer has gone."""
        for server in self.herd.servers[:count]:
            while _children(_children(server.pid)[0]):
                time.sleep(0.05)

    def log_in(self, count: int) -> float:
        """Seconds of ``ssh host true`` on as many hosts, as many at once as a deployment has."""
        ssh = ["ssh", "-F", str(self.herd.workshop.laptop.config), "-p"]

        def true(number: int) -> None:
            run([*ssh, FIRST_PORT + number, "root@127.0.0.1", "true"])

        started = time.monotonic()
        with ThreadPoolExecutor(MAX_CONNECTIONS) as pool:
            list(pool.map(true, range(count)))
        return time.monotonic() - started


@contextmanager
def open_fleet() -> Iterator[Fleet]:
    with ExitStack() as stack:
        network = stack.enter_context(Network())
        index = stack.enter_context(Index(network.gateway))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="django-deploy-benchmark-")))
        workshop = Workshop(folder, index)
        herd = Herd(folder, workshop)
        stack.callback(herd.close)
        herd.place(0).mkdir()
        herd.start(0)
        herd.multiply(1)
        fleet = Fleet(herd, index)
        for _ in range(2):
            fleet.change()
            fleet.deploy(1)
        yield fleet


def measure(sizes: Sequence[int], runs: int) -> list[Figure]:
    cores = os.cpu_count() or 1
    figures: list[Figure] = []
    with open_fleet() as fleet:
        one = 0.0
        for count in sorted({1, *sizes}):
            fleet.herd.multiply(count)
            logins, found, plans = [], [], []
            for _ in range(runs):
                logins.append(fleet.log_in(count))
                fleet.change()
                found.append(fleet.deploy(count))
                plans.append(fleet.deploy(count, "--plan"))
            best, plan, login = (
                min(found, key=lambda m: m.wall),
                min(plans, key=lambda m: m.wall),
                min(logins),
            )
            one = one or best.wall
            alone = best.wall - best.hosts / cores
            print(
                f"{count:4} hosts: {best.wall:.1f} s, deployer {best.deployer:.1f} s CPU"
                f" and {best.memory / 1e6:.0f} MB, hosts {best.hosts:.1f} s CPU, alone {alone:.1f} s;"
                f" --plan {plan.wall:.1f} s, deployer {plan.deployer:.1f} s CPU,"
                f" hosts {plan.hosts:.1f} s CPU; ssh true {login:.2f} s; phases {best.phases}",
                flush=True,
            )
            figures += [
                Figure(f"{count} hosts", "wall time, all on this machine", best.wall, "s"),
                Figure(f"{count} hosts", "alone: without the hosts' own work", alone, "s", 2 * login + one),
                Figure(f"{count} hosts", "processor of the deployer, a host", best.deployer / count, "s"),
                Figure(f"{count} hosts", "memory of the deployer, a host", best.memory / count / 1e6, "MB"),
                Figure(f"{count} hosts", "processor of a host", best.hosts / count, "s"),
                Figure(f"{count} hosts", "ssh host true", login, "s"),
            ]
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fleet", description="A redeploy to many hosts."
    )
    parser.add_argument("--hosts", type=int, nargs="+", default=SIZES, help="how many (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=3, help="of each, the fastest counts (default: 3)")
    arguments = parser.parse_args()
    if problems := base.missing():
        print("Nothing can be measured here.", *problems, sep="\n", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # all that was made goes away then, too
    print(f"{os.cpu_count()} cores; load {os.getloadavg()[0]:.1f} before.", flush=True)
    figures = measure(arguments.hosts, arguments.runs)
    print(table(figures))
    return 1 if any(figure.is_missed for figure in figures) else 0


if __name__ == "__main__":
    sys.exit(main())
