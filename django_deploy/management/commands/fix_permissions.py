"""``manage.py fix_permissions``: modes and group of the site's files, missing auth permissions."""

from __future__ import annotations

import grp
import os
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from django_deploy.management.colors import ColoredCommand
from django_deploy.management.help_text import with_examples
from django_deploy.site.permissions import (
    NAMED,
    Fixer,
    Outcome,
    Wanted,
    create_permissions_and_types,
    file_roots,
    is_too_wide,
    user_name,
)
from django_deploy.wording import first_of

EXAMPLES = """
  manage.py fix_permissions --dry-run
  manage.py fix_permissions --group www-data
"""


class Command(ColoredCommand):
    """Fixes what there is to fix; ``outcome`` keeps account of it."""

    help = (
        "Gives the files under STATIC_ROOT and MEDIA_ROOT the modes of FILE_UPLOAD_PERMISSIONS and "
        "FILE_UPLOAD_DIRECTORY_PERMISSIONS (or 0644 and 0755), as far as they are yours; creates "
        "missing permissions and content types."
    )
    create_parser = with_examples(EXAMPLES)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.outcome = Outcome()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--group", metavar="NAME", help="group that the files are to belong to")
        parser.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")

    def handle(self, *, group: str | None, dry_run: bool, **options: Any) -> None:
        wanted = Wanted.from_settings(group=None if group is None else _own_group(group))
        self.outcome = Outcome()
        fixer = Fixer(wanted, self.outcome, is_dry_run=dry_run)
        for root in file_roots():
            if is_too_wide(root):
                raise CommandError(f"{root} holds a home folder. Give uploads and static files their own.")
            fixer.fix(root)
        self.outcome.created = create_permissions_and_types(is_dry_run=dry_run)
        self._report(done="would be " if dry_run else "")

    def _report(self, done: str) -> None:
        outcome = self.outcome
        self.stdout.write(f"Files and folders {done}changed: {outcome.changed}")
        self.stdout.write(f"Permissions and content types {done}created: {outcome.created}")
        if not outcome.skipped:
            return
        self.stdout.write(f"Left as they are: {len(outcome.skipped)}")
        for line in first_of([f"{path}: {reason}" for path, reason in outcome.skipped.items()], NAMED, "  "):
            self.stdout.write(line)


def _own_group(name: str) -> int:
    """The gid; a user other than root may give files only to a group that the user is in."""
    try:
        gid = grp.getgrnam(name).gr_gid
    except KeyError:
        raise CommandError(f"There is no group {name!r} on this machine.") from None
    if os.geteuid() != 0 and gid not in {os.getegid(), *os.getgroups()}:
        user = user_name(os.geteuid())
        raise CommandError(
            f"The user {user} is not in the group {name!r}. As root: usermod -aG {name} {user}"
        )
    return gid
