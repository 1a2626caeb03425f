"""Processes as systemd user units: a template unit a process, an instance a release."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from . import commands
from .layout import RELEASE_ID, Layout, write_atomically
from .processes import LOG_LINES, ProcessState
from .protocol import Failure
from .systemd_journal import JournalReader

#: systemd.exec(5) names for the states that users read.
STATES = {
    ("active", "running"): "running",
    ("activating", "auto-restart"): "restarting",
    ("activating", "start"): "starting",
    ("reloading", "reload"): "running",
}

#: Seconds that systemctl may take; it waits for processes that start.
SYSTEMCTL_TIMEOUT = 120.0

PROPERTIES = "Id,ActiveState,SubState,Result,NRestarts,MainPID,ActiveEnterTimestampMonotonic"

#: The STOP_TIMEOUT of nearly all processes, in seconds; another one costs a reload of all units.
USUAL_STOP_TIME = 30

#: Seconds until systemd starts again what has ended.
RESTART_TIME = 1

UNIT = """\
# Written by django-deploy; an instance is one release of the site under ROOT.
[Unit]
Description={process} of {root}, release %i
StartLimitIntervalSec=0

[Service]
Type=exec
ExecStart={python} {launch} {process}
WorkingDirectory={folder}
Restart=always
RestartSec={restart_time}
KillMode=mixed
TimeoutStopSec={stop_timeout}

[Install]
WantedBy=default.target
"""


SERVICE = """\
# Written by django-deploy.
[Unit]
Description={name} of {root}
StartLimitIntervalSec=0

[Service]
Type=exec
ExecStart={command}
Restart=always
RestartSec={restart_time}

[Install]
WantedBy=default.target
"""

#: The template belongs to all releases, this to one.
DROP_IN = """\
[Service]
TimeoutStopSec={stop_timeout}
"""


class Systemd:
    """The units are named ``<root's name>-<hash of root>-<process>@<release>.service``."""

    name = "systemd"

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        root = str(layout.root)
        slug = re.sub(r"[^A-Za-z0-9]+", "-", layout.root.name).strip("-") or "site"
        self._prefix = f"{slug}-{hashlib.sha256(os.fsencode(root)).hexdigest()[:6]}"
        config = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
        self._folder = Path(config) / "systemd" / "user"
        # What ``systemctl enable`` makes of WantedBy= in the unit; only that reloads all units as well.
        self._wants = self._folder / "default.target.wants"

    def start(self, release: str, processes: Sequence[dict[str, Any]]) -> None:
        written = [
            changed
            for process in processes
            for changed in (self._write_unit(process), self._write_drop_in(process, release))
        ]
        if any(written):
            self._systemctl("daemon-reload")
        units = [self._unit(process["name"], release) for process in processes]
        if units:
            self._systemctl("reset-failed", *units, check=False)
            try:
                self._systemctl("start", *units)
            except Failure:
                if not self._has_lost_its_group(units):
                    raise
                time.sleep(2 * RESTART_TIME)  # until systemd has tried it again by itself
                self._systemctl("reset-failed", *units, check=False)
                self._systemctl("start", *units)

    def _has_lost_its_group(self, units: Sequence[str]) -> bool:
        """Whether one could not start because the control group of the one before it was just removed.

        That is of systemd's own making (219, EXIT_CGROUP: systemd.exec(5)), and over a moment later.
        """
        shown = self._systemctl("show", "--property=ExecMainStatus", *units, check=False)
        return "ExecMainStatus=219" in shown

    def stop(self, release: str, names: Sequence[str]) -> None:
        if names:
            units = [self._unit(name, release) for name in names]
            self._systemctl("stop", "--no-block", *units, check=False)

    def forget(self, release: str, names: Sequence[str]) -> None:
        if names:
            units = [self._unit(name, release) for name in names]
            self._systemctl("reset-failed", *units, check=False)  # a killed unit is listed for ever else
            self._systemctl("stop", *units, check=False)  # systemd looks at it anew, and forgets it

    def drop(self, release: str) -> None:
        # systemd may keep a unit loaded that it could not forget at once, as its control group was in use.
        with suppress(Failure):  # where there is no systemd any more, there is nothing to forget
            self._systemctl("stop", f"{self._prefix}-*@{release}.service", check=False)
        for folder in self._folder.glob(f"{self._prefix}-*@{release}.service.d"):
            shutil.rmtree(folder)

    def enable(self, release: str, names: Sequence[str]) -> None:
        self._wants.mkdir(parents=True, exist_ok=True)
        for name in names:
            link = self._wants / self._unit(name, release)
            link.unlink(missing_ok=True)
            link.symlink_to(self._template(name))

    def disable(self, release: str, names: Sequence[str]) -> None:
        for name in names:
            (self._wants / self._unit(name, release)).unlink(missing_ok=True)

    def left_to_hand(self, release: str, names: Sequence[str]) -> list[str]:
        return [name for name in names if not (self._wants / self._unit(name, release)).is_symlink()]

    def states(self) -> list[ProcessState]:
        pattern = f"{self._prefix}-*@*.service"
        lines = self._systemctl("show", "--property", PROPERTIES, pattern, check=False)
        found = [self._state(dict(_pairs(block))) for block in _blocks(lines)]
        return [state for state in found if state is not None]

    def close(self) -> None:
        """The user manager is not ours to end."""

    def log(self, release: str, name: str) -> list[str]:
        unit = self._unit(name, release)
        for scope in (["--user", "--unit", unit], [f"_SYSTEMD_USER_UNIT={unit}"]):
            if lines := self._journal(scope):
                return lines
        return [f"(no lines of {unit} can be read from the journal)"]

    def serve(self, name: str, argv: Sequence[str]) -> None:
        unit = f"{self._prefix}-{name}.service"
        command = " ".join(f'"{_quoted(Path(word))}"' for word in argv)
        root = _quoted(self._layout.root)
        text = SERVICE.format(name=name, root=root, command=command, restart_time=RESTART_TIME)
        if _write_changed(self._folder / unit, text):
            self._systemctl("daemon-reload")
        self._systemctl("start", unit)
        self._wants.mkdir(parents=True, exist_ok=True)
        link = self._wants / unit
        link.unlink(missing_ok=True)
        link.symlink_to(self._folder / unit)

    def end(self, name: str) -> None:
        unit = f"{self._prefix}-{name}.service"
        (self._wants / unit).unlink(missing_ok=True)
        self._systemctl("stop", unit, check=False)
        (self._folder / unit).unlink(missing_ok=True)

    def log_reader(self) -> JournalReader:
        return JournalReader(self._unit)

    def _journal(self, scope: list[str]) -> list[str]:
        lines: list[str] = []

        def on_line(stream: str, line: str) -> None:
            if not line.startswith(("--", "Hint:", "No journal files")):
                lines.append(line)

        journal = ["journalctl", "--no-pager", "--output=cat", f"--lines={LOG_LINES}", *scope]
        status, _ = commands.run(journal, env=self._environment(), on_line=on_line, timeout=10)
        return [] if status else lines

    def _unit(self, process: str, release: str) -> str:
        return f"{self._prefix}-{process}@{release}.service"

    def _template(self, process: str) -> Path:
        return self._folder / f"{self._prefix}-{process}@.service"

    def _write_unit(self, process: dict[str, Any]) -> bool:
        """The template, which says nothing that belongs to one release; gives whether it changed."""
        folder = f"{_quoted(self._layout.releases)}/%i"
        text = UNIT.format(
            process=process["name"],
            root=_quoted(self._layout.root),
            python=f'"{folder}/venv/bin/python"',
            launch=f'"{folder}/launch.py"',
            folder=folder,
            stop_timeout=USUAL_STOP_TIME,
            restart_time=RESTART_TIME,
        )
        return _write_changed(self._template(process["name"]), text)

    def _write_drop_in(self, process: dict[str, Any], release: str) -> bool:
        """What one release has of its own; gives whether it changed."""
        if process["stop_timeout"] == USUAL_STOP_TIME:
            return False
        path = self._folder / f"{self._unit(process['name'], release)}.d" / "stop.conf"
        return _write_changed(path, DROP_IN.format(stop_timeout=self.stop_time(process)))

    @staticmethod
    def stop_time(process: dict[str, Any]) -> str:
        """As systemd.time(7) reads seconds: without an exponent, and 0 would be for ever."""
        return f"{max(process['stop_timeout'], 0.001):.3f}".rstrip("0").rstrip(".")

    def _state(self, properties: dict[str, str]) -> ProcessState | None:
        pattern = rf"{re.escape(self._prefix)}-(.+)@({RELEASE_ID.pattern})\.service"
        match = re.fullmatch(pattern, properties.get("Id", ""))
        if match is None:
            return None
        active, sub = properties["ActiveState"], properties["SubState"]
        fallback = {"deactivating": "stopping", "activating": "starting", "active": "running"}
        state = STATES.get((active, sub), fallback.get(active, "stopped"))
        if active == "failed" and properties["Result"] == "timeout":
            state = "killed"
        if (
            state in ("running", "starting")
            and int(properties.get("NRestarts") or 0)
            and _age(properties) < 5
        ):
            state = "restarting"
        since = time.time() - _age(properties) if active == "active" else 0.0
        restarts, pid = (int(properties.get(name) or 0) for name in ("NRestarts", "MainPID"))
        return ProcessState(match[1], match[2], state, round(since, 1), pid, restarts)

    def _systemctl(self, *arguments: str, check: bool = True) -> list[str]:
        lines: list[str] = []

        def on_line(stream: str, line: str) -> None:
            lines.append(line)

        status, _ = commands.run(
            ["systemctl", "--user", *arguments],
            env=self._environment(),
            on_line=on_line,
            timeout=SYSTEMCTL_TIMEOUT,
        )
        if status and check:
            raise Failure(
                "ProcessFailed",
                f"systemctl --user {arguments[0]} failed (exit {status})",
                "On the host: systemctl --user status",
                lines=lines[-10:],
            )
        return lines

    @staticmethod
    def _environment() -> dict[str, str]:
        # A session without pam_systemd has no XDG_RUNTIME_DIR, and systemctl --user needs it.
        return {**os.environ, "XDG_RUNTIME_DIR": f"/run/user/{os.geteuid()}", "SYSTEMD_COLORS": "0"}


def _write_changed(path: Path, text: str) -> bool:
    if path.exists() and path.read_text() == text:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text)
    return True


def _quoted(path: Path) -> str:
    """Specifiers and quotes of systemd.unit(5) in a path stand for themselves."""
    return str(path).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")


def _blocks(lines: Iterable[str]) -> list[list[str]]:
    """The properties of each unit of a ``systemctl show``.

    The empty lines between units are gone, and the order of properties is systemd's own: a unit
    begins where a property comes again.
    """
    blocks: list[list[str]] = []
    seen: set[str] = set()
    for line in lines:
        name = line.partition("=")[0]
        if not blocks or name in seen:
            blocks.append([])
            seen = set()
        seen.add(name)
        blocks[-1].append(line)
    return blocks


def _pairs(lines: Iterable[str]) -> list[tuple[str, str]]:
    return [(name, value) for name, _, value in (line.partition("=") for line in lines)]


def _age(properties: dict[str, str]) -> float:
    """Seconds since the unit became active."""
    entered = int(properties.get("ActiveEnterTimestampMonotonic") or 0)
    return time.clock_gettime(time.CLOCK_MONOTONIC) - entered / 1e6 if entered else 0.0
