"""``manage.py deploy_to TARGET``: for projects where another app owns the command ``deploy``."""

from __future__ import annotations

from django_deploy.management.commands import deploy


class Command(deploy.Command):
    """The same command under a name of its own."""
