"""``manage.py deploy_steps``: the site's side of a deployment, see ``site/runner.py``."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser
from io import TextIOWrapper
from typing import Any

from django.core.management.base import BaseCommand

from django_deploy.site import runner


class Command(BaseCommand):
    """Hands standard input and the reply descriptor to the runner."""

    help = "Runs the steps of a deployment in one process. The deployer starts it; people need not."
    # A site whose checks fail still has to say so: that is the preflight.
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--reply-fd", type=int, required=True, metavar="N", help="descriptor for replies")

    def handle(self, *, reply_fd: int, **options: Any) -> None:
        requests = runner.take_standard_input()
        os.set_inheritable(reply_fd, False)
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, TextIOWrapper):
                stream.reconfigure(line_buffering=True)
        with requests, os.fdopen(reply_fd, "w", encoding="utf-8") as replies:
            runner.serve(requests, replies)
