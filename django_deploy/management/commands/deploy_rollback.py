"""``manage.py deploy_rollback TARGET [RELEASE]``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django_deploy.management.base import DeployCommand
from django_deploy.management.signalling import tell_of

if TYPE_CHECKING:
    from django.core.management.base import CommandParser


class Command(DeployCommand):
    """Goes back to a release that is still on the hosts."""

    help = (
        "Makes an earlier release live again on all hosts of a target. It is started from what is on "
        "the hosts: nothing is built, sent or migrated. Exit status as of 'deploy'."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("target", help="A key of DEPLOY_TARGETS.")
        parser.add_argument("release", nargs="?", help="As deploy_status names it (default: the one before).")
        parser.add_argument("--json", action="store_true", help="Print one event a line, as JSON.")
        self.add_view_arguments(parser)
        self.add_host_arguments(parser)

    def handle(
        self,
        *,
        target: str,
        release: str | None,
        json: bool,
        hosts: str | None,
        skip_unreachable: bool,
        wait: float | None,
        **options: Any,
    ) -> None:
        chosen = self.get_target(target, hosts, wait)
        title = f"Rollback of {chosen.name}"
        with self.reporting(json=json, options=options, title=title) as reporter:
            terminal = self.terminal(reporter, json=json)
            outcome = self.deployment.rollback(
                chosen, release, report=reporter, prompts=terminal, skip_unreachable=skip_unreachable
            )
            tell_of(outcome, chosen, reporter)
