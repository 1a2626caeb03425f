"""The home folder of the developer who deploys: an ssh key, the known hosts, the configuration."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

CONFIG = """\
Host 10.77.0.* fd00:77::* 127.0.0.1 localhost
    User deploy
    IdentityFile {home}/.ssh/id_ed25519
    IdentitiesOnly yes
    IdentityAgent none
    UserKnownHostsFile {home}/.ssh/known_hosts
    GlobalKnownHostsFile /dev/null
    UpdateHostKeys no
    StrictHostKeyChecking yes
    BatchMode yes
    ConnectTimeout 10
"""

# OpenSSH takes the home folder from the user database and not from HOME.
SSH = """\
#!/bin/sh
exec {ssh} -F {home}/.ssh/config "$@"
"""

#: What a deployer must not get from the tester.
REPLACED = {"HOME", "PATH", "SSH_AUTH_SOCK", "DJANGO_SETTINGS_MODULE", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"}


class Laptop:
    """A folder that serves as HOME, from which ``ssh`` and the deployer reach hosts without prompts."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.key = home / ".ssh/id_ed25519"
        self.config = home / ".ssh/config"
        self.known_hosts = home / ".ssh/known_hosts"
        self.config.parent.mkdir(parents=True, mode=0o700)
        self.config.write_text(CONFIG.format(home=home))
        self.known_hosts.touch()
        self._make_key()
        self._make_ssh()

    def _make_key(self) -> None:
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "django-deploy tests"]
        subprocess.run([*command, "-f", self.key], check=True)

    def _make_ssh(self) -> None:
        ssh = self.home / "bin/ssh"
        ssh.parent.mkdir()
        ssh.write_text(SSH.format(ssh=shutil.which("ssh"), home=shlex.quote(str(self.home))))
        ssh.chmod(0o755)

    @property
    def public_key(self) -> str:
        return self.key.with_suffix(".pub").read_text()

    @property
    def environment(self) -> dict[str, str]:
        """For a deployer's process: this home, this ``ssh``, no agent and no settings of the tester's."""
        kept = {name: value for name, value in os.environ.items() if name not in REPLACED}
        path = os.pathsep.join([str(self.home / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
        return {**kept, "HOME": str(self.home), "PATH": path}

    def trust(self, address: str, keys: Sequence[str], *, port: int = 22) -> None:
        """Know a host by these public keys, and by no others, at this address."""
        self.forget(address, port=port)
        name = host_name(address, port)
        with self.known_hosts.open("a") as file:
            file.writelines(f"{name} {' '.join(key.split()[:2])}\n" for key in keys)

    def forget(self, address: str, *, port: int = 22) -> None:
        """Know no keys at this address."""
        name = host_name(address, port)
        lines = self.known_hosts.read_text().splitlines(keepends=True)
        fresh = self.known_hosts.with_name("known_hosts.new")
        fresh.write_text("".join(line for line in lines if line.split()[0] != name))
        fresh.replace(self.known_hosts)  # in one step: a deployer may be reading it


def host_name(address: str, port: int) -> str:
    """As ``known_hosts`` spells it."""
    return address if port == 22 else f"[{address}]:{port}"
