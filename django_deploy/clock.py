"""How long the phases of an undertaking take, and what Ctrl-C says of it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from .exceptions import DeployError, Interrupted
from .host.protocol import Event, Report


@dataclass
class Clock:
    """Reports phases, their times and the end.

    ``interrupted`` is what Ctrl-C ends with, as far as things have got.
    """

    report: Report
    interrupted: Interrupted = field(default_factory=lambda: Interrupted("Interrupted. Nothing was changed."))
    started: float = field(default_factory=time.monotonic)
    phases: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        self.report(Event("phase.started", fields={"phase": name}))
        try:
            yield
        except DeployError as error:
            error.phase = error.phase or name
            raise
        seconds = time.monotonic() - began
        self.phases[name] = round(self.phases.get(name, 0.0) + seconds, 3)
        self.report(Event("phase.finished", fields={"phase": name, "seconds": round(seconds, 3)}))

    def finish(
        self, outcome: str, *, release: str = "", url: str = "", left_out: Sequence[str] = ()
    ) -> float:
        """Report the end of all; gives the seconds that it took."""
        fields = {"outcome": outcome, "release": release, "url": url, "left_out": list(left_out)}
        seconds = round(time.monotonic() - self.started, 3)
        phases = dict(self.phases)
        self.report(Event("rollout.finished", fields={**fields, "seconds": seconds, "phases": phases}))
        return seconds


@contextmanager
def interruptible(clock: Clock) -> Iterator[None]:
    """Ctrl-C outside a rollout, which handles its own: the clock knows what has been changed by then."""
    try:
        yield
    except KeyboardInterrupt:
        raise clock.interrupted from None


def too_late(release: str) -> Interrupted:
    """Ctrl-C when all was done."""
    return Interrupted(f"Interrupted, but too late: {release} had been confirmed: it is live.")
