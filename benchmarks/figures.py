"""What was measured, as a table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Figure:
    """One line of the table: ``value`` must be at most ``goal``, None where it is only told."""

    what: str
    measured: str
    value: float
    unit: str
    goal: float | None = None

    @property
    def is_missed(self) -> bool:
        return self.goal is not None and self.value > self.goal

    def cells(self) -> tuple[str, ...]:
        goal = "" if self.goal is None else f"{self.goal:g} {self.unit}"
        verdict = "" if self.goal is None else "MISSED" if self.is_missed else "ok"
        return self.what, self.measured, f"{self.value:.2f} {self.unit}", goal, verdict


def table(figures: Iterable[Figure]) -> str:
    rows = [("", "measured", "figure", "at most", ""), *(figure.cells() for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in lines)


def seconds(times: Sequence[float]) -> str:
    """The median, with the range in brackets."""
    return f"{median(times):.2f} s ({min(times):.2f}-{max(times):.2f})"


def compare(
    what: str,
    ours: Sequence[float],
    theirs: Sequence[float],
    *,
    goal: float | None = None,
    typical: Callable[[Sequence[float]], float] = median,
) -> Figure:
    """Ours in times of theirs, by what is ``typical`` of each."""
    ratio = typical(ours) / typical(theirs)
    return Figure(what, f"{seconds(ours)} against {seconds(theirs)}, {len(ours)} runs", ratio, "x", goal)
