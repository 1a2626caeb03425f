"""The app, for INSTALLED_APPS."""

from __future__ import annotations

from django.apps import AppConfig
from django.core.checks import register

from django_deploy import checks


class DeployConfig(AppConfig):
    """Registers the checks; all else is in the management commands."""

    name = "django_deploy"
    verbose_name = "Deployment"

    def ready(self) -> None:
        register(checks.TAG)(checks.check_targets)
        register(checks.TAG)(checks.check_command_name)
