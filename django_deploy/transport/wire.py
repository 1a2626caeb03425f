"""The ways to a host's SSH server: TCP, through a jump host, through a program."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from typing import IO, Protocol

from django_deploy.transport.printable import LIMIT, printable

#: Unacknowledged data is given up by the kernel after this time, in milliseconds: after the watchdog,
#: which says what happened.
USER_TIMEOUT = 20_000

#: How much of a server's greeting is kept, in bytes: an SSH one has at most 255 (RFC 4253, 4.2).
GREETING = 255


class Stream(Protocol):
    """What carries the bytes: a socket, or a channel of the connection to a jump host."""

    def recv(self, size: int, /) -> bytes: ...
    def send(self, data: bytes, /) -> int: ...
    def settimeout(self, seconds: float | None, /) -> None: ...
    def close(self) -> None: ...


class Wire:
    """A stream as paramiko wants its socket, which counts what it hears.

    ``address`` is for messages. ``round_trip`` is the time of the TCP handshake in seconds, None
    where there was none of our own. ``heard`` grows with each piece of data; ``greeting`` is the
    first. ``is_ended`` says that the peer, not we, ended the stream. ``on_close`` ends what the
    stream runs through and gives what that had to say, which is then ``complaint``.
    """

    def __init__(
        self,
        stream: Stream,
        address: str,
        *,
        round_trip: float | None = None,
        on_close: Callable[[], str] = str,
    ) -> None:
        self._stream = stream
        self._on_close = on_close
        self._closing = threading.Lock()
        self.complaint = ""
        self._acknowledge = _quick_acknowledgement(stream)
        self.address = address
        self.round_trip = round_trip
        self.heard = 0
        self.greeting = b""
        self.is_ended = False
        self._closed = False  # by this name paramiko asks its sockets, see Transport.stop_thread

    def recv(self, size: int) -> bytes:
        try:
            data = self._stream.recv(size)
        except ConnectionError:
            self.is_ended = not self._closed
            raise
        if not data:
            self.is_ended = not self._closed
            return data
        self.heard += 1
        self._acknowledge()
        if len(self.greeting) < GREETING:
            self.greeting += data[:GREETING]
        return data

    def send(self, data: bytes) -> int:
        try:
            return self._stream.send(data)
        except ConnectionError:
            self.is_ended = not self._closed
            raise

    def settimeout(self, seconds: float | None) -> None:
        self._stream.settimeout(seconds)

    def close(self) -> None:
        """At once, from any thread: whoever sends or receives is released."""
        with self._closing:
            if not self._closed:
                self._closed = True
                self._end_stream()
                self.complaint = self._on_close()

    def _end_stream(self) -> None:
        if isinstance(self._stream, socket.socket):
            with contextlib.suppress(OSError):
                self._stream.shutdown(socket.SHUT_RDWR)
            self._stream.close()


def open_tcp(hostname: str, port: int, family: socket.AddressFamily, timeout: float) -> Wire:
    """Connect to the first address that answers; ``timeout`` in seconds is for all of them together.

    Raises ``socket.gaierror`` where the name is not found, else the last address's ``OSError``.
    """
    found = socket.getaddrinfo(hostname, port, family, socket.SOCK_STREAM)
    for left, (kind, _, _, _, address) in zip(range(len(found), 0, -1), found, strict=True):
        tcp = socket.socket(kind, socket.SOCK_STREAM)
        started = time.monotonic()
        try:
            tcp.settimeout(timeout / len(found))
            tcp.connect(address)
        except OSError:
            tcp.close()
            if left == 1:
                raise
        else:
            round_trip = time.monotonic() - started
            _tune(tcp)
            return Wire(tcp, address_text(str(address[0]), port), round_trip=round_trip)
    raise OSError(f"{hostname} has no address")


def open_command(command: str, address: str) -> Wire:
    """Run a ProxyCommand, as ssh_config(5) says: by the user's shell, with a socket for both directions."""
    ours, theirs = socket.socketpair()
    errors = tempfile.TemporaryFile()  # noqa: SIM115 - _end closes it
    with theirs:
        process = subprocess.Popen(
            [os.environ.get("SHELL") or "/bin/sh", "-c", f"exec {command}"],
            stdin=theirs.fileno(),
            stdout=theirs.fileno(),
            stderr=errors,
            start_new_session=True,  # Ctrl-C is for us: the link must live to say that we give up
        )
    return Wire(ours, address, on_close=lambda: _end(process, errors))


def address_text(host: str, port: int) -> str:
    """``host:port``, with brackets where the host is an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _tune(tcp: socket.socket) -> None:
    # Small packets at once: with Nagle's algorithm the handshake waits 40 ms for an acknowledgement.
    tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT)


def _quick_acknowledgement(stream: Stream) -> Callable[[], None]:
    """Linux forgets TCP_QUICKACK; set after each read it spares sshd's own 40 ms with Nagle."""
    option = getattr(socket, "TCP_QUICKACK", None)
    if option is None or not isinstance(stream, socket.socket) or stream.family == socket.AF_UNIX:
        return lambda: None
    tcp = stream

    def acknowledge() -> None:
        with contextlib.suppress(OSError):  # closed in the meantime
            tcp.setsockopt(socket.IPPROTO_TCP, option, 1)

    return acknowledge


def _end(process: subprocess.Popen[bytes], errors: IO[bytes]) -> str:
    """Stop the program; gives what it wrote to standard error."""
    process.terminate()
    try:
        process.wait(timeout=1)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    with errors:
        errors.seek(0)
        return printable(errors.read(LIMIT))
