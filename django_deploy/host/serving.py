"""What serves: the processes of releases, and the links that lead visitors to them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Optional

from . import commands, health, maintenance
from .layout import Layout, Release
from .link import Link
from .processes import ENDED, KILL_TIME, ProcessManager, Watch, open_manager, wait_for_end
from .protocol import Failure
from .steps import ask_apart

#: Seconds that one RESTART command may take.
RESTART_TIMEOUT = 120.0

#: Lines of a process's log beside the exception that says why it answers so: it may be in there as well.
LOG_BESIDE = 5

#: Seconds in which a release that answers 5xx may tell why.
EXPLAIN_TIMEOUT = 20.0


#: Seconds between the switch and the SIGTERM of the old processes: what connected to the old socket
#: just before the switch is accepted by then.
DRAIN_TIME = 2.0


class Serving:
    """The site of this host, as visitors meet it; every release has processes of its own."""

    def __init__(self, layout: Layout, link: Link, keep_open: int) -> None:
        """``keep_open`` is the lock's descriptor, for Django processes that explain a failure."""
        self._layout = layout
        self._link = link
        self._keep_open = keep_open
        self._watch: Optional[Watch] = None

    # Start and health

    def start(self, release: Release, record: dict[str, Any], previous: Optional[str]) -> list[str]:
        """Start a release beside the one before, and ask its health; gives the addresses that answered."""
        processes = record["processes"]
        if not processes:
            return []
        self._stop_singletons(processes, previous)
        manager = self.manager_of(release)
        for process in processes:
            self._link.report("process.started", process=process["name"], release=release.id)
        manager.start(release.id, processes)
        watch = self._watch = Watch(manager, release.id, names_in(record))
        asked = [process["name"] for process in processes if has_socket(process) and _asks_sockets(record)]
        checked = [self._check_socket(manager, release, name, record["health"], watch) for name in asked]
        watch.until_settled(asked, self._link.pause)
        return checked

    def _stop_singletons(self, processes: list[dict[str, Any]], previous: Optional[str]) -> None:
        names = [process["name"] for process in processes if process["singleton"]]
        if previous is None or not names:
            return
        there = self.end(self._layout.release(previous), names)
        if there:
            raise Failure("ProcessFailed", f"process {there[0]!r} of {previous} does not stop")

    def end(self, release: Release, names: list[str]) -> list[str]:
        """Stop processes and wait for that; gives those that did not stop even so."""
        for name in names:
            self._link.report("process.stopping", process=name, release=release.id)
        times = [process["stop_timeout"] for process in processes_of(release) if process["name"] in names]
        manager, give_up = self.manager_of(release), time.monotonic() + max(times, default=0.0) + KILL_TIME
        manager.stop(release.id, names)
        killed, there = wait_for_end(manager, release.id, names, give_up)
        for name in killed:
            self.report_killed(name, release.id)
        return there

    def report_killed(self, name: str, id: str) -> None:
        """Warn of a process that did not stop in its time."""
        release = self._layout.release(id)
        times = {process["name"]: process["stop_timeout"] for process in processes_of(release)}
        after = f" within {times[name]:g} s" if name in times else ""
        self._link.report(
            "warning",
            message=f"process {name!r} of {id} did not stop{after} and was killed: what it was doing is lost",
            remedy="Give it a longer STOP_TIMEOUT, or let it stop on SIGTERM.",
        )

    def _check_socket(
        self, manager: ProcessManager, release: Release, name: str, wanted: dict[str, Any], watch: Watch
    ) -> str:
        socket = self._layout.socket(name, release.id)
        address = f"{self._layout.socket_link(name)}:{wanted['path']}"
        asked = health.for_site(wanted, release.site)
        with self._explaining(manager, release, name, asked):
            answered = health.check(
                address,
                str(socket),
                asked,
                _at_most_every(0.3, watch.look),
                self._link.pause,
            )
            heard, there = health.check_workers(address, str(socket), asked, answered, self._link.pause)
        self._report_answer(address, answered)
        if heard < there:
            message = (
                f"process {name!r}: of {there} workers behind its socket, {there - heard} did not answer"
            )
            self._link.report("warning", message=message, remedy="deploy_logs may say why.")
        return address

    def _report_answer(self, address: str, answered: health.Answered) -> None:
        status, seconds = answered.status, answered.seconds
        self._link.report("health.checked", address=address, status=status, seconds=seconds)

    @contextmanager
    def _explaining(
        self, manager: ProcessManager, release: Release, name: str, asked: dict[str, Any]
    ) -> Iterator[None]:
        """Adds to a health check's failure what the process wrote, and why the site answers so."""
        try:
            yield
        except Failure as failure:
            if failure.type == "HealthCheckFailed":
                reason = self._explain(release, asked) if failure.details["status"] >= 500 else []
                log = manager.log(release.id, name)[-LOG_BESIDE if reason else 0 :]
                failure.details["lines"] = [*log, *(reason or failure.details["lines"])]
            raise

    def _explain(self, release: Release, asked: dict[str, Any]) -> list[str]:
        """The exception behind a 5xx: where DEBUG is off, many a site writes it nowhere."""
        request = {"do": "explain", **{name: asked[name] for name in ("path", "host", "headers")}}
        lines = ask_apart(release, self._keep_open, request, EXPLAIN_TIMEOUT, self._link.lost).get(
            "lines", []
        )
        return list(lines[-commands.LAST_LINES :])

    def check_address(self, release: Release, record: dict[str, Any]) -> list[str]:
        """Ask the ``http://`` address of the health check, if it is one; gives it when it answered."""
        wanted = record["health"]
        if not wanted or _asks_sockets(record):
            return []
        asked = {**health.for_site(wanted, release.site), "release": release.id}
        answered = health.check(wanted["path"], None, asked, lambda: None, self._link.pause)
        self._report_answer(wanted["path"], answered)
        return [wanted["path"]]

    def look(self) -> None:
        """See that the processes are those still that were started; raises ``Failure``."""
        if self._watch is not None:
            self._watch.look()

    def look_at_health(self, release: Release) -> None:
        """Ask once; raises ``Failure`` for an answer that is not the one that is wanted."""
        record = release.record
        wanted = record["health"]
        if not wanted:
            return
        asked = health.for_site(wanted, release.site)
        if not _asks_sockets(record):
            health.look(wanted["path"], None, asked)
            return
        for name in [process["name"] for process in record["processes"] if has_socket(process)]:
            address = f"{self._layout.socket_link(name)}:{wanted['path']}"
            with self._explaining(self.manager_of(release), release, name, asked):
                health.look(address, str(self._layout.socket(name, release.id)), asked)

    # Traffic

    def switch(self, processes: list[dict[str, Any]], release: str) -> None:
        """Lead visitors to a release."""
        self.lead_sockets(names_with_sockets(processes), release)
        self.point(self._layout.current, f"releases/{release}")

    def lead_sockets(self, names: Iterable[str], release: str) -> None:
        """To the release; while the maintenance page is on, to that."""
        is_on = maintenance.notice(self._layout) is not None
        for name in names:
            socket = maintenance.socket(self._layout) if is_on else self._layout.socket(name, release)
            self.point(self._layout.socket_link(name), socket.name)

    def point(self, link: Path, to: Optional[str]) -> None:
        """Switch a link of ours, also where somebody has put something else into its place."""
        if aside := self._layout.put_aside(link):
            self._link.report(
                "warning",
                message=f"{link} was not made by django-deploy; it was renamed to {aside}",
                remedy="Look at what it is; the site does not use it.",
            )
        self._layout.point(link, to)

    def run_restart_commands(self, record: dict[str, Any]) -> None:
        """The RESTART commands of the settings; raises ``Failure`` for one that fails."""
        for argv in record["restart"]:
            status, lines = commands.run(argv, cwd=self._layout.root, timeout=RESTART_TIMEOUT)
            if status:
                raise Failure(
                    "RestartFailed",
                    f"the RESTART command {' '.join(argv)!r} failed (exit {status})",
                    "Try it on the host by hand.",
                    lines=lines,
                )

    # The end of what does not serve

    def switch_back(self, previous: Optional[str]) -> None:
        """Lead visitors to the release that they had before, or nowhere."""
        names = self._names_of_sockets(previous)
        for link in self._layout.run.glob("*.sock"):
            if link.is_symlink() and link.stem not in names:
                self._layout.point(link, None)
        if previous is not None:
            self.lead_sockets(names, previous)
        self.point(self._layout.current, f"releases/{previous}" if previous else None)

    def _names_of_sockets(self, id: Optional[str]) -> set[str]:
        """The processes of a release that have a socket; its sockets tell where it was deleted by hand."""
        if id is None:
            return set()
        try:
            record = self._layout.release(id).record
        except Failure:
            return {path.name[: -len(f".{id}.sock")] for path in self._layout.run.glob(f"*.{id}.sock")}
        return names_with_sockets(record["processes"])

    def restart_old(self, release: Release) -> None:
        """Its RESTART commands, which notice the links that lead back to it."""
        try:
            record = release.record
        except Failure:
            return  # deleted by hand: what it had to restart went with it
        self.run_restart_commands(record)

    def start_again(self, failed: str, previous: str) -> None:
        """The old release's singletons were stopped, and run again once the new ones have ended."""
        new, old = self._layout.release(failed), self._layout.release(previous)
        if singletons := [process for process in processes_of(old) if process["singleton"]]:
            if names := [process["name"] for process in processes_of(new) if process["singleton"]]:
                self.end(new, names)
            self.manager_of(old).start(previous, singletons)

    def stop_all_but(self, live: Optional[str], *, patience: float) -> list[tuple[str, str]]:
        """No process of any other release is left, not even one of an earlier crash.

        Those that are not gone within ``patience`` seconds have been told to stop; gives them, by name and
        release.
        """
        left: list[tuple[str, str]] = []
        give_up = time.monotonic() + patience
        for manager in self.managers():
            others: dict[str, list[str]] = {}
            for state in manager.states():
                if state.release != live:
                    others.setdefault(state.release, []).append(state.name)
                    if state.state not in ENDED:
                        self._link.report("process.stopping", process=state.name, release=state.release)
            for release, names in others.items():
                manager.disable(release, names)
                manager.stop(release, names)
            for release, names in others.items():
                killed, there = wait_for_end(manager, release, names, give_up)
                left += [(name, release) for name in there]
                for name in killed:
                    self.report_killed(name, release)
        return left

    def remove_sockets(self, live: Optional[str], left: Sequence[tuple[str, str]]) -> None:
        """None of any other release stays, but those of processes that are ``left``: gunicorn for one removes
        its own first of all, and falls over its requests where that is gone already.
        """
        names = self._names_of_sockets(live)
        kept = {self._layout.socket(name, release).name for name, release in left}
        kept |= {self._layout.socket_link(name).name for name in names}
        kept |= {self._layout.socket(name, live).name for name in names if live}
        kept.add(maintenance.socket(self._layout).name)
        for path in self._layout.run.glob("*.sock"):
            if path.name not in kept:
                path.unlink(missing_ok=True)

    # Process managers

    def managers(self) -> list[ProcessManager]:
        """Those that any release of this ROOT was started with."""
        found: dict[str, Release] = {}
        for release in self._layout.all_releases():
            try:
                if release.record["processes"]:
                    found[release.record["manager"]] = release
            except (Failure, KeyError):
                continue
        return [self.manager_of(release) for release in found.values()]

    def manager_of(self, release: Release) -> ProcessManager:
        """The one that it was started with; where it was deleted by hand, that of the others."""
        try:
            return self.open_manager(release, release.record["manager"])
        except Failure:
            for manager in self.managers():
                return manager
            raise

    def open_manager(self, release: Release, name: str) -> ProcessManager:
        tool = release.record.get("tools", {}).get("supervisor")
        return open_manager(name, self._layout, Path(tool) if tool else None)


def processes_of(release: Release) -> list[dict[str, Any]]:
    """Of a release that may be gone or damaged."""
    return list(release.known_record.get("processes", ()))


def names_in(record: dict[str, Any]) -> list[str]:
    """The names of a release's processes."""
    return [process["name"] for process in record["processes"]]


def names_with_sockets(processes: Iterable[dict[str, Any]]) -> set[str]:
    """The names of those that listen where we say."""
    return {process["name"] for process in processes if has_socket(process)}


def has_socket(process: dict[str, Any]) -> bool:
    """Whether its command says that it listens where we say."""
    return any("{socket}" in word for word in process["command"])


def _asks_sockets(record: dict[str, Any]) -> bool:
    """The health check is a path that is asked on the sockets, and no ``http://`` address."""
    return bool(record["health"]) and not record["health"]["path"].startswith("http://")


def _at_most_every(seconds: float, work: Callable[[], object]) -> Callable[[], None]:
    last = time.monotonic()

    def sometimes() -> None:
        nonlocal last
        if time.monotonic() - last >= seconds:
            last = time.monotonic()
            work()

    return sometimes
