"""``manage.py deploy_rollback TARGET [RELEASE]``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from django_deploy.management.base import DeployCommand, Terminal
from django_deploy.management.help_text import with_examples
from django_deploy.management.signalling import tell_of, telling_of_failure

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

EXAMPLES = """
  manage.py deploy_rollback staging
  manage.py deploy_rollback staging 20261122T174500Z-3f9c2a1
"""


class Command(DeployCommand):
    """Goes back to a release that is still on the hosts."""

    help = (
        "Makes an earlier release live again on all hosts of a target. It is started from what is on "
        "the hosts: nothing is built or sent. Migrations that it cannot work with are reversed if "
        "you say so. Exit status as of 'deploy'."
    )
    create_parser = with_examples(EXAMPLES, are_mixed=False)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("target", help="A key of DEPLOY_TARGETS.")
        parser.add_argument("release", nargs="?", help="As deploy_status names it (default: the one before).")
        way = parser.add_mutually_exclusive_group()
        way.add_argument(
            "--reverse-migrations",
            action="store_true",
            help="Reverse the migrations that the release cannot work with, without asking.",
        )
        way.add_argument(
            "--keep-migrations",
            action="store_true",
            help="Leave the database as it is, even if the release cannot use it.",
        )
        parser.add_argument(
            "--allow-breaking",
            action="store_true",
            help="Going forward: apply its migrations even if they break the live release.",
        )
        parser.add_argument("--json", action="store_true", help="Print one event a line, as JSON.")
        self.add_view_arguments(parser)
        self.add_host_arguments(parser)

    def handle(
        self,
        *,
        target: str,
        release: str | None,
        reverse_migrations: bool,
        keep_migrations: bool,
        allow_breaking: bool,
        json: bool,
        hosts: str | None,
        skip_unreachable: bool,
        wait: float | None,
        **options: Any,
    ) -> None:
        from django_deploy import deployment

        chosen = self.get_target(target, hosts, wait)
        if allow_breaking:
            chosen = replace(chosen, migrations="allow")
        title = f"Rollback of {chosen.name}"
        with self.reporting(json=json, options=options, title=title) as reporter:
            terminal = self.terminal(reporter, json=json)
            with telling_of_failure(chosen, reporter, action="rollback"):
                outcome = deployment.rollback(
                    chosen,
                    release,
                    report=reporter,
                    prompts=terminal,
                    take_back=None if keep_migrations else self.take_back(terminal, reverse_migrations),
                    skip_unreachable=skip_unreachable,
                )
            self.done = f"{outcome.release} is live."
            tell_of(outcome, chosen, reporter)

    def take_back(self, terminal: Terminal, is_wanted: bool) -> Callable[[Sequence[Mapping[str, Any]]], bool]:
        """Asks whoever sits at a terminal, who has been shown what it loses."""

        def ask(reversals: Sequence[Mapping[str, Any]]) -> bool:
            names = [name for reversal in reversals for name in reversed(reversal["needed"])]
            about = ["These migrations have to be reversed, which loses what is listed above:"]
            about += [f"  {name}" for name in names]
            return is_wanted or terminal.confirm("Reverse them?", default=False, about=about)

        return ask
