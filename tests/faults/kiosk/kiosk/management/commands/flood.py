import sys
import threading

from django.core.management.base import BaseCommand

LINES = 10 * 1024


class Command(BaseCommand):
    """A step that writes 10 MiB to standard output and to standard error, both at once."""

    def add_arguments(self, parser):
        parser.add_argument("--fail", action="store_true")

    def handle(self, *, fail, **options):
        writers = [
            threading.Thread(target=stream.write, args=((letter * 1023 + "\n") * LINES,))
            for stream, letter in ((sys.stdout, "o"), (sys.stderr, "e"))
        ]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        if fail:
            raise SystemExit("drowned")
