"""``manage.py deploy_env TARGET``."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from getpass import getpass
from typing import TYPE_CHECKING, Any

from django_deploy.exceptions import ConfigError, DeployError
from django_deploy.host.protocol import Event
from django_deploy.management.base import DeployCommand
from django_deploy.management.help_text import with_examples
from django_deploy.reading.environment import check_variable
from django_deploy.reporters.secrets import Secrets
from django_deploy.target import Target

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

EXAMPLES = """
  manage.py deploy_env staging                    names, and where they are set
  manage.py deploy_env staging --set SENTRY_DSN   asks for the value
  manage.py deploy_env staging --set SENTRY_DSN < dsn.txt
  manage.py deploy_env staging --unset SENTRY_DSN
"""


class Command(DeployCommand):
    """Lists the names of the site's environment, or changes what is set on the hosts."""

    help = (
        "Lists the names of the variables that the site has from the target's ENV, and of those that are "
        "set on its hosts; never a value. --set and --unset change the latter: the live release is "
        "started with them next to the old processes, and takes over when it is healthy. Exit status as of "
        "'deploy'."
    )
    create_parser = with_examples(EXAMPLES)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("target", help="A key of DEPLOY_TARGETS.")
        parser.add_argument(
            "--set",
            metavar="NAME",
            action="append",
            default=[],
            help="Set it on the hosts; the value is asked for, or read from a pipe.",
        )
        parser.add_argument(
            "--unset", metavar="NAME", action="append", default=[], help="May be given several times."
        )
        parser.add_argument("--json", action="store_true", help="Print one event a line, as JSON.")
        self.add_host_arguments(parser)

    def handle(
        self,
        *,
        target: str,
        set: list[str],
        unset: list[str],
        json: bool,
        hosts: str | None,
        skip_unreachable: bool,
        wait: float | None,
        **options: Any,
    ) -> None:
        from django_deploy import upkeep

        chosen = self.get_target(target, hosts, wait)
        if len(set) > 1:
            raise ConfigError("--set takes one variable at a time, as there is one value to be read.")
        if not set and not unset:
            self.list_names(chosen, json=json, options=options)
            return
        values = {name: self.read_value(name) for name in set}
        self.secrets = Secrets(chosen, values.values())
        with self.reporting(json=json, options=options) as reporter:
            terminal = self.terminal(reporter, json=json)
            upkeep.change_environment(
                chosen, values, unset, report=reporter, prompts=terminal, skip_unreachable=skip_unreachable
            )

    def read_value(self, name: str) -> str:
        """From the terminal, twice and unseen; or all of standard input without its last end of line."""
        check_variable(name, "")
        if sys.stdin is not None and sys.stdin.isatty():
            value = getpass(f"Value of {name}: ")
            if value != getpass("Once more: "):
                raise DeployError("These were two different values: nothing was changed.")
        else:
            value = sys.stdin.read() if sys.stdin is not None else ""
            value = value.removesuffix("\n").removesuffix("\r")
        check_variable(name, value)
        if not value:
            raise ConfigError(f"The value of {name} is empty.", remedy=f"To remove it: --unset {name}")
        return value

    def list_names(self, target: Target, *, json: bool, options: Mapping[str, Any]) -> None:
        from django_deploy import upkeep

        with self.reporting(json=json, options={**options, "verbosity": 0}) as reporter:
            terminal = self.terminal(reporter, json=json)
            found = upkeep.environment(target, prompts=terminal)
            told = {host: names for host, names in found if not isinstance(names, DeployError)}
            if json:
                for host, names in told.items():
                    fields = {"settings": names["settings"], "on_host": names["host"]}
                    reporter(Event("host.environment", host, fields=fields))
            else:
                for line in _lines(target, told):
                    self.say(self.presentable(line))
        silent = [str(error) for _, error in found if isinstance(error, DeployError)]
        if silent:
            raise DeployError("\n".join(silent))


def _lines(target: Target, told: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A name a line, and its origin; with hosts, where these differ."""
    names = sorted({*target.env, *(name for hosts in told.values() for key in hosts for name in hosts[key])})
    width = max(map(len, names), default=0)
    return [f"{name:{width}}  {_origin(name, target, told)}" for name in names]


def _origin(name: str, target: Target, told: Mapping[str, Mapping[str, Any]]) -> str:
    on = [host for host, names in told.items() if name in names["host"]]
    live = [host for host, names in told.items() if name in names["settings"]]
    parts = []
    if on:
        parts.append("set on the hosts" if len(on) == len(told) else f"set on {', '.join(on)}")
    if live:
        parts.append("settings" if not on else "instead of the settings'")
    if name in target.env and len(live) < len(told):
        parts.append("settings, from the next deployment on")
    if live and name not in target.env:
        parts.append("not in the settings any more")
    return ", ".join(parts)
