"""A host as a provider hands it over: Debian, sshd, root's key, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .machines import Machine

if TYPE_CHECKING:
    from .archive import Archive
    from .laptop import Laptop
    from .network import Network

#: What other hosts of these tests have been given: nginx, its modules, and all that they brought along.
PURGE = "DEBIAN_FRONTEND=noninteractive apt-get -q -y --autoremove purge 'nginx*' 'libnginx*'"


#: Where apt gets packages from, as the host says itself.
SOURCES = "cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null || true"


class BareMachine(Machine):
    """It has no web server and no user but root; apt reaches the archive."""

    person = "root"

    def __init__(
        self, disk: Path, network: Network, laptop: Laptop, archive: Archive, *, root: str = "/srv/site"
    ) -> None:
        self.archive = archive
        super().__init__(disk, network, laptop, root=root)

    def _mount(self) -> None:
        super()._mount()
        self.chroot("sh", "-c", PURGE)
        self.chroot("rm", "-rf", "/etc/nginx", "/var/www", "/var/lib/systemd/linger/deploy", self.root)
        self.chroot("gpasswd", "--delete", "www-data", "deploy")
        self.chroot("userdel", "--remove", "deploy")
        self.archive.open_to(self.chroot("sh", "-c", SOURCES))
        self.put("/etc/apt/apt.conf.d/proxy", f'Acquire::http::Proxy "{self.archive.url}";\n', owner="root")

    def journal(self, *, lines: int = 60) -> str:
        """The last lines of the journal; on or off."""
        return self.chroot("journalctl", "--no-pager", "--utc", "-n", str(lines))

    def add_administrator(self, name: str, password: str) -> None:
        """A user who may use sudo with this password, and who logs in with the laptop's key."""
        self.chroot("useradd", "--create-home", "--shell", "/bin/bash", "--groups", "sudo", name)
        self.chroot("chpasswd", input=f"{name}:{password}\n")
        self.chroot("install", "-d", "-m", "700", "-o", name, "-g", name, f"/home/{name}/.ssh")
        self.put(f"/home/{name}/.ssh/authorized_keys", self.laptop.public_key, owner=name)

    def without_root(self) -> None:
        """Root's key is gone."""
        self.chroot("sh", "-c", "rm ~root/.ssh/authorized_keys")
