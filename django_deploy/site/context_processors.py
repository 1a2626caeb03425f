"""For templates: which release is running."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import release as running

if TYPE_CHECKING:
    from django.http import HttpRequest


def release(request: HttpRequest) -> dict[str, running.Release | None]:
    """``release`` as ``django_deploy.site.release.release()`` gives it: None in development."""
    return {"release": running.release()}
