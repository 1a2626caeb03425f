"""Real Debian hosts on one Linux machine, for tests and for looking around by hand.

A host is a ``systemd-nspawn`` container on an overlay of the cached base (base.py), with a network
namespace of its own on a bridge (network.py). It has systemd, sshd and nginx, a user ``deploy`` with
lingering, and ``python3`` without pip and venv extras. It reaches nothing but the bridge, where the
package index (index.py) answers.

To boot one by hand, as root::

    python -m tests.hosts.machines boot [--count 2] [--root /srv/site]

This prints the address, the ssh command, the environment for a deployer and the URL of the index, and stays
until Ctrl-C. Then, from another terminal, with the HOME and PATH that were printed::

    ssh 10.77.0.11                       # as deploy; root@10.77.0.11 works as well
    python manage.py deploy staging      # with HOSTS ["deploy@10.77.0.11"], ROOT "/srv/site"
    curl -i http://10.77.0.11/           # nginx → unix:/srv/site/run/web.sock; 502 before a site is there

All that it made goes away with it; what a killed run leaves behind is removed when the next one starts.
"""

from __future__ import annotations

import argparse
import re
import secrets
import shlex
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from . import base, control_groups
from .base import RigError, remove
from .index import Index
from .laptop import Laptop
from .network import Network, ip, is_init, unmount

if TYPE_CHECKING:
    from collections.abc import Sequence

NGINX = """\
upstream site {{
    server unix:{root}/run/web.sock fail_timeout=0;
}}
server {{
    listen 80 default_server;
    client_max_body_size 50m;
    location / {{
        proxy_pass http://site;
        proxy_set_header Host $http_host;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_set_header X-Forwarded-Proto $scheme;
    }}
}}
"""

PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"

#: The number of the user and the group ``deploy``.
DEPLOY = 1000

#: What the journal says of every login.
LOGIN = re.compile(r" sshd\[| systemd-logind\[| session-\d+\.scope")


class Machine:
    """One host. Off when it is made: ``boot()`` starts it.

    With ``room``, say ``"400m"``, its ROOT is a disk of its own of that size, which survives a crash.
    """

    #: Whose login says that it is up.
    person = "deploy"

    def __init__(
        self, disk: Path, network: Network, laptop: Laptop, *, root: str = "/srv/site", room: str = ""
    ) -> None:
        self.base = disk
        self.network = network
        self.laptop = laptop
        self.root = root
        self.room = room
        self.slot = network.claim()
        self.folder = self.slot.furnish()
        self.disk = self.folder / "root"
        self.process: subprocess.Popen[bytes] | None = None
        self._mount()

    @property
    def name(self) -> str:
        return self.slot.name

    @property
    def address(self) -> str:
        return self.slot.address

    @property
    def address6(self) -> str:
        return self.slot.address6

    # The disk

    def _mount(self) -> None:
        """A fresh disk over the base, with the host's own name, keys and web server."""
        for part in ("root", "upper", "work"):
            (self.folder / part).mkdir()
        layers = f"lowerdir={self.base},upperdir={self.folder}/upper,workdir={self.folder}/work"
        subprocess.run(["mount", "-t", "overlay", self.name, "-o", layers, self.disk], check=True)
        self._name()
        self._make_keys()
        self.put("/etc/nginx/sites-enabled/site", NGINX.format(root=self.root), owner="root")
        self.chroot("install", "-d", "-o", "deploy", "-g", "deploy", self.root)
        if self.room:
            options = f"size={self.room},mode=755,uid={DEPLOY},gid={DEPLOY}"
            root = self.disk / self.root.lstrip("/")
            subprocess.run(["mount", "-t", "tmpfs", self.name, "-o", options, root], check=True)

    def _name(self) -> None:
        self.put("/etc/hostname", f"{self.name}\n", owner="root")
        self.put("/etc/hosts", f"127.0.0.1 localhost {self.name}\n::1 localhost\n", owner="root")
        # An empty machine id would make systemd take this for a first boot and preset all units.
        self.put("/etc/machine-id", f"{secrets.token_hex(16)}\n", owner="root")

    def _make_keys(self) -> None:
        for kind in ("ed25519", "ecdsa"):
            self.chroot("ssh-keygen", "-q", "-t", kind, "-N", "", "-f", f"/etc/ssh/ssh_host_{kind}_key")
        for address in (self.address, self.address6):
            self.laptop.trust(address, self.host_keys)
        for user, home in (("root", "/root"), ("deploy", "/home/deploy")):
            self.chroot("install", "-d", "-m", "700", "-o", user, "-g", user, f"{home}/.ssh")
            self.put(f"{home}/.ssh/authorized_keys", self.laptop.public_key, owner=user)

    @property
    def host_keys(self) -> list[str]:
        """The public halves, as in ``known_hosts``: kind and key."""
        return [path.read_text() for path in sorted(self.disk.glob("etc/ssh/ssh_host_*_key.pub"))]

    def chroot(self, *argv: str, input: str | None = None) -> str:
        """Run a command on the disk, on or off, and return its output.

        /run and /tmp are not on the disk: they are the host's memory and seen with ``run()`` only.
        """
        done = subprocess.run(["chroot", self.disk, *argv], input=input, capture_output=True, text=True)
        if done.returncode != 0:
            raise RigError(f"{self.name}: {shlex.join(argv)}: {done.stderr.strip()}")
        return done.stdout

    def put(self, path: str, text: str, *, owner: str = "deploy", mode: str = "644") -> None:
        """Write a file on the disk; folders above it must be there."""
        self.chroot("tee", path, input=text)
        self.chroot("chown", f"{owner}:{owner}", path)
        self.chroot("chmod", mode, path)

    def read(self, path: str) -> str:
        """A file of the disk; also when the host is off or cut off."""
        return self.chroot("cat", path)

    def journal(self, *, lines: int = 60) -> str:
        """The last lines of the journal, logins apart, and of what nginx complained about; on or off."""
        if not self.disk.is_mount():
            return "The host is gone."
        journal = self.chroot("journalctl", "--no-pager", "--utc", "-n", str(20 * lines)).splitlines(True)
        journal = [line for line in journal if not LOGIN.search(line)]
        tail = ["tail", "-n", str(lines), "/var/log/nginx/error.log"]
        return "".join(journal[-lines:]) + self.chroot(*tail)

    # Power

    def boot(self) -> None:
        """Start it with the disk that it has; returns when ssh answers."""
        self.start()
        self.wait_for_ssh()

    def start(self) -> None:
        """Start it and do not wait."""
        command = ["systemd-nspawn", "--quiet", "--boot", f"--directory={self.disk}"]
        command += [f"--machine={self.name}", f"--network-namespace-path=/run/netns/{self.name}"]
        command += ["--register=no", "--keep-unit", "--resolv-conf=off", "--link-journal=no"]
        groups = [shlex.quote(str(group / "cgroup.procs")) for group in control_groups.make(self.name)]
        join = [f"echo $$ >{group}" for group in groups]
        shell = ["sh", "-ec", "; ".join([*join, f"exec {shlex.join(command)}"])]
        with (self.folder / "console.log").open("wb") as log:
            # A session of its own: Ctrl-C at the terminal is for the tests, which then clean up.
            self.process = subprocess.Popen(
                shell, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def wait_for_ssh(self, *, timeout: float = 60) -> None:
        """Until a person can log in: sshd listens early, PAM lets users in when the boot is done."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline and self.process and self.process.poll() is None:
            if self._port_answers() and self.run("true", user=self.person, check=False).returncode == 0:
                return
            time.sleep(0.05)
        console = (self.folder / "console.log").read_text(errors="replace")
        raise RigError(f"{self.name} does not answer ssh. Its console:\n{console[-4000:]}")

    def _port_answers(self) -> bool:
        try:
            with socket.create_connection((self.address, 22), timeout=1) as connection:
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False

    def crash(self) -> None:
        """Kill every process at once, as a power cut would; the disk stays as it is."""
        self.slot.kill()
        self._reap()

    def reset(self) -> None:
        """Turn it off and drop its disk; ``boot()`` then starts a new host with new keys."""
        self.crash()
        if self.room:
            unmount(self.disk / self.root.lstrip("/"))
        unmount(self.disk)
        for part in ("root", "upper", "work"):
            remove(self.folder / part)
        self.restore()
        self._mount()

    def destroy(self) -> None:
        """Remove it with everything that belongs to it; safe to repeat."""
        if self.slot in self.network.slots:
            self.network.release(self.slot)
            for address in (self.address, self.address6):
                self.laptop.forget(address)
            self._reap()

    def _reap(self) -> None:
        if self.process:
            self.process.wait(10)

    # The link

    def cut(self) -> None:
        """Pull its cable: packets vanish, nobody is told."""
        ip("link", "set", self.name, "down")

    def restore(self) -> None:
        """Plug the cable in again."""
        ip("link", "set", self.name, "up")

    def isolate(self) -> None:
        """From now on it answers ssh and http, and reaches nobody; for the rest of its life."""
        rules = [["ipproto", "tcp", "sport", port, "lookup", "main"] for port in ("22", "80")]
        for preference, rule in enumerate([*rules, ["unreachable"]], 100):
            ip("-n", self.name, "rule", "add", "preference", str(preference), *rule)

    # Inside

    def command(self, *argv: str, user: str = "deploy") -> list[str]:
        """The command of this machine that runs ``argv`` there."""
        return ["ssh", "-F", str(self.laptop.config), f"{user}@{self.address}", shlex.join(argv)]

    def run(
        self,
        *argv: str,
        user: str = "deploy",
        check: bool = True,
        input: str | None = None,
        timeout: float = 180,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command over ssh as ``user``; with ``check``, a failure raises with all output."""
        command = self.command(*argv, user=user)
        done = subprocess.run(command, input=input or "", capture_output=True, text=True, timeout=timeout)
        if check and done.returncode != 0:
            raise RigError(
                f"{self.name}: {shlex.join(argv)} exited with {done.returncode}:\n{done.stdout}{done.stderr}"
            )
        return done

    @property
    def init(self) -> int:
        """The running host's first process, as this machine numbers it."""
        return next(pid for pid in self.slot.pids() if is_init(pid))

    @property
    def inner(self) -> Path:
        """The files of the running host as it sees them itself, /run and /tmp among them."""
        return Path(f"/proc/{self.init}/root")

    def enter(self, *argv: str, user: str = "deploy", input: str = "", check: bool = True) -> str:
        """Run a command in the running host without asking its sshd, and return its output."""
        number = {"deploy": str(DEPLOY), "root": "0"}[user]
        command = ["nsenter", f"--target={self.init}", "--all", f"--setuid={number}", f"--setgid={number}"]
        command += ["env", "-i", f"HOME={'/root' if user == 'root' else f'/home/{user}'}", f"PATH={PATH}"]
        done = subprocess.run([*command, *argv], input=input, capture_output=True, text=True, timeout=60)
        if check and done.returncode != 0:
            raise RigError(f"{self.name}: {shlex.join(argv)}: {done.stdout}{done.stderr}")
        return done.stdout

    def push(self, source: Path, path: str) -> None:
        """Copy a file of this machine's to the host, over ssh, with its mode."""
        scp = ["scp", "-q", "-p", "-F", str(self.laptop.config), str(source), f"deploy@{self.address}:{path}"]
        subprocess.run(scp, check=True, capture_output=True)

    def systemctl(self, *argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """``systemctl --user`` of the user ``deploy``."""
        return self.run("systemctl", "--user", *argv, check=check)


def boot(machines: Sequence[Machine]) -> None:
    """Start all of them, then wait for all of them."""
    for machine in machines:
        machine.start()
    for machine in machines:
        machine.wait_for_ssh()


def boot_by_hand(arguments: argparse.Namespace) -> None:
    """Boot hosts, say how to reach them, wait for Ctrl-C, clean up."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    with ExitStack() as stack:
        disk = base.build()
        network = stack.enter_context(Network())
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="django-deploy-home-")))
        laptop = Laptop(home)
        index = stack.enter_context(Index(network.gateway))
        machines = [Machine(disk, network, laptop, root=arguments.root) for _ in range(arguments.count)]
        boot(machines)
        print(report(machines, laptop, index), flush=True)
        signal.pause()


def report(machines: Sequence[Machine], laptop: Laptop, index: Index) -> str:
    """What one needs to know to use the hosts, as lines that a shell can read where it matters."""
    lines = [f"{machine.name}: deploy@{machine.address}, http://{machine.address}/" for machine in machines]
    return "\n".join(
        [
            *lines,
            f"root:    {machines[0].root}",
            f"index:   {index.url}",
            f"key:     {laptop.key}",
            f"config:  {laptop.config}",
            f"export HOME={laptop.home} PATH={laptop.home}/bin:$PATH",
            "Ctrl-C removes all of it.",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.hosts.machines", description="Real Debian hosts.")
    commands = parser.add_subparsers(dest="command", required=True)
    by_hand = commands.add_parser("boot", help="boot hosts and stay until Ctrl-C")
    by_hand.add_argument("--count", type=int, default=1, help="how many (default: 1)")
    by_hand.add_argument("--root", default="/srv/site", help="ROOT of the site (default: /srv/site)")
    arguments = parser.parse_args()
    if problems := base.missing():
        parser.exit(1, "\n".join(problems) + "\n")
    with suppress(KeyboardInterrupt):
        boot_by_hand(arguments)


if __name__ == "__main__":
    main()
