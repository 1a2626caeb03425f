"""Stands in for nginx in the demo: passes each connection on to the site's Unix socket.

The path is looked up for every connection, so traffic moves when a deployment switches the link.
The front door is a process of its own. Its state file says ``PID PORT`` and is locked for as long as
the process lives (it inherits the lock), so that no stale file is believed.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

CLOSED = (
    b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n"
    b"The site is not running.\n"
)


class OpenDoor(NamedTuple):
    """A front door that is open now."""

    pid: int
    port: int


def find(state_file: Path) -> OpenDoor | None:
    """The front door that holds the lock of its state file."""
    try:
        with state_file.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return None
    except BlockingIOError:
        pid, port = state_file.read_text().split()
        return OpenDoor(int(pid), int(port))
    return None


def open_for(site: Path, state_file: Path, log_file: Path, port: int) -> OpenDoor:
    """Start a front door that outlives this process; ``site`` is the path of the Unix socket.

    It listens on ``port`` of the loopback address, or on a free one if that is taken.
    """
    with listen(port) as listener, state_file.open("a") as state, log_file.open("ab") as log:
        fcntl.flock(state, fcntl.LOCK_EX | fcntl.LOCK_NB)
        inherited = listener.fileno(), state.fileno()
        subprocess.run(
            [sys.executable, __file__, *map(str, inherited), str(site)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=inherited,
            start_new_session=True,
            check=True,
        )
    door = find(state_file)
    assert door is not None, f"the front door fell shut, see {log_file}"
    return door


def listen(port: int) -> socket.socket:
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError:
        return socket.create_server(("127.0.0.1", 0))


async def serve(listener: socket.socket, path: str) -> None:
    """Pass connections on until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = await asyncio.start_server(lambda *client: pass_on(*client, path=path), sock=listener)
    await stop.wait()
    server.close()


async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str) -> None:
    try:
        site_reader, site_writer = await asyncio.open_unix_connection(path)
    except OSError:
        await reader.read(65536)  # an unread request would reset the connection
        writer.write(CLOSED)
        writer.close()
        return
    await asyncio.gather(copy(reader, site_writer), copy(site_reader, writer))
    for end in (site_writer, writer):
        end.close()


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One direction, to its end; the other may still have something to say."""
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.close()  # this side is gone: the other direction ends, too


def main(listening: str, locked: str, path: str) -> None:
    """Leave a process behind that serves, and its number in the state file."""
    listener = socket.socket(fileno=int(listening))
    pid = os.fork()
    if pid:
        os.ftruncate(int(locked), 0)
        os.write(int(locked), f"{pid} {listener.getsockname()[1]}\n".encode())
    else:
        asyncio.run(serve(listener, path))


if __name__ == "__main__":
    main(*sys.argv[1:])
