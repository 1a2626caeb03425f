"""Notices peers that have fallen silent: one thread for all connections."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Protocol

#: Silence in seconds before a sign of life is asked for, and before the link is given up.
ASK_AFTER = 5
GIVE_UP_AFTER = 15


class Link(Protocol):
    """What is watched. ``heard`` grows with everything that arrives."""

    @property
    def heard(self) -> int: ...

    def ask(self) -> None:
        """Ask the peer for a sign of life; may block, and returns when the link is closed."""

    def give_up(self) -> None:
        """Close the link at once: whoever waits for it is released."""


@dataclass
class _Silence:
    heard: int
    seconds: int = 0


class Watchdog:
    """Counts each link's seconds of silence, asks, and gives up.

    Timeouts of sockets and channels do not do this: data that is never acknowledged, a peer whose
    kernel still answers and waits for a reply without any timeout all block for ever. Seconds are
    counted as they are lived, not read from a clock, so that a laptop that slept does not wake up
    to hosts it believes dead.
    """

    def __init__(self, second: float = 1.0) -> None:
        self._second = second
        self._lock = threading.Lock()
        self._links: dict[Link, _Silence] = {}
        self._thread: threading.Thread | None = None

    def watch(self, link: Link) -> None:
        with self._lock:
            self._links[link] = _Silence(link.heard)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="ssh watchdog", daemon=True)
                self._thread.start()

    def release(self, link: Link) -> None:
        """Stop watching; harmless for a link that is not watched."""
        with self._lock:
            self._links.pop(link, None)

    def _run(self) -> None:
        while links := self._watched():
            time.sleep(self._second)
            for link, silence in links.items():
                self._look_at(link, silence)

    def _watched(self) -> dict[Link, _Silence]:
        with self._lock:
            if not self._links:
                self._thread = None
            return dict(self._links)

    def _look_at(self, link: Link, silence: _Silence) -> None:
        silence.seconds += 1
        if link.heard != silence.heard:
            silence.heard, silence.seconds = link.heard, 0
        elif silence.seconds == ASK_AFTER:
            # In a thread of its own: where the peer takes nothing, the question blocks too.
            threading.Thread(target=link.ask, name="ssh keepalive", daemon=True).start()
        elif silence.seconds >= GIVE_UP_AFTER:
            self.release(link)
            link.give_up()
