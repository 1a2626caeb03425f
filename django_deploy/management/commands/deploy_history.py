"""``manage.py deploy_history TARGET``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django_deploy.exceptions import ConfigError, DeployError
from django_deploy.host.history import MAX_ENTRIES
from django_deploy.host.protocol import EVENTS, Event
from django_deploy.management.base import DeployCommand
from django_deploy.management.help_text import with_examples
from django_deploy.management.origin import origin
from django_deploy.reporters.text import local_time

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

EXAMPLES = """
  manage.py deploy_history staging
  manage.py deploy_history staging --lines 100 --json
"""

#: One deployment is confirmed on all its hosts within this time, in seconds.
TOGETHER = 120.0


@dataclass
class Deed:
    """What was done at one time, and on which hosts; the fields are those of the first host's entry."""

    fields: Mapping[str, Any]
    hosts: list[str] = field(default_factory=list)

    def is_of(self, entry: Mapping[str, Any]) -> bool:
        same = all(self.fields.get(name) == entry.get(name) for name in ("action", "release", "by"))
        return same and abs(self.fields["at"] - entry["at"]) < TOGETHER


class Command(DeployCommand):
    """Says what became live when, and by whom; changes nothing."""

    help = (
        "Shows what became live on the hosts of a target: deployments, rollbacks, restarts, changes of the "
        "environment; when, by whom, and on which hosts; the newest first. Exit status 1 when a host does "
        "not answer."
    )
    create_parser = with_examples(EXAMPLES)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("target", help="A key of DEPLOY_TARGETS.")
        parser.add_argument("-n", "--lines", type=int, default=20, help="So many of each host (default: 20).")
        parser.add_argument(
            "--json", action="store_true", help="Print one entry of one host a line, as JSON."
        )
        self.add_hosts_argument(parser)

    def handle(self, *, target: str, lines: int, json: bool, hosts: str | None, **options: Any) -> None:
        from django_deploy import upkeep

        if not 1 <= lines <= MAX_ENTRIES:
            raise ConfigError(f"--lines must be 1 to {MAX_ENTRIES}, not {lines}.")
        chosen = self.get_target(target, hosts)
        with self.reporting(json=json, options={**options, "verbosity": 0}) as reporter:
            terminal = self.terminal(reporter, json=json)
            found = upkeep.history(chosen, lines, prompts=terminal)
            told = {host: entries for host, entries in found if not isinstance(entries, DeployError)}
            if json:
                for event in _events(told):
                    reporter(event)
            else:
                for deed in _merge(told)[:lines]:
                    self.say(self.describe(deed, everywhere=len(told)))
        silent = [str(error) for _, error in found if isinstance(error, DeployError)]
        if silent:
            raise DeployError("\n".join(silent))

    def describe(self, deed: Deed, *, everywhere: int) -> str:
        entry = deed.fields
        at = local_time(entry["at"])
        made = origin({**entry, "created_by": None})
        parts = [f"{at}  {entry.get('action') or '?':11}  {entry.get('release')}"]
        parts += [part for part in (made, f"by {entry.get('by') or 'somebody'}") if part]
        if len(deed.hosts) < everywhere:
            parts.append(f"on {', '.join(deed.hosts)}")
        if left_out := entry.get("left_out"):
            parts.append(f"without {', '.join(map(str, left_out))}")
        return self.presentable(", ".join(parts)).replace("\n", " ")


def _events(told: Mapping[str, Iterable[Mapping[str, Any]]]) -> list[Event]:
    events = [
        Event("history.entry", host, entry["at"], {name: entry.get(name) for name in FIELDS})
        for host, entries in told.items()
        for entry in entries
    ]
    return sorted(events, key=lambda event: event.at, reverse=True)


FIELDS = tuple(EVENTS["history.entry"].split())


def _merge(told: Mapping[str, Iterable[Mapping[str, Any]]]) -> list[Deed]:
    """One deed for what was one deployment of several hosts, newest first."""
    deeds: list[Deed] = []
    for host, entry in sorted(_pairs(told), key=lambda pair: pair[1]["at"], reverse=True):
        deed = next((deed for deed in deeds if deed.is_of(entry) and host not in deed.hosts), None)
        if deed is None:
            deeds.append(deed := Deed(entry))
        deed.hosts.append(host)
    return deeds


def _pairs(told: Mapping[str, Iterable[Mapping[str, Any]]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for host, entries in told.items():
        for entry in entries:
            yield host, entry
