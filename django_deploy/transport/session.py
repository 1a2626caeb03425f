"""A session with one host: the host program at the other end of a channel, asked and listened to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from functools import partial
from pathlib import Path
from typing import Any

from django_deploy.bundle.delta import Delta
from django_deploy.exceptions import (
    ConnectionFailed,
    ConnectionLost,
    DeployError,
    HostError,
    HostLocked,
    RequestFailed,
)
from django_deploy.host import protocol
from django_deploy.host.protocol import Event, Report
from django_deploy.host.shape import shown
from django_deploy.target import Host, Target
from django_deploy.transport import program
from django_deploy.transport.answers import MAX_OUTPUT, Budget, kind_of, read_error, read_reply
from django_deploy.transport.channel import Channel
from django_deploy.transport.local import LocalChannel
from django_deploy.transport.ssh import RETRY_FOR, Connection, Prompts, connect
from django_deploy.wording import size_text

#: How much of a file is read and handed to the channel at a time, in bytes.
CHUNK = 1 << 20

#: Seconds in which a host tells what it is and has: its process manager may take a while.
HELLO_TIMEOUT = 150.0

#: Seconds from one look at what has come to the next.
LOOK = protocol.HEARTBEAT / 5

#: Why a link has ended that we have given up.
SILENT = f"the link to the host broke: the host program has been silent for {protocol.SILENCE:.0f} s"

Reply = dict[str, Any]

#: Is called with the number of bytes that have just left.
Progress = Callable[[int], None]


def open_session(
    host: Host, target: Target, *, report: Report, prompts: Prompts, retry_for: float = RETRY_FOR
) -> HostSession:
    """Connect, start the host program, wait for its facts. Raises ``ConnectionFailed`` and its kinds.

    ``retry_for`` is as of ``connect``.
    """
    started = time.monotonic()
    hello = {
        "root": str(target.root),
        "python": target.python,
        "manager": target.process_manager,
        "heartbeat": protocol.HEARTBEAT,
        "silence": protocol.SILENCE,
    }
    connection: Connection | None = None
    channel: Channel
    if host.is_local:
        channel = LocalChannel(hello)
    else:
        connection = connect(host, prompts=prompts, retry_for=retry_for)
        channel = connection.execute(program.shell_command(hello))
    session = HostSession(host, channel, connection, report)
    session.start()
    seconds = round(time.monotonic() - started, 3)
    address = connection.address if connection else "this machine"
    report(Event("host.connected", host.name, fields={"address": address, "seconds": seconds}))
    return session


class HostSession:
    """Requests go out at once and are answered in order, each by its future.

    A future ends with the reply's result, or with ``HostLocked``, ``RequestFailed`` or
    ``ConnectionLost``. ``facts`` is what the host said of itself. Events are passed to ``report``
    with the host's name. All methods may be called from any thread.
    """

    def __init__(self, host: Host, channel: Channel, connection: Connection | None, report: Report) -> None:
        self.host = host
        self.facts: Reply = {}
        #: What the host said when it undid a transaction: the event's fields.
        self.reverted: Mapping[str, Any] | None = None
        self._channel = channel
        self._connection = connection
        self._report = report
        self._sending = threading.Lock()
        self._state = threading.Lock()
        self._pending: dict[int, Future[Reply]] = {}
        self._names = {0: "hello"}
        self._offers: dict[str, tuple[str, Callable[[], None]]] = {}
        self._budget = Budget()
        self._next_id = 1
        self._ended = threading.Event()
        self._end: ConnectionLost | ConnectionFailed | None = None
        self._is_aborted = False
        self._has_answered = False
        self._is_torn = False
        self._beaten = time.monotonic()
        self._pulse = protocol.PulseMonitor(protocol.SILENCE / LOOK)
        self._has_given_up = False

    def start(self) -> None:
        """Listen, and wait for the answer to the hello."""
        first: Future[Reply] = Future()
        self._pending[0] = first
        for work in (self._listen, self._beat):
            threading.Thread(target=work, name=f"{work.__name__} {self.host.name}", daemon=True).start()
        try:
            self.facts = first.result(HELLO_TIMEOUT)
        except FutureTimeout:
            self.close()
            message = f"the host program has not answered within {HELLO_TIMEOUT:g} s"
            remedy = "Is the host overloaded? Look there, and deploy again."
            raise ConnectionFailed(self.host.name, message, remedy=remedy) from None
        self._has_answered = True

    @property
    def end(self) -> ConnectionLost | ConnectionFailed | None:
        """Why the session is over; None while it lasts."""
        return self._end

    def request(self, name: str, **fields: Any) -> Future[Reply]:
        """Send a request without waiting for those before it."""
        future: Future[Reply] = Future()
        with self._sending:
            with self._state:
                if self._end is not None:
                    future.set_exception(self._end)
                    return future
                id, self._next_id = self._next_id, self._next_id + 1
                line = protocol.encode({"id": id, "request": name, **fields})
                if len(line) > protocol.MAX_LINE:
                    future.set_exception(self._too_long(name, len(line)))
                    return future
                self._pending[id], self._names[id] = future, name
            self._send(line)
        return future

    def _too_long(self, name: str, size: int) -> HostError:
        return HostError(
            self.host.name,
            f"the request {name!r} has {size_text(size)}, and {size_text(protocol.MAX_LINE)} are possible",
            remedy="Shorten what is long in the target's settings.",
        )

    def send_file(self, path: Path, sha256: str, name: str, progress: Progress) -> None:
        """Send an artifact to the host's store; ``progress`` is called with bytes as they leave.

        Should it be damaged there before it is used, the host gets it again.
        """
        self.offer_file(path, sha256, name, progress)
        self._send_whole(path, sha256, name, progress)

    def send_delta(self, delta: Delta, path: Path, sha256: str, name: str, progress: Progress) -> None:
        """The same by its difference to what the host has; should that fail, the host gets the whole."""
        message = "A wheel is sent as a whole, as its difference could not be used"
        self._offers[sha256] = (message, partial(self._send_whole, path, sha256, name, progress))
        whole = path.stat().st_size
        header = {"blob": sha256, "size": delta.size, "name": name, "base": delta.base, "whole": whole}
        self._send_blob(delta.path, header, progress)

    def offer_file(self, path: Path, sha256: str, name: str, progress: Progress) -> None:
        """Send nothing: the host's store has it. Should it be damaged there, the host gets it again."""
        send = partial(self._send_whole, path, sha256, name, progress)
        self._offers[sha256] = (f"{name} is sent again", send)

    def _send_whole(self, path: Path, sha256: str, name: str, progress: Progress) -> None:
        self._send_blob(path, {"blob": sha256, "size": path.stat().st_size, "name": name}, progress)

    def _send_blob(self, path: Path, header: Mapping[str, Any], progress: Progress) -> None:
        with self._sending, path.open("rb") as file:
            self._send(protocol.encode(header))
            while data := file.read(CHUNK):
                if self._is_aborted:
                    self._is_torn = True
                if self._is_torn or self._ended.is_set():
                    return
                self._send(memoryview(data))
                progress(len(data))

    def abort(self) -> None:
        """Ask the host to undo: Ctrl-C. In the middle of a file the link is cut, which means the same."""
        self._is_aborted = True
        with self._sending:
            if self._is_torn:
                self.close()
            else:
                self._send(protocol.encode({"abort": True}))

    def close(self) -> None:
        """End the link, from any thread; what waits for it is released.

        After confirm the host finishes alone; before it, it undoes what was begun.
        """
        self._channel.close()
        if self._connection is not None:
            self._connection.close()

    def wait_for_end(self, timeout: float | None = None) -> bool:
        """Wait until the host program has gone, at most ``timeout`` seconds; gives whether it has."""
        return self._ended.wait(timeout)

    def _send(self, data: bytes | memoryview) -> None:
        try:
            self._channel.send(data)
        except (OSError, EOFError, ValueError):
            self._is_torn = True  # the listener hears of it too, and says it to all who wait

    def _listen(self) -> None:
        rest = b""
        try:
            while data := self._channel.receive(1 << 16):
                self._pulse.hear()
                *lines, rest = (rest + data).split(b"\n")
                if len(rest) > protocol.MAX_LINE:
                    raise protocol.ProtocolError("a message of more than 4 MB")
                for line in lines:
                    self._take(protocol.decode(line), len(line))
            self._over(SILENT if self._has_given_up else "the link to the host ended")
        except protocol.ProtocolError as error:
            self._over(f"the host program was not understood: {error}")
        except (OSError, EOFError) as error:
            self._over(SILENT if self._has_given_up else f"the link to the host broke: {error}")
        except BaseException:
            self._over("we could not go on listening, which is a bug of django-deploy")
            raise

    def _take(self, message: Reply, size: int) -> None:
        kind = kind_of(message)
        if kind == "event":
            self._take_event(message, size)
        elif kind == "id":
            self._take_reply(message)
        elif kind == "wanted":
            self._send_wanted(str(message["wanted"]), str(message.get("why")))

    def _take_reply(self, message: Reply) -> None:
        id = message["id"]
        with self._state:
            future = self._pending.get(id) if type(id) is int else None
        if future is None:
            raise protocol.ProtocolError(f"a reply to {shown(id)}, which nobody asked")
        # It waits until it is known that there is something to tell: else nobody would.
        answer = (
            self._error(id, message["error"])
            if "error" in message
            else read_reply(id, self._names[id], message)
        )
        with self._state:
            self._pending.pop(id, None)
            self._names.pop(id, None)
        if isinstance(answer, DeployError):
            future.set_exception(answer)
        else:
            future.set_result(answer)

    def _send_wanted(self, sha256: str, why: str) -> None:
        """Send what the host could not make of its difference, or has damaged; once, if it was offered."""
        if sha256 not in self._offers:
            raise protocol.ProtocolError("it asks for a file that was not offered")
        message, send = self._offers.pop(sha256)

        def work() -> None:
            try:
                send()
            except OSError:  # it was here just now; without it the host would wait for ever
                self.close()

        fields = {"message": f"{message}: {why}.", "remedy": ""}
        self._report(Event("warning", self.host.name, fields=fields))
        threading.Thread(target=work, name=f"sending again {self.host.name}", daemon=True).start()

    def _take_event(self, message: Reply, size: int) -> None:
        was_over = self._budget.is_output_over
        if self._budget.spend(message, size):
            self._pass_on(message)
        if self._budget.is_output_over and not was_over:
            text = f"There was more than {size_text(MAX_OUTPUT)} of output: the rest is not shown."
            self._report(Event("warning", self.host.name, fields={"message": text, "remedy": ""}))

    def _pass_on(self, message: Reply) -> None:
        fields = {name: value for name, value in message.items() if name not in ("event", "at", "host")}
        if message["event"] == "reverted":
            self.reverted = fields
        self._report(Event(message["event"], self.host.name, float(message["at"]), fields))

    def _error(self, id: int, message: Any) -> DeployError:
        error = read_error(id, message)
        if error["type"] == "Locked":
            return HostLocked(self.host.name, error["message"], remedy=error["remedy"])
        return RequestFailed(
            self.host.name,
            error["message"],
            type=error["type"],
            remedy=error["remedy"],
            details=error["details"],
            reverted=error["reverted"],
        )

    def _over(self, why: str) -> None:
        """Tell everybody who waits that nothing more will come."""
        self.close()
        status, text = self._channel.finish()
        end = self._explain(why, status, text)
        with self._state:
            self._end = end
            pending, self._pending = self._pending, {}
        for future in pending.values():
            future.set_exception(end)
        self._ended.set()

    def _explain(self, why: str, status: int | None, text: str) -> ConnectionLost | ConnectionFailed:
        last = text.strip()[-2000:]
        if self._has_answered:
            detail = f"\n{last}" if last else ""
            return ConnectionLost(
                self.host.name, why + detail, remedy="The host reverts by itself; deploy again."
            )
        if status == 127:
            return ConnectionFailed(
                self.host.name,
                "there is no python3 on the host",
                remedy="Install it there (Debian: apt install python3), 3.9 or newer.",
            )
        detail = f": {last}" if last else ""
        status_text = "" if status is None else f", exit status {status}"
        return ConnectionFailed(
            self.host.name,
            f"the host program did not start ({why}{status_text}){detail}",
            remedy="Does its login shell print text or need a terminal? Try: ssh HOST python3 --version",
        )

    def _beat(self) -> None:
        """Our pulse, and an ear for theirs: a peer that is silent for too long is given up."""
        line = protocol.encode({"heartbeat": True})
        while not self._ended.wait(LOOK):
            if self._pulse.looks_in_vain():
                self._has_given_up = True
                self.close()
                return
            # Whoever holds the lock is sending, which is pulse enough.
            if self._is_time_to_beat() and self._sending.acquire(blocking=False):
                try:
                    if not self._is_torn:
                        self._send(line)
                finally:
                    self._sending.release()

    def _is_time_to_beat(self) -> bool:
        now = time.monotonic()
        if now - self._beaten < protocol.HEARTBEAT:
            return False
        self._beaten = now
        return True
