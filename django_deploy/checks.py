"""What ``manage.py check`` says about the settings of deployment; ids in ``reading.places.Kind``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.apps import AppConfig, apps
from django.core import checks
from django.core.management import find_commands

from django_deploy.conf import find_issues
from django_deploy.reading.places import Kind
from django_deploy.site.release import is_deployed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django_deploy.exceptions import Issue

TAG = "django_deploy"


def check_targets(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[checks.CheckMessage]:
    """Judges DEPLOY_TARGETS; imports neither paramiko nor the packaging tools, calls nothing.

    Where the site goes is judged on the machine that sends it. A release has the setting as well, but not
    what it may be made of there: variables of the developer's or of CI.
    """
    return [] if is_deployed() else [_message(issue) for issue in find_issues()]


def check_command_name(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[checks.CheckMessage]:
    """Two apps may own the command ``deploy``: the one that stands first in INSTALLED_APPS gets it."""
    if is_deployed():
        return []
    rivals = [app.name for app in apps.get_app_configs() if app.name != "django_deploy" and _has_deploy(app)]
    return [
        checks.Warning(
            f"The app {name!r} has a command 'deploy', too.",
            hint="'manage.py deploy_to TARGET' is always django-deploy's.",
            id=Kind.COMMAND_TAKEN.value,
        )
        for name in rivals
    ]


def _has_deploy(app: AppConfig) -> bool:
    return "deploy" in find_commands(str(Path(app.path) / "management"))


def _message(issue: Issue) -> checks.CheckMessage:
    level = checks.Warning if ".W" in issue.id else checks.Error
    return level(issue.message, hint=issue.hint or None, obj=issue.where, id=issue.id)
