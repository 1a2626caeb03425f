"""A person at a pseudo-terminal, in front of a command of the developer's."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

#: No answer takes longer, in seconds.
LONGEST = 90.0


class Keyboard:
    """Types, and reads the screen. Leaving the context ends the command, whatever became of it."""

    def __init__(self, argv: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
        self._unread = b""
        self._screen, terminal = pty.openpty()
        self.resize(80, 24)
        self._process = subprocess.Popen(
            argv,
            cwd=folder,
            env={**environment, "TERM": "xterm"},
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(terminal)

    def __enter__(self) -> Keyboard:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._screen)

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._screen, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: str) -> None:
        os.write(self._screen, text.encode())

    def read_until(self, text: str) -> str:
        """What appears on the screen from where reading ended, up to ``text``."""
        deadline = time.monotonic() + LONGEST
        while text.encode() not in self._unread:
            assert time.monotonic() < deadline, f"no {text!r} in {self._unread.decode(errors='replace')}"
            if select.select([self._screen], [], [], 0.2)[0]:
                try:
                    self._unread += os.read(self._screen, 4096)
                except OSError:
                    raise AssertionError(f"it ended: {self._unread.decode(errors='replace')}") from None
        seen, mark, self._unread = self._unread.partition(text.encode())
        return (seen + mark).decode(errors="replace")

    @property
    def echoes(self) -> bool:
        """Whether what is typed appears on the screen, as it does where nobody has said otherwise."""
        return bool(termios.tcgetattr(self._screen)[3] & termios.ECHO)

    def terminate(self) -> None:
        """SIGTERM for the command."""
        self._process.terminate()

    def end(self) -> int:
        """Wait for it; its exit status."""
        deadline = time.monotonic() + LONGEST
        while self._process.poll() is None and time.monotonic() < deadline:
            if select.select([self._screen], [], [], 0.1)[0]:
                try:
                    os.read(self._screen, 4096)
                except OSError:
                    break
        return self._process.wait(LONGEST)
