"""The disk that every host starts from: a minimal Debian, built once and kept in a cache folder."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The release of Debian that the hosts run.
SUITE = os.environ.get("DJANGO_DEPLOY_TEST_SUITE", "bookworm")

#: A minimal server: Python without pip and without the venv package's ensurepip.
PACKAGES = (
    "ca-certificates",
    "curl",
    "dbus",
    "dbus-user-session",
    "iproute2",
    "libpam-systemd",
    "nginx-light",
    "openssh-server",
    "procps",
    "python3",
    "sudo",
    "systemd",
    "systemd-sysv",
)

#: Units that only cost time, or wait for a network that never comes.
MASKED = (
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "console-getty.service",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "fstrim.timer",
    "systemd-networkd.service",
    "systemd-resolved.service",
    "systemd-timesyncd.service",
)

#: Raise it when `configure` below changes, so that caches of the older recipe are not used.
RECIPE = 3

#: Without it nobody but root may log in, and now and then it fails in a container: "Input/output error".
USER_SESSIONS = """\
[Service]
Restart=on-failure
"""

#: What must be on the machine: program, and the Debian package that has it.
TOOLS = {
    "chroot": "coreutils",
    "ip": "iproute2",
    "mmdebstrap": "mmdebstrap",
    "mount": "mount",
    "nsenter": "util-linux",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "systemd-nspawn": "systemd-container",
    "unshare": "util-linux",
}


class RigError(Exception):
    """The rig itself failed; not a finding about django-deploy."""


def cache_folder() -> Path:
    """Where bases, the index's files and the hosts' disks live; outside the checkout."""
    named = os.environ.get("DJANGO_DEPLOY_TEST_CACHE")
    return Path(named) if named else platformdirs.user_cache_path("django-deploy-tests")


def missing() -> list[str]:
    """Why real hosts cannot run here, each with the remedy; empty where they can."""
    if os.geteuid() != 0:
        return ["Real hosts need root: run the tests as root, in a sandbox of their own."]
    packages = sorted({package for tool, package in TOOLS.items() if not shutil.which(tool)})
    if packages:
        return [f"Tools are missing: apt-get install {' '.join(packages)}"]
    return missing_namespaces()


def missing_namespaces() -> list[str]:
    """Whether the kernel lets this process have namespaces and overlays on the cache's file system."""
    cache_folder().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache_folder(), prefix="probe-") as folder:
        for name in ("lower", "upper", "work", "root"):
            Path(folder, name).mkdir()
        options = f"lowerdir={folder}/lower,upperdir={folder}/upper,workdir={folder}/work"
        mount = ["mount", "-t", "overlay", "overlay", "-o", options, f"{folder}/root"]
        probe = subprocess.run(
            ["unshare", "--mount", "--net", "--pid", "--fork", *mount], capture_output=True, text=True
        )
    if probe.returncode == 0:
        return []
    return [
        f"No namespaces or overlay mounts here ({probe.stderr.strip()}): run outside of a container, or in "
        "a privileged one with DJANGO_DEPLOY_TEST_CACHE on a volume."
    ]


@contextmanager
def locked(path: Path, operation: int = fcntl.LOCK_EX) -> Iterator[None]:
    """Hold a lock on a file that is created for it; released by the kernel when this process dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, operation)
        yield


def build(*more: str) -> Path:
    """The base's folder, with ``more`` packages; built first where this recipe has none (about 30 s)."""
    cache = cache_folder()
    base = cache / f"base-{recipe(*more)}"
    with locked(cache / "base.lock"):
        if not base.is_dir():
            drop_unfinished(cache)
            unfinished = Path(tempfile.mkdtemp(dir=cache, prefix="unfinished-"))
            bootstrap(unfinished / "root", *more)
            configure(unfinished / "root")
            (unfinished / "root").rename(base)
            remove(unfinished)
    return base


def recipe(*more: str) -> str:
    """What tells one kind of base from another."""
    words = [str(RECIPE), SUITE, os.uname().machine, *PACKAGES, *MASKED, *more]
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:12]


def drop_unfinished(cache: Path) -> None:
    """Remove what a killed build left; only for whoever holds the lock."""
    for folder in cache.glob("unfinished-*"):
        remove(folder)


def remove(folder: Path) -> None:
    """Remove a folder, if it is there, and nothing that a killed run left mounted below it."""
    subprocess.run(["rm", "-rf", "--one-file-system", folder], check=True)


def bootstrap(root: Path, *more: str) -> None:
    command = ["mmdebstrap", "--quiet", "--mode=root", "--variant=minbase"]
    command += [f"--include={','.join((*PACKAGES, *more))}", SUITE, str(root)]
    built = subprocess.run(command, capture_output=True, text=True)
    if built.returncode != 0:
        raise RigError(f"{' '.join(command)} failed:\n{built.stderr[-4000:]}")


def configure(root: Path) -> None:
    """Make the Debian a server that has one unprivileged user for the site."""

    def inside(*argv: str) -> None:
        subprocess.run(["chroot", root, *argv], check=True, capture_output=True)

    inside("useradd", "--create-home", "--shell", "/bin/bash", "deploy")
    inside("usermod", "--append", "--groups", "deploy", "www-data")
    inside("systemctl", "mask", *MASKED)
    linger = root / "var/lib/systemd/linger/deploy"
    linger.parent.mkdir(parents=True, exist_ok=True)
    linger.touch()
    sessions = root / "etc/systemd/system/systemd-user-sessions.service.d/again.conf"
    sessions.parent.mkdir(parents=True)
    sessions.write_text(USER_SESSIONS)
    for key in root.glob("etc/ssh/ssh_host_*"):
        key.unlink()
    (root / "etc/nginx/sites-enabled/default").unlink()
    # A resolver that is named but never answers makes every sudo wait for 20 s.
    (root / "etc/resolv.conf").unlink(missing_ok=True)
    (root / "etc/resolv.conf").touch()
