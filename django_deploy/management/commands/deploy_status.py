"""``manage.py deploy_status TARGET``."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from django_deploy.exceptions import ConfigError, DeployError
from django_deploy.host.protocol import Event, ignore
from django_deploy.host.transaction_journal import CONFIRM
from django_deploy.management.base import DeployCommand
from django_deploy.management.help_text import with_examples
from django_deploy.management.origin import origin
from django_deploy.reporters.sentences import holder_in_words
from django_deploy.reporters.text import count, cut, duration, local_time
from django_deploy.wording import first_of

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

    from django_deploy.management.base import Terminal
    from django_deploy.reporters.plain import Reporter
    from django_deploy.status import HostStatus
    from django_deploy.target import Target

EXAMPLES = """
  manage.py deploy_status staging
  manage.py deploy_status staging --watch 2
"""

#: The states in which a process serves, or soon will.
UP = frozenset({"running", "starting"})


class Command(DeployCommand):
    """Says what every host of a target serves; changes nothing."""

    help = (
        "Shows for each host of a target: the live release, its age and revision, who deployed it, who "
        "is deploying now, the state of its processes, and the releases that deploy_rollback can go back "
        "to. Exit status 1 when a host does not answer, is behind the others, has a process that is down "
        "or an interrupted deployment."
    )
    create_parser = with_examples(EXAMPLES)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("target", help="A key of DEPLOY_TARGETS.")
        parser.add_argument(
            "--watch",
            type=float,
            nargs="?",
            const=5.0,
            metavar="SECONDS",
            help="Look again every 5 or so many seconds, until Ctrl-C.",
        )
        parser.add_argument("--json", action="store_true", help="Print one host a line, as JSON.")
        self.add_hosts_argument(parser)

    def handle(
        self, *, target: str, watch: float | None, json: bool, hosts: str | None, **options: Any
    ) -> None:
        from django_deploy import status

        chosen = self.get_target(target, hosts)
        with self.reporting(json=json, options={**options, "verbosity": 0}) as reporter:
            terminal = self.terminal(reporter, json=json)
            if watch is not None:
                return self.watch(chosen, watch, terminal, reporter if json else None)
            found = status.look(chosen, report=ignore, prompts=terminal)
            self.show(found, reporter if json else None)
            if troubles := list(_troubles(found)):
                raise DeployError(" ".join(troubles))
        return None

    def show(self, found: Sequence[HostStatus], reporter: Reporter | None) -> None:
        for host in found:
            if reporter is not None:
                reporter(_as_event(host))
            else:
                self.say("\n".join(self.describe(host, time.time())))

    def watch(self, target: Target, seconds: float, terminal: Terminal, reporter: Reporter | None) -> None:
        """Until Ctrl-C, which is how it ends; at a terminal in place."""
        from django_deploy import status

        if not 1 <= seconds <= 3600:
            raise ConfigError(f"--watch must be 1 to 3600 seconds, not {seconds:g}.")
        try:
            for found in status.watch(target, prompts=terminal):
                if reporter is None and self.stdout.isatty():
                    self.draw(target, found)
                else:
                    self.show(found, reporter)
                    self.stdout.flush()
                time.sleep(seconds)
        except KeyboardInterrupt:
            return

    def draw(self, target: Target, found: Sequence[HostStatus]) -> None:
        """Over what was drawn before. Where hosts do not fit, each has a line, those in trouble first."""
        now, (width, height) = time.time(), shutil.get_terminal_size()
        troubles = " ".join(_troubles(found)) or "All is well."
        style = self.style.SUCCESS if troubles == "All is well." else self.style.ERROR
        head = f"{target.name} at {local_time(now, '%H:%M:%S')}. {style(self._line(troubles))}"
        lines = [line for host in found for line in self.describe(host, now)]
        room = height - 3  # beside the head and the last line, where the cursor waits, one line down
        if len(lines) > room:
            lines = [*self._briefly(found, now)]
        if len(lines) > room:
            lines = first_of(lines, room - 1)
        # From the top, and nothing of before below; letters that are two columns wide do not make a line two.
        drawn = "".join(f"{cut(line, width)}\x1b[K\n" for line in (head, *lines))
        self.say(f"\x1b[H\x1b[?7l{drawn}\x1b[J\x1b[?7h")

    def _briefly(self, found: Sequence[HostStatus], now: float) -> Iterator[str]:
        """A line for each host; first those that are not as they should be."""
        width = max(len(self.presentable(host.host)) for host in found)
        for host in sorted(found, key=lambda host: not any(_troubles([host]))):
            name = self.style.MIGRATE_HEADING(self._line(host.host).ljust(width))
            yield f"{name}  {self._state(host, now)}"

    def _state(self, status: HostStatus, now: float) -> str:
        if status.error:
            return self.style.ERROR(self._error(status)[0])
        live = _live_release(status)
        state = f"{self._line(live['id'])}, {_age(live, now)}" if live else "nothing yet"
        marks = {
            "behind": status.behind,
            "locked": status.lock,
            "maintenance on": status.maintenance is not None,
            "interrupted": _is_cut_off(status),
        }
        marked = [mark for mark, is_so in marks.items() if is_so]
        marked += [f"{self._line(name)} not running" for name in _down(status)]
        return "; ".join([state, *map(self.style.WARNING, marked)])

    def describe(self, status: HostStatus, now: float) -> Iterator[str]:
        """One host for people; ``now`` is in seconds since the epoch."""
        yield self.style.MIGRATE_HEADING(self.presentable(status.host))
        if status.error:
            yield from (f"  {self.style.ERROR(line)}" for line in self._error(status))
            return
        yield from self._live(status, now)
        yield from self._deployments(status, now)
        yield from self._processes(status, now)
        yield from self._earlier(status, now)

    def _live(self, status: HostStatus, now: float) -> Iterator[str]:
        live = _live_release(status)
        if live is None:
            yield "  live        nothing yet"
            return
        yield f"  live        {self._line(live['id'])}, {_age(live, now)}"
        yield f"              {self._line(origin(live))}"

    def _deployments(self, status: HostStatus, now: float) -> Iterator[str]:
        """What has not reached this host, who is at work there, and what somebody did not end."""
        if status.behind:
            yield f"  {self.style.WARNING(f'behind      {self._line(status.behind)} is live elsewhere')}"
        if status.lock:
            yield f"  locked      {self._line(holder_in_words(status.lock, now))}"
        if status.maintenance is not None:
            text = f"maintenance on{_since(status.maintenance, now)}: visitors see that page"
            yield f"  {self.style.WARNING(self._line(text))}"
        if status.left_open and not _is_cut_off(status):
            text = "what ran before it, at the very end: the next deployment clears it"
            yield f"  {self.style.WARNING(f'left        {text}')}"
        elif status.left_open:
            release, phase = (self._line(status.left_open[key]) for key in ("release", "phase"))
            text = f"{release}, in the phase {phase}; the next deployment fixes it"
            yield f"  {self.style.ERROR(f'interrupted {text}')}"

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
                made = f": {self._line(origin(release))}" if origin(release) else ""
                was = "; you went back from it" if release.get("given_up") else ""
                yield f"  {label:10}  {self._line(release['id'])}, {_age(release, now)}{made}{was}"
                label = ""

    def _error(self, status: HostStatus) -> list[str]:
        """Why a host did not answer, a line each; which one it is stands before them."""
        return self.presentable(status.error).removeprefix(f"{status.host}: ").splitlines()

    def _line(self, text: object) -> str:
        return self.presentable(str(text)).replace("\n", " ")


def _troubles(found: Sequence[HostStatus]) -> Iterator[str]:
    """What is not as it should be, a sentence for each kind of trouble."""
    kinds = {
        "Without an answer": [host.host for host in found if host.error],
        "Behind": [host.host for host in found if host.behind],
        "Interrupted": [host.host for host in found if _is_cut_off(host)],
        "Not running": [f"{name} on {host.host}" for host in found for name in _down(host)],
    }
    for kind, names in kinds.items():
        if names:
            yield f"{kind}: {', '.join(names)}."


def _live_release(status: HostStatus) -> Mapping[str, Any] | None:
    return next((release for release in status.releases if release["id"] == status.live), None)


def _is_cut_off(status: HostStatus) -> bool:
    """Before its release was confirmed; after that all visitors have it, and only the clearing is missing."""
    return status.left_open is not None and status.left_open["phase"] != CONFIRM


def _down(status: HostStatus) -> list[str]:
    live = [process for process in status.processes if process["release"] == status.live]
    return [str(process["name"]) for process in live if process["state"] not in UP]


def _since(notice: Mapping[str, Any], now: float) -> str:
    since, by = notice.get("since"), notice.get("by")
    age = f" for {duration(max(now - since, 0.0))}" if isinstance(since, (int, float)) else ""
    return f"{age}, by {by}" if by else age


def _age(release: Mapping[str, Any], now: float) -> str:
    created = release.get("created")
    return f"{duration(now - created)} old" if created else "of unknown age"


def _as_event(status: HostStatus) -> Event:
    fields = {
        "error": status.error,
        "live": status.live,
        "behind": status.behind,
        "lock": status.lock,
        "maintenance": status.maintenance,
        "left_open": status.left_open,
        "releases": status.releases,
        "processes": status.processes,
    }
    return Event("host.status", status.host, fields=fields)
