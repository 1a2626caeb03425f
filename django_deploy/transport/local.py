"""The host ``"local"``: the same host program, in a folder of this machine, without SSH."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from django_deploy.transport import program
from django_deploy.transport.channel import MAX_ERROR_TEXT

#: Seconds that a program gets to leave once nobody listens to it; it may take longer, and does so alone.
LEAVE_TIMEOUT = 2.0

#: What a login would have set. The rest of our environment is the developer's and not the site's.
INHERITED = frozenset({"HOME", "LANG", "LOGNAME", "PATH", "SHELL", "TMPDIR", "TZ", "USER", "SSL_CERT_FILE"})
INHERITED_PREFIXES = ("LC_", "PIP_", "UV_", "XDG_")


class LocalChannel:
    """The channel to a host program that is our own child."""

    def __init__(self, hello: Mapping[str, Any]) -> None:
        # A session of its own: Ctrl-C on the terminal is for us, and we tell it.
        self._process = subprocess.Popen(
            program.command(hello),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env=login_environment(),
        )
        self._errors = bytearray()
        self._drain = threading.Thread(target=self._read_errors, daemon=True)
        self._drain.start()

    def send(self, data: bytes | memoryview) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(data)
        self._process.stdin.flush()

    def receive(self, size: int) -> bytes:
        assert self._process.stdout is not None
        return os.read(self._process.stdout.fileno(), size)

    def finish(self) -> tuple[int | None, str]:
        status: int | None = None
        assert self._process.stdout is not None and self._process.stderr is not None
        self._process.stdout.close()
        with suppress(subprocess.TimeoutExpired):
            status = self._process.wait(LEAVE_TIMEOUT)
            self._drain.join()
            self._process.stderr.close()
        return status, self._errors.decode("utf-8", "replace")

    def close(self) -> None:
        """End its input; what it must still finish, it finishes alone."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
        except OSError:
            pass

    def _read_errors(self) -> None:
        assert self._process.stderr is not None
        while data := os.read(self._process.stderr.fileno(), 1 << 16):
            self._errors += data
            del self._errors[:-MAX_ERROR_TEXT]


def login_environment() -> dict[str, str]:
    """Our own environment, of it what a login would have set."""
    return {
        name: value
        for name, value in os.environ.items()
        if name in INHERITED or name.startswith(INHERITED_PREFIXES)
    }
