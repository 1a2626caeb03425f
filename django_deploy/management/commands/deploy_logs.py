"""``manage.py deploy_logs TARGET [PROCESS]``."""

from __future__ import annotations

import os
import sys
import time
from itertools import cycle
from typing import TYPE_CHECKING, Any

from django.utils.termcolors import make_style

from django_deploy.exceptions import ConfigError, DeployError
from django_deploy.host.logs import MAX_LINES
from django_deploy.host.protocol import Event
from django_deploy.management.base import DeployCommand
from django_deploy.management.help_text import with_examples
from django_deploy.reporters.text import LONGEST_STRING, local_time, printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.core.management.base import CommandParser

    from django_deploy.target import Target

EXAMPLES = """
  manage.py deploy_logs staging                 the last lines of all processes
  manage.py deploy_logs staging web --follow    until Ctrl-C, across deployments
  manage.py deploy_logs staging --since 10m --lines 5000
  manage.py deploy_logs staging worker --since 2026-11-28T22:40 --hosts 'jobs*'
"""

#: Each host's, in turn; readable on light and dark.
COLORS = ("cyan", "magenta", "green", "yellow", "blue")


class Command(DeployCommand):
    """Shows what the processes of the live release write; changes nothing."""

    help = (
        "Shows what the processes of a target's live release have written, of all hosts in the order of "
        "time, each line with its time, host and process. Exit status 1 when a host could not be read."
    )
    create_parser = with_examples(EXAMPLES)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("target", help="A key of DEPLOY_TARGETS.")
        parser.add_argument("process", nargs="?", help="A key of PROCESSES, or web.2 (default: all).")
        parser.add_argument("-f", "--follow", action="store_true", help="Go on until Ctrl-C.")
        parser.add_argument("--since", metavar="TIME", help="10m, 2h, 1d, or a time: 2026-11-28T22:40.")
        parser.add_argument(
            "-n", "--lines", type=int, default=None, help="Of each host at most (default: 100, all --since)."
        )
        parser.add_argument("--release", metavar="ID", help="Another one than the live release.")
        parser.add_argument("--json", action="store_true", help="Print one event a line, as JSON.")
        self.add_hosts_argument(parser)

    def handle(self, *, target: str, hosts: str | None, json: bool, follow: bool, **options: Any) -> None:
        from django_deploy.logs import Query, parse_since, read_logs

        chosen = self.get_target(target, hosts)
        since = parse_since(options["since"], time.time()) if options["since"] else None
        query = Query(options["process"], options["release"], _lines(options["lines"], since), since)
        failures: list[DeployError] = []

        def fail(error: DeployError) -> None:
            failures.append(error)
            self.stderr.write(self.presentable(str(error)))

        with self.reporting(json=json, options={**options, "verbosity": 0}) as reporter:
            show = reporter if json else self.printer(chosen)
            terminal = self.terminal(reporter, json=json)
            try:
                read_logs(chosen, query, report=show, fail=fail, prompts=terminal, follow=follow)
            except KeyboardInterrupt:
                if not follow:
                    raise
            except BrokenPipeError:
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if failures:
                raise DeployError(f"Not read: {', '.join(sorted(map(_host, failures)))}.")

    def printer(self, target: Target) -> Callable[[Event], None]:
        """Writes a line for people: its time here, its host where there are several, its process."""
        names = [host.name for host in target.hosts]
        colors = dict(zip(names, cycle(COLORS), strict=False)) if self.has_color() else {}
        width = max(map(len, names))

        def show(event: Event) -> None:
            at = local_time(event.at) if event.at else "-" * 19
            host = f" {event.host:{width}}" if len(names) > 1 else ""
            head = f"{at}{printable(host)} {printable(event['process'])}"
            if event.host in colors:
                head = make_style(fg=colors[event.host])(head)
            self.say(f"{head}  {self.secrets.clean(event['line'], LONGEST_STRING)}")

        return show


def _lines(wanted: int | None, since: float | None) -> int:
    if wanted is None:
        return MAX_LINES if since is not None else 100
    if not 0 <= wanted <= MAX_LINES:
        raise ConfigError(f"--lines must be 0 to {MAX_LINES}, not {wanted}.")
    return wanted


def _host(error: DeployError) -> str:
    return printable(getattr(error, "host", ""))
