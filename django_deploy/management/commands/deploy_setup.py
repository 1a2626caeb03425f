"""``manage.py deploy_setup TARGET``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django_deploy.exceptions import ConfigError, DeployError
from django_deploy.management.base import DeployCommand, Terminal
from django_deploy.management.help_text import with_examples

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

    from django_deploy.provisioning import SetupPlan
    from django_deploy.reporters.plain import Reporter

EXAMPLES = """
  manage.py deploy_setup staging
  manage.py deploy_setup staging --plan > setup.sh   what it would do, to read
  manage.py deploy_setup staging --login admin       a user who may use sudo
"""


class Command(DeployCommand):
    """Makes the hosts of a target ready for their first deployment; twice changes nothing."""

    help = (
        "Makes the hosts of a target ready: the user of the site with your key, ROOT, services that need no "
        "login, and what WEB and DATABASE name. Only what is missing is made. Exit status: 0 ready, 1 not, "
        "2 wrong settings or arguments."
    )
    create_parser = with_examples(EXAMPLES)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("target", help="A key of DEPLOY_TARGETS.")
        parser.add_argument(
            "--plan", action="store_true", help="Print the script that it would run, and change nothing."
        )
        parser.add_argument("--yes", action="store_true", help="Do not ask before anything is changed.")
        parser.add_argument(
            "--login",
            default="root",
            metavar="USER",
            help="Who logs in for it: root, or a user who may use sudo (default: root).",
        )
        parser.add_argument("--json", action="store_true", help="Print one event a line, as JSON.")
        parser.add_argument("--plain", action="store_true", help="Plain lines, on a terminal too.")
        self.add_wait_argument(parser)
        self.add_hosts_argument(parser)

    def handle(
        self,
        *,
        target: str,
        plan: bool,
        yes: bool,
        login: str,
        json: bool,
        hosts: str | None,
        wait: float | None,
        **options: Any,
    ) -> None:
        from django_deploy import provisioning  # late: paramiko comes with it

        if not login or login.startswith("-") or not login.isprintable() or " " in login:
            raise ConfigError(f"--login {login!r} is not the name of a user.")
        chosen = self.get_target(target, hosts, wait)
        if plan:
            options = {**options, "verbosity": 0, "plain": True}
        with self.reporting(json=json, options=options) as reporter:
            terminal = self.terminal(reporter, json=json, is_output_kept=plan)
            if plan:
                plans = provisioning.preview(chosen, login, report=reporter, prompts=terminal)
                if not json:
                    for line in (line for found in plans for line in found.script.splitlines()):
                        self.say(line)  # as it is: nothing is masked in what may be run
                return
            outcome = provisioning.set_up(
                chosen,
                login,
                report=reporter,
                prompts=terminal,
                confirm=lambda plans: self.confirm(plans, reporter, terminal, yes=yes),
            )
        if outcome == "declined":
            raise DeployError("Nothing was changed, as you wished.")

    def confirm(
        self, plans: Sequence[SetupPlan], reporter: Reporter, terminal: Terminal, *, yes: bool
    ) -> bool:
        """Shows what is missing; whoever sits at a terminal is asked, unless with ``--yes``."""
        reporter.show(line for plan in plans for line in plan.lines())
        if yes or not terminal.is_interactive:
            return True
        return terminal.confirm("Make that?", default=True)
