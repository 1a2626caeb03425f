"""A command that a person runs on a host: its streams, its terminal, its exit status."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from django_deploy.transport.local import login_environment

STDOUT, STDERR = STREAMS = ("stdout", "stderr")


@dataclass(frozen=True)
class Window:
    """The terminal that a command is shown on: its kind (``TERM``) and its size."""

    term: str
    columns: int
    rows: int


class Execution(Protocol):
    """A command that runs. All methods may be called from any thread."""

    def send(self, data: bytes) -> None:
        """More for its standard input; raises ``OSError`` when nobody takes it any more."""

    def end_input(self) -> None: ...

    def receive(self, stream: str, size: int) -> bytes:
        """At most ``size`` bytes of one of ``STREAMS``; ``b""`` at its end."""

    def resize(self, window: Window) -> None: ...

    def interrupt(self) -> None:
        """Ctrl-C."""

    def wait(self) -> int | None:
        """Once all was received: its exit status, None where a signal ended it; raises ``ConnectionLost``."""

    def close(self) -> None:
        """Leave it, whatever it does."""


class LocalExecution:
    """The same in a folder of this machine. With a terminal it has ours, and needs nothing of us."""

    def __init__(self, argv: Sequence[str], *, has_terminal: bool) -> None:
        self._has_terminal = has_terminal
        pipe = None if has_terminal else subprocess.PIPE
        environment = login_environment()
        if has_terminal:
            environment["TERM"] = os.environ.get("TERM", "dumb")
        self._process = subprocess.Popen(
            argv,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            env=environment,
            start_new_session=not has_terminal,
        )

    def send(self, data: bytes) -> None:
        if self._process.stdin is not None:
            self._process.stdin.write(data)
            self._process.stdin.flush()

    def end_input(self) -> None:
        if self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()

    def receive(self, stream: str, size: int) -> bytes:
        pipe = self._process.stderr if stream == STDERR else self._process.stdout
        return os.read(pipe.fileno(), size) if pipe is not None else b""

    def resize(self, window: Window) -> None:
        """The kernel has told it already."""

    def interrupt(self) -> None:
        if not self._has_terminal:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGINT)

    def wait(self) -> int | None:
        status = self._process.wait()
        self.end_input()
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()
        return status if status >= 0 else None

    def close(self) -> None:
        if self._process.poll() is None and not self._has_terminal:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGHUP)
