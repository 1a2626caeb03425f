"""Which reporter fits a stream."""

from __future__ import annotations

import os

from django_deploy.reporters.live import LiveReporter
from django_deploy.reporters.plain import JsonReporter, LineReporter, Reporter, Stream
from django_deploy.reporters.secrets import Secrets


def reporter_for(
    stream: Stream, *, json: bool, verbosity: int, secrets: Secrets, color: bool | None = None
) -> Reporter:
    """The reporter that fits the stream. ``color`` None leaves it to the terminal and ``NO_COLOR``."""
    if json:
        return JsonReporter(stream, secrets)
    if stream.isatty() and os.environ.get("TERM") not in {"dumb", "unknown"} and verbosity > 0:
        return LiveReporter(stream, secrets, verbosity, color)
    return LineReporter(stream, secrets, verbosity)
