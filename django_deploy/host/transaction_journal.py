"""What a transaction is about to do is noted down first, in ``.deploy/transaction.json``.

Whoever finds the notes of a program that was killed can undo, or finish, what that one had begun.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .layout import FAILED, STATES, Layout, write_atomically
from .protocol import Failure, ProtocolError
from .shape import check
from .way_back import MOVES

#: The phases, in order.
PREPARE, START, SWITCH, CONFIRM = PHASES = ("prepare", "start", "switch", "confirm")


class Journal:
    """The ``notes`` of a transaction; empty until it begins to change something.

    They are its ``phase``, the ``release`` that is to be live, the ``previous`` one, and the state that the
    release ``was`` in; also when it was confirmed (``at``), and what of the database it has ``reversed``.
    """

    def __init__(self, layout: Layout) -> None:
        self._file = _file(layout)
        self.notes: dict[str, Any] = {}

    @property
    def phase(self) -> str:
        """Empty while nothing is noted."""
        return str(self.notes.get("phase", ""))

    @property
    def release(self) -> str:
        return str(self.notes["release"])

    @property
    def previous(self) -> Any:
        """The id of a release, None where nothing was live."""
        return self.notes.get("previous")

    @property
    def was(self) -> str:
        return str(self.notes.get("was", FAILED))

    def note(self, phase: str, **fields: Any) -> None:
        """Add to the notes, in the file first."""
        notes = {**self.notes, "phase": phase, **fields}
        write_atomically(self._file, json.dumps(notes), 0o600)
        self.notes = notes

    def delete_file(self) -> None:
        """Nothing is left to undo or to finish."""
        self._file.unlink(missing_ok=True)


def read_journal(layout: Layout) -> dict[str, Any]:
    """The notes of the transaction that is open or was left open, empty when there is none."""
    try:
        notes = json.loads(_file(layout).read_text())
    except (OSError, ValueError):
        return {}  # it is written by rename: damage means that nothing had begun
    return notes if isinstance(notes, dict) and _is_sound(notes, layout) else {}


def _file(layout: Layout) -> Path:
    return layout.private / "transaction.json"


def _is_sound(notes: dict[str, Any], layout: Layout) -> bool:
    """They name releases, and one that is there to go back to, unless that is over.

    Nothing is stopped or switched on the word of a damaged file.
    """
    release, previous = notes.get("release"), notes.get("previous")
    try:
        check(notes, {"at?": float, "reversed?": MOVES}, "journal")
        layout.release(str(release))
        if previous is not None:
            old = layout.release(str(previous))
            if notes.get("phase") != CONFIRM:
                _ = old.record
    except (Failure, ProtocolError):
        return False
    return notes.get("phase") in PHASES and notes.get("was", FAILED) in STATES
