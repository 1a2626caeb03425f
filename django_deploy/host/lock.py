"""One deployment at a time on a ROOT: ``flock`` on ``.deploy/lock``, which no crash can leave behind."""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Callable, Optional

from .protocol import Failure, ProtocolError, decode
from .shape import Shape, check

#: A holder in one of these phases is nearly done: the next one waits this long for it, in seconds.
ENDING_PHASES = ("reverting", "draining")
ENDING_PATIENCE = 60.0

#: The end of all times that are shown, in seconds since the epoch.
LAST_TIME = 1e11

#: Bytes of the lock file's text that are read.
MAX_HOLDER = 65_536

#: What it says; ``since`` is a time that a calendar has.
HOLDER: Shape = {
    **dict.fromkeys(("by?", "phase?", "target?"), str),
    "since?": float,
    "pid?": int,
}


class Lock:
    """The lock file's text says who holds it; the kernel says whether anyone does."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: Optional[int] = None
        self._holder: dict[str, Any] = {}

    @property
    def descriptor(self) -> int:
        """To be inherited by what must not outlive the lock, a migration for one."""
        assert self._descriptor is not None
        return self._descriptor

    @property
    def is_held(self) -> bool:
        return self._descriptor is not None

    @property
    def by(self) -> str:
        """Who holds it with us, as they call themselves."""
        return str(self._holder.get("by", ""))

    def holder(self) -> dict[str, Any] | None:
        """Who holds the lock: ``by``, ``since`` (seconds since the epoch), ``phase``; None if nobody does."""
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            if _try_lock(descriptor):
                return None
            return _read_holder(descriptor)
        finally:
            os.close(descriptor)

    def acquire(
        self,
        holder: dict[str, Any],
        wait: float,
        waiting: Callable[[dict[str, Any]], None],
        stop: threading.Event,
    ) -> None:
        """Take the lock within ``wait`` seconds, or raise a ``Failure`` that names the holder."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        started, told = time.monotonic(), False
        while not _try_lock(descriptor):
            other = _read_holder(descriptor)
            # Without a name it is a probe that looks for a moment, or a holder about to write it.
            nearly_free = not other or other.get("phase") in ENDING_PHASES
            patience = max(wait, ENDING_PATIENCE if nearly_free else 0.0)
            if stop.is_set() or time.monotonic() - started >= patience:
                os.close(descriptor)
                raise Failure("Locked", describe(other), _remedy(other), holder=other)
            if not told:
                waiting(other)
                told = True
            stop.wait(0.1)
        self._descriptor, self._holder = descriptor, holder
        self.show_phase("preparing")

    def take_again(self, phase: str) -> bool:
        """Take the lock once more if nobody has it; gives whether it was taken."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not _try_lock(descriptor):
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        self.show_phase(phase)
        return True

    def show_phase(self, phase: str) -> None:
        self._write(json.dumps({**self._holder, "phase": phase, "pid": os.getpid()}))

    def _write(self, text: str) -> None:
        """For people only: a disk that takes no more is for others to find."""
        with suppress(OSError):
            os.ftruncate(self.descriptor, 0)
            os.pwrite(self.descriptor, text.encode(), 0)

    def release(self) -> None:
        if self._descriptor is not None:
            self._write("")
            os.close(self._descriptor)
            self._descriptor = None


def describe(holder: dict[str, Any]) -> str:
    """For people: who, since when, doing what."""
    since = time.strftime("%H:%M:%S UTC", time.gmtime(min(max(holder.get("since", 0), 0), LAST_TIME)))
    by, phase = holder.get("by", "somebody"), holder.get("phase", "starting")
    return f"another deployment is running: {by}, since {since}, {phase}"


def _remedy(holder: dict[str, Any]) -> str:
    return (
        "Wait for it with --wait SECONDS. If its deployer is gone, the lock frees itself within 20 s,"
        f" or as soon as its running step has ended (process {holder.get('pid', '?')} on the host)."
    )


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read_holder(descriptor: int) -> dict[str, Any]:
    try:
        holder = decode(os.pread(descriptor, MAX_HOLDER, 0) or b"{}")
        check(holder, HOLDER, "holder")
    except ProtocolError:
        return {}
    return holder
