"""A TCP proxy that makes a link slow, silent or broken; for in front of a host's port 22."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

Result = TypeVar("Result")

#: Chunks with the time when each arrives; an empty one is the end.
Line: TypeAlias = "asyncio.Queue[tuple[float, bytes]]"

CHUNK = 64 * 1024

#: Chunks on their way in one direction: the capacity of the line, 64 MiB.
IN_FLIGHT = 1024


class Proxy:
    """Listens at ``address:port`` and forwards to ``host:to_port``, from a thread of its own.

    ``round_trip`` is in seconds and may be changed at any time: every byte is held back for half of
    it, without limiting how many are on their way; ``rate`` limits the bytes a second to the host, where it
    is not 0. ``up`` and ``down`` count the bytes that came from
    the client and from the host. ``rounds`` counts how often a client spoke after it had heard
    something new: a lower bound of the round trips that it waited for.
    """

    def __init__(
        self, host: str, to_port: int = 22, *, address: str = "127.0.0.1", round_trip: float = 0.0
    ) -> None:
        self.host = host
        self.to_port = to_port
        self.address = address
        self.round_trip = round_trip
        self.rate = 0.0
        self.up = self.down = self.rounds = 0
        self._severed = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._flowing = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self.port: int = self._call(self._listen())

    # What a test does to the link

    def silence(self) -> None:
        """Forward nothing and keep all connections open, as when a cable is pulled."""
        self._call(self._set(flowing=False, severed=False))

    def sever(self) -> None:
        """Answer all connections, and all new ones, with RST."""
        self._call(self._set(flowing=True, severed=True))

    def restore(self) -> None:
        """Forward again; what was held back in silence arrives first."""
        self._call(self._set(flowing=True, severed=False))

    def close(self) -> None:
        """Drop all connections and stop listening; safe to repeat."""
        if self._loop.is_closed():
            return
        self._call(self._shut())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # Inside the thread

    def _call(self, work: Coroutine[object, object, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self) -> int:
        self._flowing.set()
        self._server = await asyncio.start_server(self._accept, self.address, 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def _set(self, *, flowing: bool, severed: bool) -> None:
        self._severed = severed
        if severed:
            for writer in [*self._writers]:
                abort(writer)
        (self._flowing.set if flowing else self._flowing.clear)()

    async def _shut(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        try:
            await self._forward(reader, writer)
        except (OSError, asyncio.CancelledError):
            abort(writer)
        finally:
            self._tasks.discard(task)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._severed:
            abort(writer)
            return
        await self._flowing.wait()
        host_reader, host_writer = await asyncio.open_connection(self.host, self.to_port)
        ends = {writer, host_writer}
        self._writers |= ends
        try:
            await Link(self).carry(reader, writer, host_reader, host_writer)
        finally:
            self._writers -= ends
            for end in ends:
                end.close()

    async def arrival(self, due: float) -> None:
        """Wait until the time when something sent may arrive, and for the link to be whole."""
        if (wait := due - self._loop.time()) > 0:
            await asyncio.sleep(wait)
        await self._flowing.wait()

    def due(self) -> float:
        """When what is sent now arrives at the other end."""
        return self._loop.time() + self.round_trip / 2


class Link:
    """One connection through the proxy: a line in each direction."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self.heard = False

    async def carry(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        host_reader: asyncio.StreamReader,
        host_writer: asyncio.StreamWriter,
    ) -> None:
        """Forward both ways until both ends have said all, or one of them fails."""
        up: Line = asyncio.Queue(IN_FLIGHT)
        down: Line = asyncio.Queue(IN_FLIGHT)
        work = [
            self.take(reader, up, self.count_up),
            self.deliver(up, host_writer, up=True),
            self.take(host_reader, down, self.count_down),
            self.deliver(down, writer),
        ]
        tasks = [asyncio.ensure_future(part) for part in work]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    async def take(self, reader: asyncio.StreamReader, line: Line, count: Callable[[bytes], None]) -> None:
        chunk = b"-"
        while chunk:
            chunk = await reader.read(CHUNK)
            count(chunk)
            await line.put((self.proxy.due(), chunk))

    async def deliver(self, line: Line, writer: asyncio.StreamWriter, *, up: bool = False) -> None:
        chunk = b"-"
        while chunk:
            due, chunk = await line.get()
            await self.proxy.arrival(due)
            if up and self.proxy.rate:
                await asyncio.sleep(len(chunk) / self.proxy.rate)
            writer.write(chunk)
            await writer.drain()
        writer.write_eof()

    def count_up(self, chunk: bytes) -> None:
        self.proxy.up += len(chunk)
        self.proxy.rounds += self.heard
        self.heard = False

    def count_down(self, chunk: bytes) -> None:
        self.proxy.down += len(chunk)
        self.heard = True


def abort(writer: asyncio.StreamWriter) -> None:
    """Close with RST: a socket that must not linger says so to its peer."""
    connection = writer.get_extra_info("socket")
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
