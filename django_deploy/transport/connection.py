"""A connection that is logged in, and the channels that carry programs over it."""

from __future__ import annotations

import contextlib
import threading
import time

from django_deploy.exceptions import ConnectionFailed, ConnectionLost
from django_deploy.transport._paramiko import paramiko
from django_deploy.transport.authentication import Transport
from django_deploy.transport.channel import MAX_ERROR_TEXT
from django_deploy.transport.execution import STDERR, Window
from django_deploy.transport.printable import printable
from django_deploy.transport.watchdog import GIVE_UP_AFTER, Watchdog
from django_deploy.transport.wire import Wire, address_text

#: What goes into one packet: OpenSSH's limit of 32 kB less paramiko's reserve for the header.
CHUNK = 32768 - 64

#: sshd grows the buffer of a backlogged channel in small copies; so on a short way less is in flight: this
#: much, and at most as much again that left before it was known how short the way is.
IN_FLIGHT = 512 * 1024
SHORT_ROUND_TRIP = 0.002
SHORT_ANSWER = 0.020

_watchdog = Watchdog()


class Connection:
    """A host that we are logged in to; watched, so that its silence ends within 16 seconds.

    ``address`` is ``ip:port``, or the name where a jump host or a proxy command resolves it.
    """

    def __init__(self, transport: Transport, wire: Wire, name: str) -> None:
        self._transport = transport
        self._wire = wire
        self._name = name
        self._is_silent = False
        _watchdog.watch(self)

    @property
    def name(self) -> str:
        return self._name

    @property
    def address(self) -> str:
        return self._wire.address

    def execute(self, command: str) -> SSHChannel:
        """Run ``command`` in the user's login shell there. Raises ``ConnectionFailed``."""
        return SSHChannel(self._start(command, None), self)

    def run(self, command: str, window: Window | None = None) -> SSHExecution:
        """The same for a person, with streams of its own; on a terminal where there is a ``window``."""
        return SSHExecution(self._start(command, window), self, has_terminal=window is not None)

    def _start(self, command: str, window: Window | None) -> paramiko.Channel:
        try:
            channel = self._transport.open_session()
            if window is not None:
                channel.get_pty(window.term, window.columns, window.rows)
            channel.exec_command(command)
        except (paramiko.SSHException, EOFError, OSError) as error:
            why = self.why_lost() or printable(str(error), 200)
            raise ConnectionFailed(self._name, f"{self.address} does not run commands: {why}") from error
        return channel

    def reach(self, hostname: str, port: int, timeout: float) -> Wire:
        """A wire from there to another host; closing it closes this connection."""
        channel = self._transport.open_channel(
            "direct-tcpip", (hostname, port), ("127.0.0.1", 0), timeout=timeout
        )
        return Wire(channel, address_text(hostname, port), on_close=self._close_silently)

    def close(self) -> None:
        """At once, from any thread; whoever sends or receives is released."""
        _watchdog.release(self)
        self._wire.close()
        self._transport.close()

    def is_short_way(self) -> bool:
        """Whether OpenSSH at the other end is near; it is asked where that may be."""
        round_trip = self._wire.round_trip
        if round_trip is None or round_trip > SHORT_ROUND_TRIP:
            return False
        if not self._transport.remote_version.startswith("SSH-2.0-OpenSSH_"):
            return False
        # A relay on this machine answers the TCP handshake at once, whatever lies behind it.
        started = time.monotonic()
        self.ask()
        return time.monotonic() - started < SHORT_ANSWER

    def why_lost(self) -> str:
        """Why the link is gone, if it is and not by our own ``close``."""
        if self._is_silent:
            return f"{self.address} has been silent for {GIVE_UP_AFTER} s"
        if self._transport.last_words:
            return f"{self.address} hung up: {self._transport.last_words}"
        if self._wire.is_ended:
            return f"{self.address} cut the connection"
        return ""

    # What the watchdog asks of a link

    @property
    def heard(self) -> int:
        return self._wire.heard

    def ask(self) -> None:
        with contextlib.suppress(paramiko.SSHException, EOFError, OSError):
            self._transport.global_request("keepalive@openssh.com", wait=True)

    def give_up(self) -> None:
        self._is_silent = True
        self.close()

    def _close_silently(self) -> str:
        self.close()
        return ""


class SSHChannel:
    """The channel to a program on the host: its standard input, output and error."""

    def __init__(self, channel: paramiko.Channel, connection: Connection) -> None:
        self._channel = channel
        self._connection = connection
        self._errors = bytearray()
        self._throttle = _Throttle(channel, connection)
        # Both loops below go on after it: it is when the one looks after standard error and the
        # other after its throttle. Silence is the watchdog's.
        channel.settimeout(1.0)

    def send(self, data: bytes | memoryview) -> None:
        rest = memoryview(data).cast("B")
        while rest:
            rest = rest[self._send_some(bytes(rest[:CHUNK])) :]

    def receive(self, size: int) -> bytes:
        """At most ``size`` bytes; ``b""`` at the end. Raises ``OSError`` where the link broke before it."""
        while True:
            self._drain()
            try:
                data = self._channel.recv(size)
            except TimeoutError:
                continue
            if not data:
                self._end()
            return data

    def finish(self) -> tuple[int | None, str]:
        """After the end: the exit status (None if unknown) and the end of standard error."""
        self._drain()
        status = self._channel.recv_exit_status() if self._channel.exit_status_ready() else -1
        return (status if status >= 0 else None), self._errors.decode("utf-8", "replace")

    def close(self) -> None:
        """At once, from any thread. A peer that takes nothing any more costs the whole connection."""
        farewell = threading.Thread(target=self._close, name="ssh close", daemon=True)
        farewell.start()
        farewell.join(0.2)
        if farewell.is_alive():
            self._connection.close()

    def _close(self) -> None:
        with contextlib.suppress(paramiko.SSHException, EOFError, OSError):
            self._channel.close()

    def _send_some(self, data: bytes) -> int:
        self._throttle.hold(len(data))
        try:
            sent = self._channel.send(data)
        except TimeoutError:
            self._throttle.release()
            return 0
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise ConnectionError(self._connection.why_lost() or "the channel is closed") from error
        if sent == 0:
            raise ConnectionError(self._connection.why_lost() or "the channel is closed")
        return sent

    def _end(self) -> None:
        """The output has ended: by the program, which then has an exit status, or with the link."""
        why = self._connection.why_lost()
        if why and not self._channel.eof_received:
            raise ConnectionError(why)
        self._channel.status_event.wait(1.0)
        self._drain()

    def _drain(self) -> None:
        """Keep the end of standard error; what nobody reads would in time hold up the output."""
        while self._channel.recv_stderr_ready():
            self._errors += self._channel.recv_stderr(1 << 16)
            del self._errors[:-MAX_ERROR_TEXT]


class SSHExecution:
    """A command of a person's on the host; closing it closes the connection, which is only for it."""

    def __init__(self, channel: paramiko.Channel, connection: Connection, *, has_terminal: bool) -> None:
        self._channel = channel
        self._connection = connection
        self._has_terminal = has_terminal

    def send(self, data: bytes) -> None:
        try:
            self._channel.sendall(data)
        except (paramiko.SSHException, EOFError) as error:
            raise ConnectionError("the channel is closed") from error

    def end_input(self) -> None:
        with contextlib.suppress(paramiko.SSHException, EOFError, OSError):
            self._channel.shutdown_write()

    def receive(self, stream: str, size: int) -> bytes:
        return self._channel.recv_stderr(size) if stream == STDERR else self._channel.recv(size)

    def resize(self, window: Window) -> None:
        with contextlib.suppress(paramiko.SSHException, EOFError, OSError):
            self._channel.resize_pty(window.columns, window.rows)

    def interrupt(self) -> None:
        """Ctrl-C: by the key where there is a terminal, else as a signal (RFC 4254, 6.9)."""
        with contextlib.suppress(paramiko.SSHException, EOFError, OSError):
            if self._has_terminal:
                self._channel.sendall(b"\x03")
            else:
                self._send_signal("INT")

    def _send_signal(self, name: str) -> None:
        """paramiko has the request's number but no method for it."""
        message = paramiko.Message()
        message.add_byte(paramiko.common.cMSG_CHANNEL_REQUEST)
        message.add_int(self._channel.remote_chanid)
        message.add_string("signal")
        message.add_boolean(False)
        message.add_string(name)
        self._channel.get_transport()._send_user_message(message)  # type: ignore[attr-defined]

    def wait(self) -> int | None:
        self._channel.status_event.wait()
        status = self._channel.recv_exit_status()
        why = self._connection.why_lost()
        if status < 0 and why:
            raise ConnectionLost(
                self._connection.name, why, remedy="What was started there may still be at work."
            )
        return status if status >= 0 else None

    def close(self) -> None:
        self._connection.close()


class _Throttle:
    """On a short way it holds back a part of the window that sshd granted, so that less is in flight.

    There is no public way to it; where paramiko's attributes change, nothing is held back. Only
    OpenSSH's way of granting is known never to wait for what is held back; still ``release``
    returns it, should nothing move.
    """

    def __init__(self, channel: paramiko.Channel, connection: Connection) -> None:
        self._channel = channel
        self._connection = connection
        self._sent = 0
        self._held: int | None = None

    def hold(self, size: int) -> None:
        """Called with the size of all that is sent, before it is; once there is enough, it acts, once."""
        self._sent += size
        if self._held is None and self._sent > IN_FLIGHT:
            self._held = 0
            if self._connection.is_short_way():
                self._hold()

    def _hold(self) -> None:
        with self._channel.lock:
            self._held = max(0, getattr(self._channel, "out_window_size", 0) - IN_FLIGHT)
            if self._held:
                self._channel.out_window_size -= self._held

    def release(self) -> None:
        held, self._held = self._held, 0
        if held:
            with self._channel.lock:
                self._channel.out_window_size += held
