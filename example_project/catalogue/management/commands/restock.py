"""The worker: puts new copies of the scarcest book on the shelf, for ever."""

import signal
import threading

from django.core.management.base import BaseCommand
from django.db import close_old_connections, transaction
from django.utils import timezone

from catalogue.models import Book

DELIVERY = 3


class Command(BaseCommand):
    help = "Adds copies of the book that is scarcest, every few seconds, until SIGTERM."

    def add_arguments(self, parser):
        parser.add_argument("--every", type=float, default=5.0, metavar="SECONDS")
        parser.add_argument("--once", action="store_true", help="Restock one book and stop.")

    def handle(self, *, every: float, once: bool, **options):
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        while not stop.is_set():
            self.restock()
            close_old_connections()
            if once or stop.wait(every):
                break
        self.stdout.write("The worker has stopped.")

    def restock(self):
        with transaction.atomic():
            book = Book.objects.order_by("stock", "pk").first()
            if book is None:
                return
            book.stock += DELIVERY
            book.restocked = timezone.now()
            book.save(update_fields=["stock", "restocked"])
        self.stdout.write(f"{book}: {book.stock} in stock")
