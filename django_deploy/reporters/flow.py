"""How fast bytes move, and for how long they will."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field

from django_deploy.reporters.text import size

#: The rate is that of the last so many seconds; how long it takes is not said before so many have passed.
WINDOW = 5.0
ENOUGH = 2.0


@dataclass
class Flow:
    """Bytes that move to or from one host; of ``done`` and ``part``, 0 to 1, neither goes back."""

    done: float = 0
    total: float = 0
    part: float = 0.0
    _began: float = 0.0
    _seen: deque[tuple[float, float]] = field(default_factory=deque)

    def take(self, done: float, total: float, now: float) -> None:
        """Note how far it is; ``now`` is monotonic, in seconds."""
        self.done = max(self.done, done)
        self.total = max(total, self.done)
        self.part = max(self.part, self.done / self.total if self.total else 0.0)
        if not self._seen:
            self._began = now
        self._seen.append((now, self.done))
        self._forget(now)

    @property
    def is_done(self) -> bool:
        return self.done >= self.total

    def age(self, now: float) -> float:
        """Seconds since the first bytes were seen."""
        return now - self._began if self._seen else 0.0

    def rate(self, now: float) -> float:
        """Bytes a second, of late; it falls while nothing comes."""
        self._forget(now)
        since, had = self._seen[0] if self._seen else (now, self.done)
        return (self.done - had) / (now - since) if now > since else 0.0

    def _forget(self, now: float) -> None:
        """Keep what the window shows, and where it begins."""
        while len(self._seen) > 1 and self._seen[1][0] <= now - WINDOW:
            self._seen.popleft()


def movement(flows: Collection[Flow], now: float) -> list[str]:
    """How far, how fast and for how long yet, what matters most at the end; of several, their sum.

    Rate and time left are there once there is enough to tell them from.
    """
    parts = [f"{size(sum(flow.done for flow in flows))} of {size(sum(flow.total for flow in flows))}"]
    moving = [flow for flow in flows if not flow.is_done]
    if max((flow.age(now) for flow in moving), default=0.0) < ENOUGH:
        return parts
    rate = sum(flow.rate(now) for flow in moving)
    parts.append(f"{size(rate)}/s")
    if rate >= 1:
        parts.append(f"{_rounded(sum(flow.total - flow.done for flow in moving) / rate)} left")
    return parts


def _rounded(seconds: float) -> str:
    """In one unit: it is a guess, and must not flicker."""
    for unit, length in (("s", 1), ("min", 60), ("h", 3600)):
        if seconds < 99.5 * length:
            return f"{max(round(seconds / length), 1)} {unit}"
    return f"{round(seconds / 86400)} days"
