"""``manage.py deploy_maintenance TARGET on|off``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django_deploy.exceptions import ConfigError
from django_deploy.management.base import DeployCommand
from django_deploy.management.help_text import with_examples

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

EXAMPLES = """
  manage.py deploy_maintenance staging on
  manage.py deploy_maintenance staging on --message "Back at 23:30."
  manage.py deploy_maintenance staging off
"""

#: The page is for minutes and hours, in seconds.
LATEST = 7 * 24 * 3600


class Command(DeployCommand):
    """Shows the visitors of a site a page instead of it, and the site again."""

    help = (
        "'on' answers all visitors with a page that says so (status 503), 'off' shows them the site again. "
        "The site goes on behind the page, and may be deployed meanwhile. Exit status 1 when a host could "
        "not be changed."
    )
    create_parser = with_examples(EXAMPLES)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("target", help="A key of DEPLOY_TARGETS.")
        parser.add_argument("state", choices=("on", "off"))
        parser.add_argument("--message", metavar="TEXT", default="", help="What the page says.")
        parser.add_argument(
            "--retry-after", type=int, default=300, metavar="SECONDS", help="For programs (default: 300)."
        )
        parser.add_argument("--json", action="store_true", help="Print one event a line, as JSON.")
        self.add_wait_argument(parser)
        self.add_hosts_argument(parser)

    def handle(
        self,
        *,
        target: str,
        state: str,
        message: str,
        retry_after: int,
        json: bool,
        hosts: str | None,
        wait: float | None,
        **options: Any,
    ) -> None:
        from django_deploy import upkeep

        if not 1 <= retry_after <= LATEST:
            raise ConfigError(f"--retry-after must be 1 to {LATEST} seconds, not {retry_after}.")
        chosen = self.get_target(target, hosts, wait)
        notice = {"message": message[:2000], "retry_after": retry_after} if state == "on" else None
        with self.reporting(json=json, options=options) as reporter:
            terminal = self.terminal(reporter, json=json)
            upkeep.maintain(chosen, notice, report=reporter, prompts=terminal)
            seen = "the maintenance page" if state == "on" else "the site"
            reporter.show([f"Visitors of {chosen.name} see {seen}."])
