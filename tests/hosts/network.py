"""The bridge between the machine and its hosts, and the slots of addresses on it.

A slot is a number from 11 to 250; address, names of links and network namespace follow from it. Whoever
holds the ``flock`` of a slot's file owns the host in it. The kernel drops that lock with its process, so
that a slot whose file can be locked but has something in it is what a killed run left behind.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import IO

from . import control_groups
from .base import RigError, cache_folder, locked, remove

BRIDGE = "djdeploy0"
GATEWAY = "10.77.0.1"
PREFIX = "10.77.0"
GATEWAY6 = "fd00:77::1"
PREFIX6 = "fd00:77:"
SLOTS = range(11, 251)

#: The most that one host may write.
DISK_SIZE = "4g"

#: One for the whole machine, whatever cache folders its runs use.
STATE = Path("/run/django-deploy-hosts")


def ip(*words: str) -> str:
    """Run ``ip`` and return what it printed."""
    done = subprocess.run(["ip", *words], capture_output=True, text=True)
    if done.returncode != 0:
        raise RigError(f"ip {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


class Slot:
    """A place for one host. ``file`` holds the lock and the name of the host's folder."""

    def __init__(self, number: int, file: IO[str]) -> None:
        self.number = number
        self.file = file
        self.name = f"djhost{number}"
        self.address = f"{PREFIX}.{number}"
        self.address6 = f"{PREFIX6}:{number}"

    @classmethod
    def take(cls, number: int) -> Slot | None:
        """The slot, cleaned of what a killed run left in it; None where a live run has it."""
        file = (STATE / f"slot-{number}").open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        slot = cls(number, file)
        slot.wipe()
        return slot

    @property
    def folder(self) -> Path | None:
        """The host's folder: its disk, its mount point and its console's log."""
        self.file.seek(0)
        text = self.file.read()
        return Path(text) if text else None

    def furnish(self) -> Path:
        """Make the folder and the network of a host; noted first, so that it can be found again."""
        folder = cache_folder() / "machines" / self.name
        self.file.write(str(folder))
        self.file.flush()
        folder.mkdir(parents=True)
        # In memory: tests write and drop thousands of small files, and fsync waits for no disk.
        subprocess.run(
            ["mount", "-t", "tmpfs", self.name, "-o", f"size={DISK_SIZE},mode=755", folder], check=True
        )
        ip("netns", "add", self.name)
        # Always the same hardware address: the next host here is found without waiting for ARP.
        end = ["name", "eth0", "address", f"02:00:0a:4d:00:{self.number:02x}", "netns", self.name]
        ip("link", "add", self.name, "type", "veth", "peer", *end)
        ip("link", "set", self.name, "master", BRIDGE, "up")
        ip("-n", self.name, "address", "add", f"{self.address}/24", "dev", "eth0")
        ip("-n", self.name, "address", "add", f"{self.address6}/64", "dev", "eth0", "nodad")
        ip("-n", self.name, "link", "set", "lo", "up")
        ip("-n", self.name, "link", "set", "eth0", "up")
        return folder

    def wipe(self) -> None:
        """Remove the host with all that belongs to it; safe to repeat."""
        folder = self.folder
        if not folder:
            return
        self.kill()
        unmount(folder / "root")
        unmount(folder)
        with suppress(RigError):
            ip("link", "delete", self.name)
        with suppress(RigError):
            ip("netns", "delete", self.name)
        remove(folder)
        control_groups.remove(self.name)
        self.file.truncate(0)

    def release(self) -> None:
        self.wipe()
        self.file.close()

    def kill(self) -> None:
        """SIGKILL the host's init, with which all its processes die at once; wait for it (10 s at most)."""
        start = time.monotonic()
        while pids := self.pids():
            waited = time.monotonic() - start
            if waited > 10:
                raise RigError(f"{self.name}: processes {pids} do not die.")
            # Without its init nspawn tidies up and leaves; it has a second for that.
            for pid in pids if waited > 1 else filter(is_init, pids):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)

    def pids(self) -> list[int]:
        """The processes of this host as the machine sees them, nspawn itself among them."""
        inside = []
        if Path("/run/netns", self.name).exists():
            inside = [int(word) for word in ip("netns", "pids", self.name).split()]
        return [*inside, *nspawns(self.name)]


def is_init(pid: int) -> bool:
    """Whether a process is number 1 in a process namespace of its own."""
    with suppress(OSError):
        status = Path(f"/proc/{pid}/status").read_text()
        return any(line.startswith("NSpid:") and line.endswith("\t1") for line in status.splitlines())
    return False


def nspawns(name: str) -> list[int]:
    """The ``systemd-nspawn`` processes that run the machine of this name; without zombies."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (process / "cmdline").read_bytes().split(b"\0")
            if words[0].endswith(b"systemd-nspawn") and f"--machine={name}".encode() in words:
                found.append(int(process.name))
    return found


def unmount(path: Path) -> None:
    """Unmount; where something still looks at the files, as soon as that lets go."""
    if path.is_mount():
        done = subprocess.run(["umount", path], capture_output=True)
        if done.returncode != 0:
            subprocess.run(["umount", "--lazy", path], check=True)


class Network:
    """The bridge with the machine's address on it. Several runs share it; the last one removes it.

    Opening it also removes what killed runs left behind.
    """

    gateway = GATEWAY

    def __init__(self) -> None:
        STATE.mkdir(exist_ok=True)
        self.slots: list[Slot] = []
        self.users = (STATE / "users").open("a")
        with locked(STATE / "lock"):
            fcntl.flock(self.users, fcntl.LOCK_SH)
            sweep()
            make_bridge()

    def claim(self) -> Slot:
        """A free slot, locked for this process."""
        with locked(STATE / "lock"):
            for number in SLOTS:
                if slot := Slot.take(number):
                    self.slots.append(slot)
                    return slot
        raise RigError(f"All {len(SLOTS)} addresses of {PREFIX}.0/24 are in use.")

    def release(self, slot: Slot) -> None:
        self.slots.remove(slot)
        slot.release()

    def close(self) -> None:
        """Remove this process's hosts, and the bridge where nobody else uses it; safe to repeat."""
        if self.users.closed:
            return
        for slot in [*self.slots]:
            self.release(slot)
        with locked(STATE / "lock"), self.users, suppress(BlockingIOError):
            fcntl.flock(self.users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            ip("link", "delete", BRIDGE)

    def __enter__(self) -> Network:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def sweep() -> None:
    """Remove the hosts of killed runs; leaves those of live ones alone."""
    for path in STATE.glob("slot-*"):
        if slot := Slot.take(int(path.name.removeprefix("slot-"))):
            slot.release()


def make_bridge() -> None:
    if not Path("/sys/class/net", BRIDGE).exists():
        ip("link", "add", BRIDGE, "type", "bridge", "forward_delay", "0")
        ip("address", "add", f"{GATEWAY}/24", "dev", BRIDGE)
        ip("link", "set", BRIDGE, "up")
    ip("address", "replace", f"{GATEWAY6}/64", "dev", BRIDGE, "nodad")
