"""People who use the site while it is deployed: requests without pause, and what came back."""

from __future__ import annotations

import re
import threading
import time
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

from .base import RigError


@dataclass(frozen=True)
class Answer:
    """One request: when it was sent (``time.monotonic``), how long it took in seconds, what came.

    ``status`` is 0 and ``error`` says why where no whole answer came.
    """

    at: float
    seconds: float
    status: int
    mark: str
    error: str = ""

    @property
    def lost(self) -> bool:
        return self.status == 0 or self.status >= 400


class Visitor:
    """Asks ``url`` over several connections that stay open, from entering the context to leaving it.

    ``mark`` is a regular expression for what tells releases apart in the body. The load is bounded by
    ``max_requests`` in all and ``max_seconds``; reaching a bound is an error, since nobody watched
    the rest. ``pause`` is between two requests of one connection.
    """

    def __init__(
        self,
        url: str,
        *,
        mark: str = r"\A.{0,80}",
        connections: int = 4,
        max_requests: int = 50_000,
        max_seconds: float = 300,
        timeout: float = 10,
        pause: float = 0.0,
    ) -> None:
        parts = urlsplit(url)
        assert parts.hostname
        self.host, self.port, self.path = parts.hostname, parts.port or 80, parts.path or "/"
        self.mark = re.compile(mark)
        self.share = max_requests // connections
        self.max_seconds = max_seconds
        self.timeout = timeout
        self.pause = pause
        self.bound_reached = False
        self._answers: list[Answer] = []
        self._leaving = threading.Event()
        self._threads = [threading.Thread(target=self._visit, daemon=True) for _ in range(connections)]

    @property
    def answers(self) -> list[Answer]:
        """All so far, in the order in which they were asked."""
        return sorted(self._answers, key=lambda answer: answer.at)

    @property
    def lost(self) -> list[Answer]:
        """Requests without an answer, or with one that is an error."""
        return [answer for answer in self.answers if answer.lost]

    @property
    def marks(self) -> list[str]:
        """The marks in the order in which each was first seen; lost requests have none."""
        return list(dict.fromkeys(answer.mark for answer in self.answers if not answer.lost))

    @property
    def slowest(self) -> float:
        """Seconds; 0 before the first answer."""
        return max((answer.seconds for answer in self._answers), default=0.0)

    def stay(self, requests: int = 20) -> None:
        """Wait until so many more answers came, so that the visitor has seen what is there now."""
        enough = len(self._answers) + len(self._threads) + requests
        while len(self._answers) < enough:
            if not any(thread.is_alive() for thread in self._threads):
                raise RigError(f"The visitor is gone, after {len(self._answers)} requests.")
            time.sleep(0.005)

    def __enter__(self) -> Visitor:
        self._end = time.monotonic() + self.max_seconds
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, type: object, *exception: object) -> None:
        self._leaving.set()
        for thread in self._threads:
            thread.join()
        if self.bound_reached and type is None:
            raise RigError(f"The visitor gave up at its bound, after {len(self._answers)} requests.")

    def _visit(self) -> None:
        connection = HTTPConnection(self.host, self.port, timeout=self.timeout)
        for _ in range(self.share):
            if self._leaving.wait(self.pause):
                break
            if time.monotonic() > self._end:
                self.bound_reached = True
                break
            self._answers.append(self._ask(connection))
        else:
            self.bound_reached = True
        connection.close()

    def _ask(self, connection: HTTPConnection) -> Answer:
        start = time.monotonic()
        try:
            connection.request("GET", self.path)
            response = connection.getresponse()
            body = response.read().decode(errors="replace")
        except (OSError, HTTPException) as error:
            connection.close()
            return Answer(start, time.monotonic() - start, 0, "", repr(error))
        found = self.mark.search(body)
        return Answer(start, time.monotonic() - start, response.status, found[0] if found else "")
