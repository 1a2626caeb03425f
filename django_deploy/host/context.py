"""What all that is done with the lock works with: the host, the deployer, a release's Django, what serves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .layout import Layout
from .link import Link
from .migrations import Migrations
from .release_steps import ReleaseSteps
from .serving import Serving


class Context:
    """``keep_open`` is the lock's descriptor: what outlives us still holds the lock."""

    def __init__(self, layout: Layout, link: Link, keep_open: int) -> None:
        self.layout = layout
        self.link = link
        self.keep_open = keep_open
        self.steps = ReleaseSteps(link, keep_open)
        self.serving = Serving(layout, link, keep_open)

    def migrations(self, target: str) -> Migrations:
        """Those of a target, of which nothing is planned yet."""
        return Migrations(self.layout, self.link, self.keep_open, target)

    @contextmanager
    def tidying(self, what: str) -> Iterator[None]:
        """What is not worth a failure: the next deployment does it where the disk takes no more now."""
        try:
            yield
        except OSError as error:
            self.link.report(
                "warning",
                message=f"{what} something could not be recorded: {error}",
                remedy="Look at the host's disk. The next deployment corrects it.",
            )
