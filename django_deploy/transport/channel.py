"""The one byte stream between us and a host program."""

from __future__ import annotations

from typing import Protocol

#: Of standard error, the last bytes that are kept.
MAX_ERROR_TEXT = 64 * 1024


class Channel(Protocol):
    """The one byte stream to the host program: SSH or a local process."""

    def send(self, data: bytes | memoryview) -> None:
        """Block until handed over; raises ``OSError`` or ``EOFError`` when the link is gone."""

    def receive(self, size: int) -> bytes:
        """At most ``size`` bytes; ``b""`` at the end of the stream."""

    def finish(self) -> tuple[int | None, str]:
        """After the end: the exit status (None if unknown) and the end of standard error."""

    def close(self) -> None:
        """At once, from any thread; unblocks send and receive."""
