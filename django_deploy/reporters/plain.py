"""Reporters for pipes and programs: plain lines, and JSON."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Protocol

from django_deploy.host.protocol import Event
from django_deploy.reporters.details import detail_lines
from django_deploy.reporters.secrets import Secrets
from django_deploy.reporters.sentences import QUIET, VERBOSE, in_words, sentence
from django_deploy.reporters.text import LONGEST_STRING


class Stream(Protocol):
    """What is written to: a text file, or Django's wrapper of one."""

    def write(self, text: str, /) -> object: ...
    def flush(self) -> None: ...
    def isatty(self) -> bool: ...


class Reporter:
    """Listens to events until its ``with`` block ends. Events may come from any thread."""

    def __init__(self, stream: Stream, secrets: Secrets) -> None:
        self.stream = _Steady(stream)
        self.secrets = secrets
        self._lock = threading.RLock()

    def __call__(self, event: Event) -> None:
        raise NotImplementedError

    def show(self, lines: Iterable[str]) -> None:
        """Write lines for people, a plan say; a reporter for programs leaves them out."""

    @contextmanager
    def paused(self) -> Iterator[None]:
        """While a question is asked, nothing is drawn."""
        yield

    def __enter__(self) -> Reporter:
        return self

    def __exit__(
        self, type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """The end, with the error that came of it."""


class _Steady:
    """A stream that nobody may read any more, or that lacks a character, must not end a deployment."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.encoding: str = getattr(stream, "encoding", None) or "utf-8"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            self._stream.write(text.encode(self.encoding, "replace").decode(self.encoding))
        except (OSError, ValueError):
            self._silence()
        return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except (OSError, ValueError):
            self._silence()

    def _silence(self) -> None:
        """Lead the rest nowhere: the interpreter flushes at its end, and that would fail once more."""
        try:
            number = self._stream.fileno()  # type: ignore[attr-defined]
            with open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), number)
        except (OSError, ValueError, AttributeError):
            pass


class JsonReporter(Reporter):
    """One event a line."""

    def __call__(self, event: Event) -> None:
        line = json.dumps(self.secrets.clean_event(event, LONGEST_STRING).as_dict(), default=str)
        with self._lock:
            self.stream.write(f"{line}\n")
            self.stream.flush()


class LineReporter(Reporter):
    """One plain line a fact, for a pipe and for CI; what a failed step wrote is in the error."""

    def __init__(self, stream: Stream, secrets: Secrets, verbosity: int = 1) -> None:
        super().__init__(stream, secrets)
        self._verbosity = verbosity
        self._phase = ""

    def __call__(self, event: Event) -> None:
        event = self.secrets.clean_event(event)
        with self._lock:
            self.show(self._lines(event))
            if event.kind == "phase.started":
                self._phase = str(event.fields.get("phase"))

    def show(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.stream.write(f"{self.secrets.clean(line)}\n")
        self.stream.flush()

    def _lines(self, event: Event) -> Iterator[str]:
        if not self._is_shown(event):
            return
        host = f"{event.host}: " if event.host else ""
        yield f"{host}{sentence(event)}"
        yield from detail_lines(event)
        if event.kind == "rollout.finished" and event.fields.get("phases") and self._verbosity > 0:
            yield in_words(event.fields)["phases"]

    def _is_shown(self, event: Event) -> bool:
        if event.kind in ("upload.progress", "fetch.progress"):
            return self._verbosity > 0 and event.fields.get("done") == event.fields.get("total")
        if event.kind == "phase.started" and event.fields.get("phase") == self._phase:
            return self._verbosity > 1  # several stages make one phase
        if event.kind in QUIET:
            return True
        return self._verbosity > (1 if event.kind in VERBOSE else 0)
