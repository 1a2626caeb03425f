"""What a transaction does on this host, and how long each part of it takes: for the history."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Callable

#: Requests that take their time, by the phase that the deployer calls them by.
PHASES = {
    **dict.fromkeys(("prepare", "renew"), "prepare"),
    **dict.fromkeys(("preflight", "list_tables", "plan_migrations", "plan_rollback"), "preflight"),
    "reverse": "reverse",
    "step": "steps",
    "activate": "activate",
    "hold": "hold",
}


class Timeline:
    """Of one transaction; between its parts lies the time in which other hosts were waited for."""

    def __init__(self) -> None:
        self._phases: list[dict[str, Any]] = []
        self._moved: dict[str, list[str]] = {"applied": [], "unapplied": []}

    def measure(self, message: Mapping[str, Any], work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Do what a request asks for; note when that began, what it took, and which migrations it moved."""
        at, began = time.time(), time.monotonic()
        found = work()
        if not found.get("skipped"):
            self._note(message, at, time.monotonic() - began)
        for name, names in self._moved.items():
            names += found.get("result", {}).get(name, ())
        return found

    def _note(self, message: Mapping[str, Any], at: float, seconds: float) -> None:
        phase = PHASES.get(message["request"])
        if phase is None or (phase == "hold" and not message["seconds"]):
            return  # nobody waits for it
        if phase != "steps" and self._phases and self._phases[-1]["phase"] == phase:
            first = self._phases.pop()  # one phase may take several requests
            at, seconds = first["at"], max(at + seconds - first["at"], 0.0)  # clocks are set back, too
        step = {"step": " ".join(message["command"])} if phase == "steps" else {}
        self._phases.append({"phase": phase, **step, "at": round(at, 3), "seconds": round(seconds, 3)})

    def as_dict(self) -> dict[str, Any]:
        """``phases`` in their order, each with ``phase``, ``at`` and ``seconds``; ``applied``, ``unapplied``.

        Those of ``steps`` have a ``step`` each.
        """
        return {"phases": self._phases, **self._moved}
