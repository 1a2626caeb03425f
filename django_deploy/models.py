"""What the admin needs to have a page about deployments. There is no table, and so there is no migration."""

from __future__ import annotations

from django.db import models


class Nothing(models.Manager["Deployment"]):
    """Asks no database, whoever wants the rows of all models (``dumpdata`` for one)."""

    def get_queryset(self) -> models.QuerySet[Deployment]:
        return super().get_queryset().none()


class Deployment(models.Model):
    """A name for the permission ``django_deploy.view_deployment`` and for the admin's page.

    The deployments themselves are in the history that the host keeps: ``site.deployments``.
    """

    key = models.BigIntegerField(primary_key=True)

    objects = Nothing()

    class Meta:
        """There is nothing to be written, so there is no permission to."""

        managed = False
        base_manager_name = "objects"
        default_permissions = ("view",)
        verbose_name = "deployment"
        verbose_name_plural = "deployments"

    def __str__(self) -> str:
        return str(self.key)
