"""Runs one command on the host: an argv list, never a shell."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Callable, Optional

from .protocol import Failure

#: How many of a command's last lines an error shows.
LAST_LINES = 30
#: Longer lines are cut, in bytes: output is bounded.
MAX_OUTPUT_LINE = 8192

#: Seconds from SIGTERM to SIGKILL of a command that is ended.
TERM_PATIENCE = 5.0

#: Called with ``"stdout"`` or ``"stderr"`` and a line without its end.
OnLine = Callable[[str, str], None]


class LineSplitter:
    """Cuts the bytes of one stream into lines of text."""

    def __init__(self, stream: str, on_line: OnLine, longest: int = MAX_OUTPUT_LINE) -> None:
        self._stream = stream
        self._on_line = on_line
        self._longest = longest
        self._rest = b""

    def feed(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).replace(b"\r", b"\n").split(b"\n")
        for line in lines:
            self._emit(line)
        if len(self._rest) > self._longest:
            self._emit(self._rest)
            self._rest = b""

    def close(self) -> None:
        if self._rest:
            self._emit(self._rest)
            self._rest = b""

    def _emit(self, line: bytes) -> None:
        if line:
            self._on_line(self._stream, line[: self._longest].decode("utf-8", "replace"))


class Output:
    """Reads the streams of a process as they come and keeps the last lines."""

    def __init__(self, streams: Mapping[str, IO[bytes]], on_line: OnLine) -> None:
        self.last: deque[str] = deque(maxlen=LAST_LINES)
        self._on_line = on_line
        self._selector = selectors.DefaultSelector()
        for name, stream in streams.items():
            self.add(stream, LineSplitter(name, self._keep))

    def add(self, stream: IO[bytes], splitter: LineSplitter) -> None:
        """Read one more stream, whose lines are not kept."""
        os.set_blocking(stream.fileno(), False)
        self._selector.register(stream, selectors.EVENT_READ, splitter)

    def _keep(self, stream: str, line: str) -> None:
        self.last.append(line)
        self._on_line(stream, line)

    @property
    def is_open(self) -> bool:
        return bool(self._selector.get_map())

    def read(self, timeout: float) -> None:
        """Pass on what comes within ``timeout`` seconds; returns after the first of it."""
        for key, _ in self._selector.select(timeout):
            data = os.read(key.fd, 1 << 16)
            if data:
                key.data.feed(data)
            else:
                key.data.close()
                self._selector.unregister(key.fileobj)

    def read_ready(self) -> None:
        """Pass on all that is there already."""
        while self.is_open and self._selector.select(0):
            self.read(0)


def run(
    argv: Sequence[str],
    *,
    env: Optional[Mapping[str, str]] = None,
    cwd: Optional[Path] = None,
    on_line: OnLine = lambda stream, line: None,
    stop: Optional[threading.Event] = None,
    timeout: Optional[float] = None,
    files: Sequence[int] = (),
) -> tuple[int, list[str]]:
    """Run a command to its end; gives its exit status and its last lines.

    It inherits the descriptors ``files``.

    When ``stop`` is set or ``timeout`` seconds are over, its whole process group is ended and ``Failure`` is
    raised.
    """
    try:
        process = subprocess.Popen(
            list(argv),
            env=None if env is None else dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            pass_fds=files,
        )
    except OSError as error:
        raise Failure("CommandFailed", f"cannot run {argv[0]}: {error.strerror}") from None
    assert process.stdout is not None and process.stderr is not None
    with process.stdout, process.stderr:
        output = Output({"stdout": process.stdout, "stderr": process.stderr}, on_line)
        _follow(process, output, list(argv), stop, timeout)
    return process.wait(), list(output.last)


def _follow(
    process: subprocess.Popen[bytes],
    output: Output,
    argv: list[str],
    stop: Optional[threading.Event],
    timeout: Optional[float],
) -> None:
    deadline = None if timeout is None else time.monotonic() + timeout
    while process.poll() is None:
        if output.is_open:
            output.read(0.05)
        else:
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.05)  # it has closed its output and ends in a moment
        if stop is not None and stop.is_set():
            end_group(process)
            raise Failure("Aborted", f"{argv[0]} was stopped")
        if deadline is not None and time.monotonic() > deadline:
            end_group(process)
            raise Failure(
                "Timeout",
                f"{' '.join(argv)} took longer than {timeout:g} s",
                timeout=timeout,
                lines=list(output.last),
            )
    output.read_ready()


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it started: SIGTERM, after ``TERM_PATIENCE`` seconds SIGKILL.

    It may be a child of it that does not hear.
    """
    with suppress(ProcessLookupError):  # which says that nobody is left
        for number in (signal.SIGTERM, signal.SIGKILL):
            os.killpg(process.pid, number)
            give_up = time.monotonic() + TERM_PATIENCE
            while time.monotonic() < give_up:
                process.poll()  # as a zombie it would count
                os.killpg(process.pid, 0)
                time.sleep(0.02)
    process.wait()
