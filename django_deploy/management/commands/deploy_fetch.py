"""``manage.py deploy_fetch TARGET database|media``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings

from django_deploy.exceptions import ConfigError
from django_deploy.host.backups import CALLABLE
from django_deploy.host.backups import NAME as BACKUP_NAME
from django_deploy.management.base import DeployCommand
from django_deploy.management.help_text import with_examples

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

    from django_deploy.retrieval import Fetched
    from django_deploy.target import Target

EXAMPLES = """
  manage.py deploy_fetch production database -o shop.dump
  manage.py deploy_fetch production database --anonymize shop.privacy.anonymize
  manage.py deploy_fetch production database --backup 20261122T212337Z-default
  manage.py deploy_fetch production media
  manage.py deploy_fetch production media --to /srv/media --delete
"""

#: What is done with a dump, by what its name ends with.
LOADING = {
    ".pgdump": "createdb NAME && pg_restore --no-owner --dbname=NAME {file}",
    ".sql.gz": "zcat {file} | mariadb NAME",
}

#: The options that only one of both takes.
DATABASE_OPTIONS = ("output", "database", "backup", "anonymize", "force")
MEDIA_OPTIONS = ("to", "delete")


class Command(DeployCommand):
    """Fetches a dump of a database, or the media files, of a live site to this machine."""

    help = (
        "Fetches a dump of a database of the live site, or its media files, to this machine. Run the "
        "command again to resume an interrupted transfer. Deployments are not held up."
    )
    create_parser = with_examples(EXAMPLES)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("target", help="A key of DEPLOY_TARGETS.")
        parser.add_argument("what", choices=("database", "media"), metavar="database|media")
        database = parser.add_argument_group("of a database")
        database.add_argument("-o", "--output", type=Path, metavar="FILE", help="Where the dump is written.")
        database.add_argument("--database", metavar="ALIAS", help="Which one (default: 'default').")
        database.add_argument("--backup", metavar="BACKUP", help="A backup, as deploy_restore lists them.")
        database.add_argument(
            "--anonymize", metavar="CALLABLE", help="Changes a copy on the host first: 'shop.privacy.blur'."
        )
        database.add_argument("--force", action="store_true", help="Overwrite FILE.")
        media = parser.add_argument_group("of media files")
        media.add_argument("--to", type=Path, metavar="FOLDER", help="Instead of this project's MEDIA_ROOT.")
        media.add_argument("--delete", action="store_true", help="Delete there what the host does not have.")
        parser.add_argument("--json", action="store_true", help="Print one event a line, as JSON.")
        parser.add_argument("--plain", action="store_true", help="Plain lines: no colours, nothing moves.")
        self.add_hosts_argument(parser)

    def handle(self, *, target: str, what: str, json: bool, hosts: str | None, **options: Any) -> None:
        chosen = self.get_target(target, hosts)
        refuse_options(what, options)
        with self.reporting(json=json, options=options) as reporter:
            work = self.fetch_database if what == "database" else self.fetch_media
            found = work(chosen, options, report=reporter, prompts=self.terminal(reporter, json=json))
        if not json and options["verbosity"] > 0:
            self.say(self.presentable(summary(what, found)))

    def fetch_database(self, target: Target, options: dict[str, Any], **how: Any) -> Fetched:
        """A dump; without ``--output`` its name says of what."""
        from django_deploy import retrieval

        wish = retrieval.Wish(options["database"] or "default", options["backup"], options["anonymize"])
        check_names(wish.backup, wish.anonymize)
        output = options["output"]
        parts = (target.name, wish.backup or wish.database, "anonymized" if wish.anonymize else "")
        stem = re.sub(r"[^\w.-]", "_", "-".join(filter(None, parts)))
        found: Fetched = retrieval.fetch_database(
            target, wish, output or Path(stem), is_stem=output is None, force=options["force"], **how
        )
        return found

    def fetch_media(self, target: Target, options: dict[str, Any], **how: Any) -> Fetched:
        """Without ``--to`` into the folder that this project's own settings name."""
        from django_deploy import retrieval

        folder = options["to"] or settings.MEDIA_ROOT
        if not folder:
            raise ConfigError("These settings have no MEDIA_ROOT.", remedy="Say where to: --to FOLDER.")
        found: Fetched = retrieval.fetch_media_files(target, Path(folder), delete=options["delete"], **how)
        return found


def refuse_options(what: str, options: dict[str, Any]) -> None:
    """``ConfigError`` where an option has no meaning for what is fetched."""
    others = MEDIA_OPTIONS if what == "database" else DATABASE_OPTIONS
    for name in others:
        if options[name]:
            raise ConfigError(f"--{name} says nothing about {what}.")
    if options["database"] and options["backup"]:
        raise ConfigError("A backup is of one database: say --backup or --database.")


def check_names(backup: str | None, anonymize: str | None) -> None:
    """``ConfigError`` for what nothing on a host can be called."""
    if backup is not None and not BACKUP_NAME.fullmatch(backup):
        raise ConfigError(f"{backup!r} is no backup.", remedy="deploy_restore lists them.")
    if anonymize is not None and not CALLABLE.fullmatch(anonymize):
        raise ConfigError(
            f"--anonymize {anonymize!r} is no dotted path to a callable.",
            remedy="Say where it is, as 'shop.privacy.anonymize'.",
        )


def summary(what: str, found: Fetched) -> str:
    """What came of it, and what can be done with it."""
    if what == "database":
        loading = LOADING.get(found.suffix)
        return f"To load it: {loading.format(file=found.path)}" if loading else "It is a SQLite database."
    deleted = f", {found.deleted} deleted" if found.deleted else ""
    return f"Files: {found.files} fetched, {found.same} the same already{deleted}."
