"""What the host program asks of a process manager, and which one a host has."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Protocol

from .layout import Layout
from .logs import LogReader
from .protocol import Failure
from .users import user_name

#: A process that is asked no health check counts as up when it has run this long, in seconds, and has
#: started up: it waits for work.
SETTLE_TIME = 1.0

#: Seconds after which it counts as up though it is still at work. One that falls sooner never was.
PROVEN_TIME = 10.0

#: Seconds in which a process that waits for work uses less than a twentieth of a processor.
IDLE_TIME = 0.5

#: Lines of a fallen process's log that an error shows: some write two tracebacks before they give up.
LOG_LINES = 80

#: Seconds in which a process manager must call a process running.
START_TIMEOUT = 30.0

#: Seconds from SIGKILL until a process is gone, with time to spare.
KILL_TIME = 10.0

#: The states of a process that is no more, and of one that has fallen.
ENDED = ("stopped", "killed")
DOWN = (*ENDED, "restarting")


@dataclass(frozen=True)
class ProcessState:
    """One process of one release.

    ``state`` is ``running``, ``starting``, ``restarting``, ``stopping``, ``stopped`` or ``killed`` (it did
    not stop in its time). ``since`` is in seconds since the epoch, 0 when it is not known; ``restarts``
    counts how often it was started again.
    """

    name: str
    release: str
    state: str
    since: float = 0.0
    pid: int = 0
    restarts: int = 0

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "release": self.release,
            "state": self.state,
            "since": self.since,
            "pid": self.pid,
            "restarts": self.restarts,
        }


class ProcessManager(Protocol):
    """Starts and stops processes that outlive the deployment. All calls are idempotent."""

    name: str

    def start(self, release: str, processes: Sequence[dict[str, Any]]) -> None:
        """Start processes of a release; one that ends is started again."""

    def stop(self, release: str, names: Sequence[str]) -> None:
        """SIGTERM, after the process's own stop timeout SIGKILL to all that it started; returns at once."""

    def forget(self, release: str, names: Sequence[str]) -> None:
        """List those that have ended no more."""

    def drop(self, release: str) -> None:
        """Delete what it keeps of a release that has gone: logs, settings."""

    def enable(self, release: str, names: Sequence[str]) -> None:
        """Have them start with the host, too, from its next start on."""

    def disable(self, release: str, names: Sequence[str]) -> None:
        """Have them start with the host no more; what runs goes on."""

    def left_to_hand(self, release: str, names: Sequence[str]) -> list[str]:
        """Those of them that nobody would start with the host."""

    def states(self) -> list[ProcessState]:
        """Every process of this ROOT that it knows, of any release."""

    def close(self) -> None:
        """Nothing of this ROOT is left to run: end what was started only for it."""

    def log(self, release: str, name: str) -> list[str]:
        """The last lines that the process wrote."""

    def serve(self, name: str, argv: Sequence[str]) -> None:
        """Run a program that belongs to no release, from now on and when the host starts."""

    def end(self, name: str) -> None:
        """Stop that program, for good."""

    def log_reader(self) -> LogReader:
        """To read what processes wrote and write."""


def has_systemd() -> bool:
    """A systemd user manager runs for us."""
    return Path(f"/run/user/{os.geteuid()}/systemd/private").exists()


def lingers() -> bool:
    """Our user manager runs without a login (loginctl(1), enable-linger)."""
    return Path(f"/var/lib/systemd/linger/{user_name()}").exists()


def choose_manager(wanted: str | None) -> str:
    """The target's choice, else systemd where its processes survive our logout, else supervisor."""
    if wanted:
        return wanted
    return "systemd" if has_systemd() and lingers() else "supervisor"


def open_manager(name: str, layout: Layout, supervisor: Path | None) -> ProcessManager:
    """The manager of that name; ``supervisor`` is the folder of its unpacked wheel."""
    if name == "systemd":
        from .systemd import Systemd

        return Systemd(layout)
    from .supervisor import Supervisor

    return Supervisor(layout, supervisor)


def wait_for_end(
    manager: ProcessManager, release: str, names: Sequence[str], give_up: float
) -> tuple[list[str], list[str]]:
    """Wait for processes that were told to stop, until ``give_up`` (monotonic) at most.

    Gives the names of those that had to be killed, and of those that are there still.
    """
    while True:
        states = {state.name: state.state for state in manager.states() if state.release == release}
        there = [name for name in names if states.get(name, "stopped") not in ENDED]
        if not there or time.monotonic() > give_up:
            break
        time.sleep(0.1)
    manager.forget(release, [name for name in names if name not in there])
    return [name for name in names if states.get(name) == "killed"], there


class Watch:
    """Watches whether the processes of a new release stay up.

    A process that fell is started again by its manager, and may look well at every look: but then it
    has another pid.
    """

    def __init__(self, manager: ProcessManager, release: str, names: Sequence[str]) -> None:
        self.started = time.monotonic()
        self._manager = manager
        self._release = release
        self._names = names
        self._pids: dict[str, int] = {}
        self._efforts: dict[str, Effort] = {}

    def look(self) -> list[str]:
        """The processes that are not running yet; raises ``Failure`` with the log of one that fell."""
        states = {state.name: state for state in self._manager.states() if state.release == self._release}
        for name in self._names:
            if name not in states or states[name].state in DOWN or self._has_new_pid(states[name]):
                self._fail(name)
        return [name for name in self._names if states[name].state != "running"]

    def until_settled(self, asked: Sequence[str], pause: Callable[[float], None]) -> None:
        """Look until all are running, and those that were not ``asked`` a health check have started up."""
        unasked = [name for name in self._names if name not in asked]
        give_up = time.monotonic() + START_TIMEOUT
        while (late := self.look()) or not all(self._has_settled(name) for name in unasked):
            if late and time.monotonic() > give_up:
                self._fail(late[0])
            pause(0.1)

    def _has_settled(self, name: str) -> bool:
        """Whether it waits for work; while its program is loaded, it is as busy as can be."""
        age = time.monotonic() - self.started
        if name not in self._efforts:
            self._efforts[name] = Effort(self._pids.get(name, -1))
        return (self._efforts[name].is_idle() and age >= SETTLE_TIME) or age >= PROVEN_TIME

    def _has_new_pid(self, state: ProcessState) -> bool:
        return bool(state.pid) and self._pids.setdefault(state.name, state.pid) != state.pid

    def _fail(self, name: str) -> None:
        raise Failure(
            "ProcessFailed",
            f"process {name!r} of the new release does not stay up",
            "Try its command in the project's own environment.",
            process=name,
            lines=self._manager.log(self._release, name),
        )


class Effort:
    """How much a process and those that it started do, by what the kernel counts (proc_pid_stat(5))."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._since, self._used = time.monotonic(), self._measure()[0]

    def is_idle(self) -> bool:
        """Whether it hardly did anything in the last ``IDLE_TIME``; asked again and again."""
        seconds = time.monotonic() - self._since
        if seconds < IDLE_TIME:
            return False
        used, is_busy = self._measure()
        was, self._since, self._used = self._used, time.monotonic(), used
        return not is_busy and used - was < seconds / 20

    def _measure(self) -> tuple[float, bool]:
        """Its seconds of processor time so far, and whether it wants a processor or the disk now."""
        used, is_busy = 0, False
        for fields in filter(None, map(_stat, os.listdir("/proc"))):
            if self._pid in (int(fields[2]), int(fields[3])):  # its process group, or its session
                used += sum(map(int, fields[11:15]))
                is_busy = is_busy or fields[0] in "RD"
        return used / os.sysconf("SC_CLK_TCK"), is_busy


def _stat(pid: str) -> list[str]:
    try:
        with open(f"/proc/{int(pid)}/stat") as file:
            return file.read().rpartition(")")[2].split()
    except (OSError, ValueError):
        return []
