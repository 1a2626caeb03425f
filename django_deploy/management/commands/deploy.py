"""``manage.py deploy TARGET``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django_deploy import conf
from django_deploy.exceptions import ConfigError, DeployError, RolloutFailed
from django_deploy.host.protocol import Event
from django_deploy.management import model_changes
from django_deploy.management.base import DeployCommand, Terminal
from django_deploy.management.help_text import with_examples
from django_deploy.management.signalling import announce, tell_of, telling_of_failure
from django_deploy.reading.keys import warnings_of

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

    from django_deploy.origins import Origin
    from django_deploy.plan.model import Plan
    from django_deploy.reporters.plain import Reporter
    from django_deploy.target import Target

EXAMPLES = """
  manage.py deploy                      the targets that there are
  manage.py deploy --plan staging
  manage.py deploy --yes --wait 600 staging
  manage.py deploy --promote staging production
"""


class Command(DeployCommand):
    """Deploys, shows what it would change, or lists the targets."""

    help = (
        "Puts this project, and every distribution as it is installed here, on the hosts of a target. "
        "Exit status: 0 live on every host, 1 failed and reverted, 2 wrong settings or arguments, "
        "3 failed and not reverted on every host, 130 interrupted and reverted."
    )
    create_parser = with_examples(EXAMPLES, are_mixed=False)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("target", nargs="?", help="A key of DEPLOY_TARGETS; without it they are listed.")
        parser.add_argument("--plan", action="store_true", help="Show what would change, and change nothing.")
        parser.add_argument("--yes", action="store_true", help="Do not ask before anything is changed.")
        parser.add_argument(
            "--json", action="store_true", help="Print one event a line, as JSON; asks nothing."
        )
        self.add_view_arguments(parser)
        parser.add_argument(
            "--allow-breaking",
            action="store_true",
            help="Apply migrations even if they break the live release.",
        )
        self.add_host_arguments(parser)
        origins = parser.add_mutually_exclusive_group()
        origins.add_argument(
            "--revision",
            metavar="REV",
            help="Build the project from this revision (git, Mercurial).",
        )
        origins.add_argument(
            "--bundle", type=Path, metavar="FILE", help="Deploy this file, which deploy_bundle has written."
        )
        origins.add_argument("--promote", metavar="FROM", help="Deploy the very bundle that is live there.")

    def handle(
        self,
        *,
        target: str | None,
        plan: bool,
        yes: bool,
        json: bool,
        allow_breaking: bool,
        hosts: str | None,
        skip_unreachable: bool,
        wait: float | None,
        **options: Any,
    ) -> None:
        from django_deploy import deployment

        if target is None:
            return self.list_targets(json=json)
        chosen = self.get_target(target, hosts, wait)
        if allow_breaking:
            chosen = replace(chosen, migrations="allow")
        title = f"Deployment of {chosen.name}"
        with self.reporting(json=json, options=options, title=title) as reporter:
            terminal = self.terminal(reporter, json=json)
            if plan:
                return self.preview(chosen, options, reporter, terminal, skip_unreachable=skip_unreachable)
            asks = terminal.is_interactive and not yes
            with telling_of_failure(chosen, reporter, action="deploy"):
                outcome = deployment.deploy(
                    chosen,
                    self.find_checked_origin(chosen, options, reporter, terminal),
                    report=reporter,
                    prompts=terminal,
                    confirm=lambda found: self.confirm(found, reporter, terminal, asks=asks),
                    accept=self.accept(terminal) if asks else None,
                    is_rehearsed=asks,
                    skip_unreachable=skip_unreachable,
                )
            self.done = f"{outcome.release or 'nothing'} is live."
            tell_of(outcome, chosen, reporter)
        if outcome.outcome == "declined":
            raise DeployError("Nothing was deployed, as you wished.")
        return None

    def preview(
        self,
        target: Target,
        options: dict[str, Any],
        reporter: Reporter,
        terminal: Terminal,
        *,
        skip_unreachable: bool,
    ) -> None:
        """Shows the plan; what the hosts would refuse is an error."""
        from django_deploy import deployment

        origin = self.find_checked_origin(target, options, reporter, terminal)
        plan = deployment.preview(
            target, origin, report=reporter, prompts=terminal, skip_unreachable=skip_unreachable
        )
        reporter.show(plan.lines())
        if plan.refusals:
            raise RolloutFailed("Nothing was changed.", errors=plan.refusals)

    def find_checked_origin(
        self, target: Target, options: dict[str, Any], reporter: Reporter, terminal: Terminal
    ) -> Origin:
        """Where the bundle comes from, once all that can be said without it is said."""
        origin = self.find_origin(target, options, terminal)
        for issue in warnings_of(target):
            reporter(Event("warning", fields={"message": str(issue), "remedy": ""}))
        self.check_models(target, options, reporter)
        return origin

    def find_origin(self, target: Target, options: dict[str, Any], terminal: Terminal) -> Origin:
        """Where the bundle comes from: this environment, if the options do not say another place."""
        from django_deploy import origins

        origin: Origin
        if options["bundle"] is not None:
            origin = origins.from_file(target, options["bundle"])
        elif options["promote"] is not None:
            source = conf.get_target(options["promote"])
            if source.name == target.name:
                raise ConfigError(f"{target.name!r} cannot be promoted to itself: name another target.")
            origin = origins.from_target(target, source, prompts=terminal)
        else:
            origin = origins.from_environment(target, options["revision"])
        return origin

    def confirm(self, plan: Plan, reporter: Reporter, terminal: Terminal, *, asks: bool) -> bool:
        """Shows the plan; whoever is to be asked is asked, unless hosts would refuse it anyway."""
        reporter.show(plan.lines())
        if plan.refusals:
            return False
        is_wanted = not asks or terminal.confirm(f"Deploy to {plan.target.name}?", default=True)
        if is_wanted:
            announce(plan)
        return is_wanted

    def check_models(self, target: Target, options: dict[str, Any], reporter: Reporter) -> None:
        """What is deployed from here has a migration for each change of its models."""
        if any(options[name] is not None for name in ("bundle", "promote", "revision")):
            return  # its models are others than those that run here
        try:
            model_changes.check()
        except DeployError as error:
            if target.migrations != "allow":
                raise
            reporter(Event("warning", fields={"message": error.message, "remedy": error.remedy}))

    def accept(self, terminal: Terminal) -> Callable[[Sequence[str]], bool]:
        """Asks once about all operations of migrations that nobody can look into."""

        def ask(operations: Sequence[str]) -> bool:
            about = ["It is unknown whether these migrations break the live release:"]
            about += [f"  {line}" for line in operations]
            return terminal.confirm("Did you read them, and are they to be run?", default=False, about=about)

        return ask

    def list_targets(self, *, json: bool) -> None:
        """Nothing was deployed, so this is no success, lest a script with an empty variable goes on."""
        targets = conf.list_targets()
        if not targets:
            raise conf.nothing_configured()
        if not json:
            name_width = max(len(target.name) for target in targets)
            hosts_width = max(len(target.hosts) for target in targets)
            for target in targets:
                line = f"{target.name:{name_width}}  {target.hosts:{hosts_width}}  {target.root}".rstrip()
                self.say(self.presentable(line))
        raise ConfigError("Name one of the targets: nothing was deployed.")
