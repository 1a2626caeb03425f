"""A long way to a host: the proxy of the tests, with what TCP itself costs on such a way."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from tests.hosts.proxy import CHUNK, Line, Link, Proxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Bytes in a packet, and packets that TCP sends before it has heard of the first (RFC 6928).
SEGMENT = 1460
INITIAL_WINDOW = 10 * SEGMENT

#: Seconds of silence, beside a round trip, after which TCP starts slowly again (RFC 5681, 4.1).
IDLE = 0.2


class WideArea(Proxy):
    """Charges a round trip for the TCP handshake, and the further ones of a slow start (RFC 5681, 3.1)."""

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(self.round_trip)
        host_reader, host_writer = await asyncio.open_connection(self.host, self.to_port)
        try:
            await SlowLink(self).carry(reader, writer, host_reader, host_writer)
        finally:
            writer.close()
            host_writer.close()


class SlowLink(Link):
    """One connection, whose two directions each have a congestion window."""

    async def take(self, reader: asyncio.StreamReader, line: Line, count: Callable[[bytes], None]) -> None:
        window = Window(self.proxy.round_trip)
        chunk = b"-"
        while chunk:
            chunk = await reader.read(CHUNK)
            count(chunk)
            for sent, piece in window.admit(chunk, asyncio.get_running_loop().time()):
                await line.put((sent + self.proxy.round_trip / 2, piece))


class Window:
    """What one end of a connection may have under way; it grows by what is acknowledged, as Linux does it."""

    def __init__(self, round_trip: float) -> None:
        self.round_trip = round_trip
        self.size = INITIAL_WINDOW
        self._flying: deque[tuple[float, int]] = deque()  # when it is acknowledged, bytes
        self._in_flight = self._most = 0
        self._last = 0.0

    def admit(self, chunk: bytes, now: float) -> Iterator[tuple[float, bytes]]:
        """The packets of ``chunk`` and when each leaves, in seconds on the clock of ``now``."""
        if now - self._last > IDLE + self.round_trip:
            self.size, self._most = min(self.size, INITIAL_WINDOW), 0
        for start in range(0, max(len(chunk), 1), SEGMENT):
            packet = chunk[start : start + SEGMENT]
            self._last = self._leave(max(now, self._last), len(packet))
            yield self._last, packet

    def _leave(self, time: float, size: int) -> float:
        """Send a packet as soon as there is room for it; gives when that is."""
        while self._flying and (self._flying[0][0] <= time or self._in_flight + size > self.size):
            time = max(time, self._acknowledge())
        self._flying.append((time + self.round_trip, size))
        self._in_flight += size
        self._most = max(self._most, self._in_flight)
        return time

    def _acknowledge(self) -> float:
        time, size = self._flying.popleft()
        self._in_flight -= size
        if self.size < 2 * self._most:  # a window that is not used does not grow (tcp_is_cwnd_limited)
            self.size += size
        return time
