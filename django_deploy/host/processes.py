"""What the host program asks of a process manager, and which one a host has."""

from __future__ import annotations

import os
import pwd
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Protocol

from .layout import Layout
from .protocol import Failure

#: A process without a socket counts as up when it has run this long, in seconds.
SETTLE_TIME = 1.0

#: Lines of a fallen process's log that an error shows: some write two tracebacks before they give up.
LOG_LINES = 80

#: Seconds in which a process manager must call a process running.
START_TIMEOUT = 30.0

#: The states of a process that has fallen.
DOWN = ("stopped", "restarting")


@dataclass(frozen=True)
class ProcessState:
    """One process of one release.

    ``state`` is ``running``, ``starting``, ``restarting``, ``stopping`` or ``stopped``; ``since`` is in
    seconds since the epoch, 0 when it is not known.
    """

    name: str
    release: str
    state: str
    since: float = 0.0
    pid: int = 0

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "release": self.release,
            "state": self.state,
            "since": self.since,
            "pid": self.pid,
        }


class ProcessManager(Protocol):
    """Starts and stops processes that outlive the deployment. All calls are idempotent."""

    name: str

    def start(self, release: str, processes: Sequence[dict[str, Any]]) -> None:
        """Start processes of a release; one that ends is started again."""

    def stop(self, release: str, names: Sequence[str], wait: bool) -> None:
        """SIGTERM, after the process's own stop timeout SIGKILL."""

    def enable(self, release: str, names: Sequence[str]) -> None:
        """Have them start with the host, too, from its next start on."""

    def disable(self, release: str, names: Sequence[str]) -> None:
        """Have them start with the host no more; what runs goes on."""

    def states(self) -> list[ProcessState]:
        """Every process of this ROOT that it knows, of any release."""

    def close(self) -> None:
        """Nothing of this ROOT is left to run: end what was started only for it."""

    def log(self, release: str, name: str) -> list[str]:
        """The last lines that the process wrote."""


def has_systemd() -> bool:
    """A systemd user manager runs for us."""
    return Path(f"/run/user/{os.geteuid()}/systemd/private").exists()


def lingers() -> bool:
    """Our user manager runs without a login (loginctl(1), enable-linger)."""
    user = pwd.getpwuid(os.geteuid()).pw_name
    return Path(f"/var/lib/systemd/linger/{user}").exists()


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


class Watch:
    """Watches whether the processes of a new release stay up.

    A process that fell is started again by its manager, and may look well at every look: but then it
    has another pid.
    """

    def __init__(self, manager: ProcessManager, release: str, names: Sequence[str]) -> None:
        self._manager = manager
        self._release = release
        self._names = names
        self._pids: dict[str, int] = {}

    def look(self) -> list[str]:
        """The processes that are not running yet; raises ``Failure`` with the log of one that fell."""
        states = {state.name: state for state in self._manager.states() if state.release == self._release}
        for name in self._names:
            if name not in states or states[name].state in DOWN or self._has_new_pid(states[name]):
                self._fail(name)
        return [name for name in self._names if states[name].state != "running"]

    def until_settled(self, settled_at: float, pause: Callable[[float], None]) -> None:
        """Look until ``settled_at`` (monotonic) and until all are running."""
        give_up = time.monotonic() + START_TIMEOUT
        while (late := self.look()) or time.monotonic() < settled_at:
            if late and time.monotonic() > give_up:
                self._fail(late[0])
            pause(0.1)

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
