"""``manage.py deploy_init [TARGET]``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from django.conf import settings

from django_deploy import conf
from django_deploy.exceptions import ConfigError, DeployError
from django_deploy.management.base import DeployCommand, Terminal
from django_deploy.management.help_text import with_examples
from django_deploy.management.proposals import (
    Answers,
    Proposal,
    Proposed,
    environment_names,
    propose,
    variable_here,
)
from django_deploy.management.survey import Survey, survey
from django_deploy.target import LOCAL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.core.management.base import CommandParser

EXAMPLES = """
  manage.py deploy_init staging --host deploy@staging.example.com
"""


class Command(DeployCommand):
    """Looks at the project and proposes what it needs to be deployed, as diffs."""

    help = (
        "Looks at the project, and proposes an entry of DEPLOY_TARGETS, what the settings need on a server "
        "and a URL for the health check. Each change is shown as a diff and asked about; without a terminal "
        "nothing is written, unless with --yes."
    )
    create_parser = with_examples(EXAMPLES, are_mixed=False)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("target", nargs="?", default="staging", help="Its name (default: staging).")
        parser.add_argument(
            "--host",
            action="append",
            dest="hosts",
            metavar="USER@HOST",
            help="Where it goes, or 'local'; may be given several times.",
        )
        parser.add_argument("--root", help="The folder there (default: /srv/ and the project's name).")
        parser.add_argument(
            "--domain",
            help="What visitors type; deploy_setup then puts Caddy in front of the site, with HTTPS.",
        )
        parser.add_argument("--yes", action="store_true", help="Make the changes without asking.")

    def handle(
        self,
        *,
        target: str,
        hosts: list[str] | None,
        root: str | None,
        domain: str | None,
        yes: bool,
        **options: Any,
    ) -> None:
        names = [known.name for known in conf.list_targets()]
        if target in names:
            raise ConfigError(f"DEPLOY_TARGETS has a target {target!r} already: edit it there.")
        with self.reporting(json=False, options={**options, "plain": True}) as reporter:
            terminal = self.terminal(reporter, json=False)
            facts = survey()
            hosts = hosts or self.ask_for_host(target, terminal)
            root = root or f"/srv/{facts.name}"
            answers = Answers(target, tuple(map(_without_root, hosts)), root, domain or "")
            proposed = propose(facts, answers, has_targets=hasattr(settings, "DEPLOY_TARGETS"))
            self.validate(answers, proposed)
            self.tell_of(facts)
            written = [self.offer(change, terminal, yes=yes) for change in proposed.changes]
            self.conclude(facts, answers, written)

    def ask_for_host(self, target: str, terminal: Terminal) -> list[str]:
        host = terminal.ask(f"Where does {target} live? (its address, or user@address)")
        if not host:
            raise ConfigError("Where does it go?", remedy="Say it with --host USER@HOST, or --host local.")
        return [host]

    def validate(self, answers: Answers, proposed: Proposed) -> None:
        """A target that the system checks would refuse is not written; also not for its visitors' domain."""
        domain = {"DOMAIN": answers.domain} if answers.domain else {}
        conf.check_entry(answers.target, {**proposed.entry, **domain})

    def tell_of(self, facts: Survey) -> None:
        """Which settings servers run, where these are others."""
        if facts.server is not None:
            name = os.path.relpath(facts.server.named_by)
            text = f"{name} names the settings {facts.server.module}, manage.py {facts.settings_module}."
            self.say(self.presentable(text))
            self.say("The target gets the former; DEPLOY_TARGETS stands in the latter.")
            self.say()

    def offer(self, proposal: Proposal, terminal: Terminal, *, yes: bool) -> bool:
        """Show a change and make it if it is wanted; gives whether it was made."""
        for line in proposal.diff():
            self.say(self.presentable(line))
        self.say()
        if yes or terminal.confirm(f"Change {proposal.file.name} like this?", default=True):
            proposal.write()
            return True
        return False

    def conclude(self, facts: Survey, answers: Answers, written: Sequence[bool]) -> None:
        if not all(written):
            message = "Not everything was written." if any(written) else "Nothing was written."
            raise DeployError(message, remedy="With --yes all of it is, without a question.")
        self.say("Now:")
        if facts.lacking:
            self.say(f"  pip install {' '.join(facts.lacking)}")
        for name in environment_names(facts):
            if name != "ALLOWED_HOSTS":
                self.say(f"  export {variable_here(name, answers)}={_value(name)}")
        if LOCAL not in answers.hosts:
            self.say(f"  python manage.py deploy_setup {answers.target}    # a new server, once")
        self.say(f"  python manage.py deploy --plan {answers.target}")
        self.say(f"  python manage.py deploy {answers.target}")


def _without_root(host: str) -> str:
    """A site belongs to a user of its own, whom ``deploy_setup`` makes: it logs in as root by itself."""
    return host.removeprefix("root@")


def _value(name: str) -> str:
    """Where a shell gets the variable from; a secret is kept, as another one ends all sessions."""
    if name != "SECRET_KEY":
        return "..."
    return "\"$(python -c 'import secrets; print(secrets.token_urlsafe(50))')\"    # once; keep its value"
