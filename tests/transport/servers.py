"""Real SSH servers on loopback, as the user who runs the tests: OpenSSH's sshd and asyncssh."""

from __future__ import annotations

import getpass
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from django_deploy.target import Host

SSHD = shutil.which("sshd") or shutil.which("/usr/sbin/sshd")
KINDS = ["openssh", "asyncssh"] if SSHD else ["asyncssh"]

#: What sshd wants to exist when root runs it (its chroot before login).
PRIVILEGE_SEPARATION = Path("/run/sshd")

START_TIMEOUT = 20


@dataclass(frozen=True)
class Server:
    """A running server. ``folder`` has its keys, ``home`` is the HOME of what it runs."""

    kind: str
    folder: Path
    home: Path
    port: int
    pid: int
    address: str = "127.0.0.1"
    user: str = getpass.getuser()

    def host_key(self, type: str) -> asyncssh.SSHKey:
        return asyncssh.read_public_key(self.folder / f"host_{type}.pub")

    def authorize(self, line: str) -> None:
        """Let one more key in, or with ``cert-authority`` before it, the certificates it signs."""
        with (self.folder / "authorized_keys").open("a") as file:
            file.write(line.strip() + "\n")


@dataclass(frozen=True)
class Client:
    """A user's home folder with a key that ``server`` takes and its host keys, and a configuration."""

    server: Server
    home: Path

    @property
    def host(self) -> Host:
        return Host(self.server.address, self.server.user, self.server.port)

    @property
    def address(self) -> str:
        return self.server.address

    @property
    def port(self) -> int:
        return self.server.port

    @property
    def user(self) -> str:
        return self.server.user

    @property
    def key(self) -> Path:
        return self.home / ".ssh/id_ed25519"

    @property
    def config(self) -> Path:
        return self.home / ".ssh/config"

    @property
    def known_hosts(self) -> Path:
        return self.home / ".ssh/known_hosts"

    def configure(self, *lines: str) -> None:
        """Write the configuration anew: ``lines`` win over what every test needs."""
        self.config.write_text("\n".join([*lines, *self._settings()]) + "\n")

    def know(self, *keys: asyncssh.SSHKey, name: str = "", marker: str = "") -> None:
        """Write known_hosts anew."""
        name = name or f"[{self.address}]:{self.port}"
        lines = [f"{marker} {name} {public_line(key)}".strip() for key in keys]
        self.known_hosts.write_text("".join(f"{line}\n" for line in lines))

    def _settings(self) -> list[str]:
        return [
            "Host *",
            f"  IdentityFile {self.key}",
            f"  UserKnownHostsFile {self.known_hosts}",
            "  GlobalKnownHostsFile none",
            "  ConnectTimeout 10",
        ]


def make_client(server: Server, home: Path) -> Client:
    """A home folder with mode 0700 for ``.ssh``, its key the one that ``server`` takes."""
    client = Client(server, home)
    client.config.parent.mkdir(mode=0o700, parents=True)
    for suffix in ("", ".pub"):
        shutil.copy(server.folder / f"user{suffix}", f"{client.key}{suffix}")
    client.know(server.host_key("ed25519"), server.host_key("rsa"))
    client.configure()
    return client


def make_key(path: Path, type: str = "ssh-ed25519", passphrase: str | None = None) -> asyncssh.SSHKey:
    """A new key pair in ``path`` and ``path.pub``."""
    options = {"key_size": 2048} if type == "ssh-rsa" else {}
    key = asyncssh.generate_private_key(type, comment=path.name, **options)
    key.write_private_key(path, passphrase=passphrase, rounds=1, ignore_few_rounds=True)
    key.write_public_key(f"{path}.pub")
    path.chmod(0o600)
    return key


def public_line(key: asyncssh.SSHKey) -> str:
    return key.export_public_key().decode().strip()


@contextmanager
def run_server(kind: str, folder: Path) -> Iterator[Server]:
    """A server of ``kind`` (see KINDS) until the block ends."""
    home = folder / "home"
    home.mkdir()
    make_key(folder / "host_ed25519")
    make_key(folder / "host_rsa", "ssh-rsa")
    (folder / "authorized_keys").write_text(public_line(make_key(folder / "user")) + "\n")
    start = start_openssh if kind == "openssh" else start_asyncssh
    with start(folder, home) as (port, pid):
        yield Server(kind, folder, home, port, pid)


@contextmanager
def start_openssh(folder: Path, home: Path, options: str = "") -> Iterator[tuple[int, int]]:
    assert SSHD is not None
    if os.getuid() == 0:
        PRIVILEGE_SEPARATION.mkdir(mode=0o755, exist_ok=True)
    port = _free_port()
    config = folder / "sshd_config"
    config.write_text(
        f"ListenAddress 127.0.0.1:{port}\n"
        f"HostKey {folder}/host_ed25519\n"
        f"HostKey {folder}/host_rsa\n"
        f"AuthorizedKeysFile {folder}/authorized_keys\n"
        f"SetEnv HOME={home}\n"
        "StrictModes no\n"
        "PidFile none\n"
        "UsePAM no\n"
        "PasswordAuthentication no\n"
        "KbdInteractiveAuthentication no\n"
        "PermitRootLogin prohibit-password\n" + options + _without_penalties()
    )
    log = folder / "log"
    with log.open("wb") as output:
        sshd = subprocess.Popen([SSHD, "-D", "-e", "-f", config], stdin=subprocess.DEVNULL, stderr=output)
    with _stopping(sshd):
        # Its log, not a connection, tells that it listens: sshd punishes those who only probe.
        _wait_for(lambda: b"Server listening" in log.read_bytes(), sshd, log)
        yield port, sshd.pid


@contextmanager
def start_asyncssh(folder: Path, home: Path) -> Iterator[tuple[int, int]]:
    log = folder / "log"
    script = Path(__file__).with_name("asyncssh_server.py")
    with log.open("wb") as output:
        server = subprocess.Popen(
            [sys.executable, "-W", "ignore", script, folder, home], stdout=output, stderr=subprocess.STDOUT
        )
    with _stopping(server):
        _wait_for(lambda: log.read_bytes().startswith(b"port "), server, log)
        yield int(log.read_text().split()[1]), server.pid


@contextmanager
def run_agent(folder: Path) -> Iterator[Path]:
    """A real ssh-agent without keys; gives its socket."""
    path = folder / "agent"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL)
    with _stopping(agent):
        _wait_for(lambda: _is_answering(path), agent, path)
        yield path


def add_to_agent(agent: Path, key: Path) -> None:
    subprocess.run(["ssh-add", "-q", key], env=os.environ | {"SSH_AUTH_SOCK": str(agent)}, check=True)


class Relay:
    """A TCP relay to a port on loopback, which can fall silent while its connections stay open.

    ``count`` is how many there were.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._open = threading.Event()
        self._open.set()
        self._sockets = ExitStack()
        self._ends: list[socket.socket] = []
        self._listener = self._sockets.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.port: int = self._listener.getsockname()[1]
        self.count = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def silence(self) -> None:
        self._open.clear()

    def close(self) -> None:
        self._open.set()
        for end in (self._listener, *self._ends):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)  # which wakes the threads
        self._sockets.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near = self._sockets.enter_context(self._listener.accept()[0])
                self.count += 1
                far = self._sockets.enter_context(socket.create_connection(("127.0.0.1", self._target)))
                self._ends += near, far
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._forward, args=(source, sink), daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                self._open.wait()
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)


def _without_penalties() -> str:
    """Since 9.8 sshd refuses an address whose logins fail for a while, which here is a test's purpose."""
    version = subprocess.run([str(SSHD), "-V"], capture_output=True, text=True).stderr
    found = re.search(r"OpenSSH_(\d+)\.(\d+)", version)
    is_new = found is not None and (int(found[1]), int(found[2])) >= (9, 8)
    return "PerSourcePenalties no\n" if is_new else ""


def _is_answering(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        return connection.connect_ex(str(path)) == 0


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def _stopping(process: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def _wait_for(is_ready, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_TIMEOUT
    while not is_ready():
        if process.poll() is not None or time.monotonic() > end:
            raise RuntimeError(f"{process.args} did not start: {log.read_text() if log.is_file() else ''}")
        time.sleep(0.01)
