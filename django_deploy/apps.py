"""The app, for INSTALLED_APPS."""

from __future__ import annotations

from django.apps import AppConfig
from django.core.checks import register

from django_deploy import checks
from django_deploy.site.manifests import keep_manifest_in_release


class DeployConfig(AppConfig):
    """Registers the checks; on servers, keeps the releases' static files apart. All else is in commands."""

    name = "django_deploy"
    verbose_name = "Deployment"

    def ready(self) -> None:
        register(checks.TAG)(checks.check_targets)
        register(checks.TAG)(checks.check_command_name)
        keep_manifest_in_release()
