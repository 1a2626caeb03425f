"""``manage.py deploy_status TARGET``."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from django_deploy.bundle.manifest import Revision
from django_deploy.exceptions import DeployError
from django_deploy.host.protocol import Event, ignore
from django_deploy.management.base import DeployCommand
from django_deploy.reporters.sentences import holder_in_words
from django_deploy.reporters.text import count, duration

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

    from django_deploy.deployment import HostStatus

#: The states in which a process serves, or soon will.
UP = frozenset({"running", "starting"})


class Command(DeployCommand):
    """Says what every host of a target serves; changes nothing."""

    help = (
        "Shows for each host of a target: the live release, its age and revision, who deployed it, who "
        "deploys just now, the state of its processes, and the releases that deploy_rollback can go back "
        "to. Exit status 1 when a host does not answer, is behind the others, has a process that is down "
        "or a deployment that was cut off."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("target", help="A key of DEPLOY_TARGETS.")
        parser.add_argument("--json", action="store_true", help="Print one host a line, as JSON.")
        self.add_hosts_argument(parser)

    def handle(self, *, target: str, json: bool, hosts: str | None, **options: Any) -> None:
        chosen = self.get_target(target, hosts)
        with self.reporting(json=json, options={**options, "verbosity": 0}) as reporter:
            terminal = self.terminal(reporter, json=json)
            found = self.deployment.status(chosen, report=ignore, prompts=terminal)
            for host in found:
                if json:
                    reporter(_as_event(host))
                else:
                    self.say("\n".join(self.describe(host, time.time())))
        if troubles := list(_troubles(found)):
            raise DeployError(" ".join(troubles))

    def describe(self, status: HostStatus, now: float) -> Iterator[str]:
        """One host for people; ``now`` is in seconds since the epoch."""
        yield self.style.MIGRATE_HEADING(self.presentable(status.host))
        if status.error:
            error = self.presentable(status.error).removeprefix(f"{status.host}: ")
            yield from (f"  {self.style.ERROR(line)}" for line in error.splitlines())
            return
        yield from self._live(status, now)
        yield from self._deployments(status, now)
        yield from self._processes(status, now)
        yield from self._earlier(status, now)

    def _live(self, status: HostStatus, now: float) -> Iterator[str]:
        live = next((release for release in status.releases if release["id"] == status.live), None)
        if live is None:
            yield "  live        nothing yet"
            return
        yield f"  live        {self._line(live['id'])}, {_age(live, now)}"
        yield f"              {self._line(_origin(live))}"

    def _deployments(self, status: HostStatus, now: float) -> Iterator[str]:
        """What has not reached this host, who is at work there, and what somebody did not end."""
        if status.behind:
            yield f"  {self.style.WARNING(f'behind      {self._line(status.behind)} is live elsewhere')}"
        if status.lock:
            yield f"  locked      {self._line(holder_in_words(status.lock, now))}"
        if status.left_open:
            release, phase = (self._line(status.left_open[key]) for key in ("release", "phase"))
            text = f"{release}, in the phase {phase}; the next deployment mends it"
            yield f"  {self.style.ERROR(f'cut off     {text}')}"

    def _processes(self, status: HostStatus, now: float) -> Iterator[str]:
        label = "processes"
        width = max((len(str(process["name"])) for process in status.processes), default=0)
        for process in status.processes:
            style = self.style.SUCCESS if process["state"] in UP else self.style.ERROR
            since = f" for {duration(now - process['since'])}" if process.get("since") else ""
            old = "" if process["release"] == status.live else f" (release {self._line(process['release'])})"
            if times := process.get("restarts"):
                since += f", started again {count('time', self._line(times))}"
            name = self._line(process["name"]).ljust(width)
            yield f"  {label:10}  {name}  {style(self._line(process['state']))}{since}{old}"
            label = ""

    def _earlier(self, status: HostStatus, now: float) -> Iterator[str]:
        label = "go back to"
        for release in sorted(status.releases, key=lambda release: str(release["id"]), reverse=True):
            if release["state"] == "retired":
                origin = f": {self._line(_origin(release))}" if _origin(release) else ""
                yield f"  {label:10}  {self._line(release['id'])}, {_age(release, now)}{origin}"
                label = ""

    def _line(self, text: object) -> str:
        return self.presentable(str(text)).replace("\n", " ")


def _troubles(found: Sequence[HostStatus]) -> Iterator[str]:
    """What is not as it should be, a sentence for each kind of trouble."""
    kinds = {
        "Without an answer": [host.host for host in found if host.error],
        "Behind": [host.host for host in found if host.behind],
        "Cut off": [host.host for host in found if host.left_open],
        "Not running": [f"{name} on {host.host}" for host in found for name in _down(host)],
    }
    for kind, names in kinds.items():
        if names:
            yield f"{kind}: {', '.join(names)}."


def _down(status: HostStatus) -> list[str]:
    live = [process for process in status.processes if process["release"] == status.live]
    return [str(process["name"]) for process in live if process["state"] not in UP]


def _origin(release: Mapping[str, Any]) -> str:
    """``shop 1.4, git 3f9c2a1 (main), by anna@laptop``, as far as it is known."""
    name = f"{release.get('project') or ''} {release.get('version') or ''}".strip()
    author = f"by {release['created_by']}" if release.get("created_by") else ""
    return ", ".join(part for part in (name, _revision(release.get("revision")), author) if part)


def _revision(record: object) -> str:
    if not isinstance(record, Mapping):
        return ""
    vcs, id, branch = (str(record.get(key) or "") for key in ("vcs", "id", "branch"))
    return str(Revision(vcs, id, branch, is_dirty=record.get("dirty") is True))


def _age(release: Mapping[str, Any], now: float) -> str:
    created = release.get("created")
    return f"{duration(now - created)} old" if created else "of unknown age"


def _as_event(status: HostStatus) -> Event:
    fields = {
        "error": status.error,
        "live": status.live,
        "behind": status.behind,
        "lock": status.lock,
        "left_open": status.left_open,
        "releases": status.releases,
        "processes": status.processes,
    }
    return Event("host.status", status.host, fields=fields)
