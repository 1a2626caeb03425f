"""Runs a ``manage.py`` command of the live release: on one host as if one sat there, or on several."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field

from .exceptions import HostError
from .host.commands import LineSplitter
from .host.live import NOT_RUN
from .target import Host, Target
from .transport import program
from .transport.execution import STREAMS, Execution, LocalExecution, Window
from .transport.ssh import Prompts, connect, no_prompts

#: Called with one of ``STREAMS`` and bytes as they come; from a thread for each stream.
Sink = Callable[[str, bytes], None]

#: The exit status of a command that was ended by Ctrl-C, and of one whose output nobody takes any more.
INTERRUPTED = 130
UNREAD = 141

#: Seconds after which a resized window is told, and the end of the input is noticed.
TICK = 0.1


def start(
    host: Host, target: Target, words: Sequence[str], *, prompts: Prompts, window: Window | None = None
) -> Execution:
    """Start a ``manage.py`` command of the release that is live on the host.

    The words go to the program as they are: they travel in the packed argument that starts it, and what
    the login shell sees of them is base64. Raises ``ConnectionFailed`` and its kinds.
    """
    hello = {"root": str(target.root), "words": list(words)}
    if host.is_local:
        return LocalExecution(program.command(hello, "live"), has_terminal=window is not None)
    connection = connect(host, prompts=prompts)
    try:
        return connection.run(program.shell_command(hello, "live"), window)
    except BaseException:
        connection.close()
        raise


@dataclass
class CommandLink:
    """Carries everything between a command and whoever attends to it; ``run`` gives its exit status.

    ``source`` is a descriptor that is read into its standard input, None for none. ``resized`` gives the
    new size of the window, once after each change. With ``has_terminal`` Ctrl-C is the command's own affair.
    """

    execution: Execution
    sink: Sink
    source: int | None = None
    has_terminal: bool = False
    resized: Callable[[], Window | None] = lambda: None
    _is_over: threading.Event = field(default_factory=threading.Event)
    _is_unread: bool = False
    _interrupts: int = 0

    def run(self) -> int:
        readers = [threading.Thread(target=self._read, args=(stream,), daemon=True) for stream in STREAMS]
        feeder = threading.Thread(target=self._feed, daemon=True)
        try:
            for thread in (*readers, feeder):
                thread.start()
            while any(reader.is_alive() for reader in readers):
                self._attend(readers)
            return self._status()
        finally:
            self._is_over.set()
            self.execution.close()

    def _attend(self, readers: Sequence[threading.Thread]) -> None:
        try:
            for reader in readers:
                reader.join(TICK)
            if (window := self.resized()) is not None:
                self.execution.resize(window)
        except KeyboardInterrupt:
            self.interrupt()

    def interrupt(self) -> None:
        """Ctrl-C for the command; a second one leaves it alone with itself.

        At a terminal Ctrl-C is a key, and what comes here ends us.
        """
        self._interrupts += 1
        if self.has_terminal or self._interrupts > 1:
            raise KeyboardInterrupt
        self.execution.interrupt()

    def _status(self) -> int:
        status = self.execution.wait()
        if self._is_unread:
            return UNREAD
        if status is None:
            return INTERRUPTED if self._interrupts else NOT_RUN
        return status

    def _read(self, stream: str) -> None:
        try:
            while data := self.execution.receive(stream, 1 << 16):
                self.sink(stream, data)
        except BrokenPipeError:
            self._is_unread = True
            self.execution.close()
        except OSError:
            pass  # the link has ended: wait() says how

    def _feed(self) -> None:
        with suppress(OSError):
            while self.source is not None and not self._is_over.is_set():
                if not select.select([self.source], [], [], TICK)[0]:
                    continue
                data = os.read(self.source, 1 << 16)
                if not data:
                    break
                self.execution.send(data)
        if not self.has_terminal:
            self.execution.end_input()


@dataclass
class CommandOnHosts:
    """Runs a command on several hosts at once, without input; ``say`` gets each whole line that it writes."""

    target: Target
    words: Sequence[str]
    say: Callable[[Host, str, str], None]
    fail: Callable[[HostError], None]
    prompts: Prompts = no_prompts
    _links: dict[Host, CommandLink] = field(default_factory=dict)
    _is_interrupted: threading.Event = field(default_factory=threading.Event)

    def run(self) -> Mapping[Host, int]:
        """The exit status of every host; ``NOT_RUN`` where there was none."""
        with ThreadPoolExecutor(len(self.target.hosts)) as pool:
            futures = {host: pool.submit(self._run_on, host) for host in self.target.hosts}
            while any(not future.done() for future in futures.values()):
                self._wait(futures.values())
        return {host: future.result() for host, future in futures.items()}

    def _wait(self, futures: Iterable[Future[int]]) -> None:
        try:
            wait(futures, TICK)
        except KeyboardInterrupt:
            if self._is_interrupted.is_set():
                for link in list(self._links.values()):
                    link.execution.close()
                raise
            self._is_interrupted.set()
            for link in list(self._links.values()):
                link.interrupt()

    def _run_on(self, host: Host) -> int:
        splitters = {stream: self._splitter(host, stream) for stream in STREAMS}
        try:
            execution = start(host, self.target, self.words, prompts=self.prompts)
            link = CommandLink(execution, lambda stream, data: splitters[stream].feed(data))
            self._links[host] = link
            if self._is_interrupted.is_set():
                execution.close()
            return link.run()
        except HostError as error:
            self.fail(error)
            return NOT_RUN
        finally:
            for splitter in splitters.values():
                splitter.close()

    def _splitter(self, host: Host, stream: str) -> LineSplitter:
        return LineSplitter(stream, lambda stream, line: self.say(host, stream, line))
