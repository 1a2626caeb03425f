"""``manage.py deploy_restart TARGET [PROCESS]``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django_deploy.exceptions import ConfigError
from django_deploy.management.base import DeployCommand
from django_deploy.management.help_text import with_examples

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

    from django_deploy.target import Target

EXAMPLES = """
  manage.py deploy_restart staging
  manage.py deploy_restart staging worker       stopped and started
"""


class Command(DeployCommand):
    """Starts the processes of the live release again; no request is lost."""

    help = (
        "Starts all processes of the live release again next to the running ones, and moves the traffic when "
        "they are healthy: no request is lost. Nothing is built, sent or migrated. One PROCESS without a "
        "socket is stopped and started, an instance at a time. Exit status as of 'deploy'."
    )
    create_parser = with_examples(EXAMPLES)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("target", help="A key of DEPLOY_TARGETS.")
        parser.add_argument("process", nargs="?", help="A key of PROCESSES, or worker.2 (default: all).")
        parser.add_argument("--json", action="store_true", help="Print one event a line, as JSON.")
        self.add_host_arguments(parser)

    def handle(
        self,
        *,
        target: str,
        process: str | None,
        json: bool,
        hosts: str | None,
        skip_unreachable: bool,
        wait: float | None,
        **options: Any,
    ) -> None:
        from django_deploy import upkeep

        chosen = self.get_target(target, hosts, wait)
        with self.reporting(json=json, options=options) as reporter:
            terminal = self.terminal(reporter, json=json)
            if process is None:
                upkeep.restart(chosen, report=reporter, prompts=terminal, skip_unreachable=skip_unreachable)
            else:
                _refuse_sockets(chosen, process)
                upkeep.restart_process(chosen, process, report=reporter, prompts=terminal)


def _refuse_sockets(target: Target, name: str) -> None:
    for process in target.processes:
        if process.has_socket and name in (process.name, *process.instance_names()):
            raise ConfigError(
                f"{name} answers requests: alone it cannot be restarted without losing any.",
                remedy=f"Restart all that there is, blue and green: manage.py deploy_restart {target.name}",
            )
