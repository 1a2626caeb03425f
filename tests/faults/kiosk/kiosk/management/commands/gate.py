from django.core.management.base import BaseCommand

from kiosk.gates import wait_at


class Command(BaseCommand):
    """A step that a test holds for as long as it likes."""

    def handle(self, **options):
        wait_at("step")
