"""The matrix: what became of each fault in each phase, and how that is printed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from .phases import NAMES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: Under this name reports carry cells from the workers.
PROPERTY = "cells"


@dataclass(frozen=True)
class Cell:
    """``verdict`` is ``ok``, ``FAIL`` or ``-`` (no such thing); ``text`` says why."""

    fault: str
    phase: str
    verdict: str
    text: str = ""
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def cells_of(reports: Iterable[Any]) -> list[Cell]:
    """The cells that tests have recorded, here or in a worker."""
    found = []
    for report in reports:
        if getattr(report, "when", "") == "call":
            for name, value in report.user_properties:
                if name == PROPERTY:
                    found += [Cell(**cell) for cell in value]
    return found


def table(cells: Iterable[Cell]) -> Iterator[str]:
    """Rows are faults, columns phases; reasons and figures follow."""
    cells = list(cells)
    verdicts = {(cell.fault, cell.phase): cell.verdict for cell in cells}
    faults = list(dict.fromkeys(cell.fault for cell in cells))
    width = max(map(len, faults))
    yield " " * width + "".join(f"{name:>10}" for name in NAMES)
    for fault in faults:
        yield f"{fault:<{width}}" + "".join(f"{verdicts.get((fault, name), ' '):>10}" for name in NAMES)
    yield ""
    yield from _reasons(cells)
    tried = [cell for cell in cells if cell.verdict in ("ok", "FAIL")]
    well = sum(cell.verdict == "ok" for cell in tried)
    seconds = sum(cell.seconds for cell in tried)
    failed = len(tried) - well
    yield f"{len(tried)} cells, {well} ok, {failed} failed; {seconds:.0f} s, of all workers together"


def _reasons(cells: Iterable[Cell]) -> Iterator[str]:
    """Why there is no such cell: the same reason once."""
    grouped: dict[tuple[str, str], list[str]] = {}
    for cell in cells:
        if cell.verdict == "-":
            grouped.setdefault((cell.fault, cell.text), []).append(cell.phase)
    for (fault, text), phases in grouped.items():
        yield f"- {fault}, {', '.join(phases)}: {text}"
