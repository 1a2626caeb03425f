"""A deployment's phases as bars of an SVG, of attributes only: no Content-Security-Policy minds them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .deployments import Deployment, Phase

#: Colours of phases, in the order of a deployment; 3 to 1 and more on the admin's light and dark backgrounds.
COLOURS = {
    "prepare": "#0072b2",
    "preflight": "#777777",
    "reverse": "#b8520a",
    "steps": "#008f68",
    "activate": "#d55e00",
    "hold": "#c2608f",
    "migrate": "#7d6bd0",
}
OTHER = "#777777"

#: Units that a drawing is wide, and that the shortest bar is.
WIDTH = 1000.0
SHORTEST = 4.0


@dataclass(frozen=True)
class Bar:
    """A phase; ``x`` and ``width`` are texts, as templates write numbers in the visitor's own way."""

    phase: Phase
    x: str
    width: str
    colour: str

    @property
    def label(self) -> str:
        step = f" ({self.phase.step})" if self.phase.step else ""
        return f"{self.phase.name}{step}: {duration(self.phase.seconds)}"

    @property
    def began(self) -> str:
        return duration(self.phase.began)

    @property
    def took(self) -> str:
        return duration(self.phase.seconds)


def bars(deployment: Deployment, longest: float) -> list[Bar]:
    """All of them; ``longest`` are the seconds that take the whole width."""
    unit = WIDTH / max(longest, 0.001)
    return [_bar(phase, unit) for phase in deployment.phases]


def _bar(phase: Phase, unit: float) -> Bar:
    width = min(max(phase.seconds * unit, SHORTEST), WIDTH)
    x = min(max(phase.began * unit, 0.0), WIDTH - width)
    return Bar(phase, f"{x:.1f}", f"{width:.1f}", COLOURS.get(phase.name, OTHER))


def legend(deployments: Sequence[Deployment]) -> dict[str, str]:
    """The colours of those phases that there are."""
    there = {phase.name for deployment in deployments for phase in deployment.phases}
    return {name: colour for name, colour in COLOURS.items() if name in there}


def duration(seconds: float) -> str:
    """``0.4 s``, ``12 s``, ``2 min 5 s``, ``1 h 2 min``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
