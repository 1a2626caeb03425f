"""Which reporter fits a stream."""

from __future__ import annotations

import os

from django_deploy.reporters.ci import GitHubReporter, GitLabReporter
from django_deploy.reporters.live import LiveReporter
from django_deploy.reporters.plain import JsonReporter, LineReporter, Reporter, Stream
from django_deploy.reporters.secrets import Secrets


def reporter_for(
    stream: Stream,
    *,
    json: bool,
    verbosity: int,
    secrets: Secrets,
    color: bool | None = None,
    is_plain: bool = False,
) -> Reporter:
    """The reporter that fits the stream.

    ``color`` None leaves it to the terminal and ``NO_COLOR``. One that ``is_plain`` draws nothing, for screen
    readers, and folds nothing.
    """
    if json:
        return JsonReporter(stream, secrets)
    if is_plain:
        return LineReporter(stream, secrets, verbosity)
    if stream.isatty() and os.environ.get("TERM") not in {"dumb", "unknown"} and verbosity > 0:
        return LiveReporter(stream, secrets, verbosity, color)
    if os.environ.get("GITHUB_ACTIONS") == "true":
        return GitHubReporter(stream, secrets, verbosity)
    if os.environ.get("GITLAB_CI") == "true":
        return GitLabReporter(stream, secrets, verbosity)
    return LineReporter(stream, secrets, verbosity)
