"""The host program's end of the channel: it reads, writes, keeps the pulse and notices a loss."""

from __future__ import annotations

import io
import os
import queue
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any, Callable, Optional

from . import protocol
from .shape import Shape, check

#: How much is read at a time, in bytes.
PIECE = 1 << 18

#: Requests that may wait for those before them.
MAX_WAITING = 1000

_SIZE = range(1 << 40)
_REQUEST: Shape = {"id": int, "request": str}
_BLOB: Shape = {"blob": str, "size": _SIZE, "name": str}
_RECIPE: Shape = {**_BLOB, "base": str, "whole": _SIZE}
#: The fields that hold what programs wrote; those beside them are words of the protocol.
TEXTS = frozenset({"line", "lines", "message", "errors", "error", "reason", "warnings"})

MASK = "****"

#: Called with a blob's header and a reader of exactly its bytes.
Receive = Callable[[dict[str, Any], "BlobReader"], None]


class BlobReader:
    """The bytes of one blob, and not one more."""

    def __init__(self, source: io.BufferedIOBase, size: int, seen: Callable[[], None]) -> None:
        self._source = source
        self.seen = seen
        self.left = size

    def pieces(self) -> Iterator[memoryview]:
        """What is left, as it comes; each piece is valid until the next one."""
        buffer = memoryview(bytearray(PIECE))
        while self.left:
            size = self._source.readinto1(buffer[: self.left])
            if not size:
                raise EOFError("the link ended in the middle of a file")
            self.left -= size
            self.seen()
            yield buffer[:size]

    def drain(self) -> None:
        for _ in self.pieces():
            pass


class Link:
    """One duplex channel to the deployer.

    ``lost`` is set once and for ever: by an abort, a signal, the end of input, or ``silence``
    seconds without a byte; ``reason`` says which, and ``on_loss`` is called. Nobody who writes can be
    blocked by a peer that does not read: a thread writes, and once the link is lost it drops what is left.
    """

    def __init__(
        self,
        source: int,
        sink: int,
        receive: Receive,
        heartbeat: float,
        silence: float,
        on_loss: Callable[[], None],
    ) -> None:
        self.lost = threading.Event()
        self.reason = ""
        self._source = io.BufferedReader(io.FileIO(source, closefd=False), PIECE)
        self._sink = sink
        self._receive = receive
        self._heartbeat = heartbeat
        self._silence = silence
        self._pulse = protocol.PulseMonitor(silence / heartbeat)
        self._on_loss = on_loss
        self._secrets: set[str] = set()
        self._requests: queue.Queue[Optional[dict[str, Any]]] = queue.Queue()
        self._outgoing: queue.Queue[Optional[bytes]] = queue.Queue(maxsize=1000)
        self._signals: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write, daemon=True)

    def start(self) -> None:
        # A handler may have interrupted whoever holds a lock that lose() takes; this queue needs none.
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, lambda signum, frame: self._signals.put(signum))
        for work in (self._read, self._watch, self._heed_signals):
            threading.Thread(target=work, daemon=True).start()
        self._writer.start()

    def lose(self, reason: str) -> None:
        if not self.lost.is_set():
            self.reason = reason
            self.lost.set()
            self._on_loss()
        self._requests.put(None)

    def pause(self, seconds: float) -> None:
        """Wait; raises the ``Failure`` of ``stop_if_lost`` as soon as the link is lost."""
        self.lost.wait(seconds)
        self.stop_if_lost()

    def stop_if_lost(self) -> None:
        """Raises a ``Failure`` that says why the link was lost, if it was."""
        if self.lost.is_set():
            raise self.loss()

    def loss(self, **details: Any) -> protocol.Failure:
        """Once it was lost: what ended whatever was under way."""
        return protocol.Failure("Aborted", self.reason, "Deploy again.", **details)

    def next_request(self) -> dict[str, Any] | None:
        """The next request, or None when there will be no more."""
        if self.lost.is_set():
            return None
        return self._requests.get()

    def send(self, message: dict[str, Any]) -> None:
        """Hand a message to the writer. After a loss it is tried, and dropped where it would block."""
        line = protocol.encode(self._masked(message) if self._secrets else message)
        if len(line) > protocol.MAX_LINE:
            line = protocol.encode(_instead_of(message, len(line)))
        while self._writer.is_alive():
            try:
                return self._outgoing.put(line, timeout=0.0 if self.lost.is_set() else 0.2)
            except queue.Full:
                if self.lost.is_set():
                    return None
        return None

    def hide(self, secrets: Iterable[str]) -> None:
        """Mask these words from now on in all that the site and its programs wrote."""
        self._secrets.update(secrets)

    def _masked(self, value: Any, is_text: bool = False) -> Any:
        if isinstance(value, dict):
            return {name: self._masked(item, is_text or name in TEXTS) for name, item in value.items()}
        if isinstance(value, list):
            return [self._masked(item, is_text) for item in value]
        if isinstance(value, str) and is_text:
            for secret in sorted(self._secrets, key=len, reverse=True):
                value = value.replace(secret, MASK)
        return value

    def report(self, kind: str, **fields: Any) -> None:
        self.send({"event": kind, "at": round(time.time(), 3), **fields})

    def flush(self, timeout: float = 2.0) -> None:
        """Wait until all is written, at most ``timeout`` seconds."""
        try:
            self._outgoing.put(None, timeout=timeout)
        except queue.Full:
            return
        self._writer.join(timeout)

    def _read(self) -> None:
        try:
            while not self.lost.is_set() or self.reason == "abort":
                self._read_message()
        except EOFError:
            self.lose("the link ended")
        except (OSError, protocol.ProtocolError) as error:
            self.lose(str(error))
        except BaseException as error:
            self.lose(f"{type(error).__name__}: {error}")  # a bug: nobody is left waiting for it
            raise

    def _read_message(self) -> None:
        line = self._source.readline(protocol.MAX_LINE)
        self._pulse.hear()
        if not line.endswith(b"\n"):
            raise EOFError
        message = protocol.decode(line)
        if "blob" in message:
            check(message, _RECIPE if "base" in message else _BLOB, "blob")
            self._receive(message, BlobReader(self._source, message["size"], self._pulse.hear))
        elif "abort" in message:
            self.lose("abort")
        elif "request" in message:
            check(message, _REQUEST, "request")
            if self._requests.qsize() > MAX_WAITING:
                raise protocol.ProtocolError(f"more than {MAX_WAITING} requests wait")
            self._requests.put(message)

    def _heed_signals(self) -> None:
        while True:
            self.lose(f"signal {self._signals.get()}")

    def _watch(self) -> None:
        """Also after a loss: whoever may be waiting there for our end hears that it is still to come."""
        beat = protocol.encode({"heartbeat": True})
        while True:
            time.sleep(self._heartbeat)
            if not self.lost.is_set() and self._pulse.looks_in_vain():
                self.lose(f"no sign of the deployer for {self._silence:.0f} s")
            elif self._outgoing.empty():
                self._outgoing.put(beat)

    def _write(self) -> None:
        while True:
            line = self._outgoing.get()
            if line is None:
                return None
            try:
                _write_all(self._sink, line)
            except OSError as error:
                return self.lose(str(error))


def _instead_of(message: dict[str, Any], size: int) -> dict[str, Any]:
    """What is sent for a message that would be longer than one may be."""
    text = f"what the host has to say is {size} bytes long, and {protocol.MAX_LINE} are possible"
    if "id" not in message:
        return {"event": "warning", "at": round(time.time(), 3), "message": text, "remedy": ""}
    failure = protocol.Failure("HostUnfit", text, "Keep fewer releases there: KEEP_RELEASES.")
    return {"id": message["id"], "error": {**failure.as_dict(), "reverted": False}}


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
