"""``manage.py deploy_restore TARGET [BACKUP]``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django_deploy.exceptions import ConfigError, DeployError
from django_deploy.host.protocol import Event
from django_deploy.management.base import DeployCommand, Terminal
from django_deploy.management.help_text import with_examples

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

    from django_deploy.reporters.plain import Reporter
    from django_deploy.restoration import Backup, Loss
    from django_deploy.target import Target

EXAMPLES = """
  manage.py deploy_restore staging
  manage.py deploy_restore staging 20261122T212337Z-default
"""


class Command(DeployCommand):
    """Lists the backups of a target's databases, or puts one back."""

    help = (
        "Without BACKUP, lists the backups of the target's databases. With one, shows what would be lost, "
        "asks, makes a backup of what is there, and makes the database what it was; visitors see the "
        "maintenance page meanwhile. Exit status 1 when nothing was restored."
    )
    create_parser = with_examples(EXAMPLES)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("target", help="A key of DEPLOY_TARGETS.")
        parser.add_argument("backup", nargs="?", help="Its name, as it is listed.")
        parser.add_argument("--yes", action="store_true", help="Do not ask before it is restored.")
        parser.add_argument("--json", action="store_true", help="Print one event a line, as JSON.")
        self.add_hosts_argument(parser)
        self.add_wait_argument(parser)

    def handle(
        self,
        *,
        target: str,
        backup: str | None,
        yes: bool,
        json: bool,
        hosts: str | None,
        wait: float | None,
        **options: Any,
    ) -> None:
        from django_deploy import restoration

        chosen = self.get_target(target, hosts, wait)
        if backup is None:
            return self.list_backups(chosen, json=json, options=options)
        with self.reporting(json=json, options=options) as reporter:
            terminal = self.terminal(reporter, json=json)
            if not (yes or terminal.is_interactive):
                raise ConfigError(
                    "Nothing was restored: there is no terminal to ask at.",
                    remedy="Say --yes if what came after the backup may be lost.",
                )
            outcome = restoration.restore(
                chosen,
                backup,
                report=reporter,
                prompts=terminal,
                confirm=lambda loss: self.confirm(loss, reporter, terminal, yes=yes),
            )
        if outcome.outcome == "declined":
            raise DeployError("Nothing was restored, as you wished.")
        return None

    def confirm(self, loss: Loss, reporter: Reporter, terminal: Terminal, *, yes: bool) -> bool:
        """Shows what would be lost; whoever sits at a terminal is asked, unless with ``--yes``."""
        reporter.show(loss.lines())
        return yes or terminal.confirm("Restore it, and lose that?", default=False)

    def list_backups(self, target: Target, *, json: bool, options: dict[str, Any]) -> None:
        from django_deploy import restoration

        with self.reporting(json=json, options={**options, "verbosity": 0}) as reporter:
            found, errors = restoration.backups(target, prompts=self.terminal(reporter, json=json))
            if json:
                for backup in found:
                    reporter(_event(backup))
            else:
                for backup in found:
                    self.say(self.presentable(_line(backup, several=len(target.hosts) > 1)))
                if not found and not errors:
                    self.say(f"There are no backups of {target.name}. BACKUP in its settings makes them.")
        if errors:
            raise DeployError("\n".join(map(str, errors)))


def _line(backup: Backup, *, several: bool) -> str:
    from django_deploy.reporters.text import local_time, size

    made = local_time(backup.at)
    where = f", on {backup.host}" if several else ""
    return f"{backup.name}  {made}  {size(backup.size):>9}  {backup.place}, ahead of {backup.before}{where}"


def _event(backup: Backup) -> Event:
    fields = {
        "name": backup.name,
        "database": backup.alias,
        "place": backup.place,
        "before": backup.before,
        "release": backup.release,
        "bytes": backup.size,
    }
    return Event("host.backup", backup.host, backup.at, fields)
