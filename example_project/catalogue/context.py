"""What every page knows of the shop."""

from django_deploy.site.release import release

from .mark import MARK


def shop(request):
    """The mark and the deployed release (None in development)."""
    return {"mark": MARK, "release": release()}
