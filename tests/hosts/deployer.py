"""A running ``manage.py deploy``: its events as they come, signals, and how it ended."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.error_ids import ids, without_ids

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

#: No command of these tests takes longer, in seconds.
LONGEST = 120.0


@dataclass(frozen=True)
class Result:
    """How a command ended. ``status`` is negative where a signal ended it; ``ids`` are its error's."""

    status: int
    out: str
    err: str
    ids: tuple[str, ...] = ()

    @property
    def events(self) -> list[dict[str, Any]]:
        """What it said with ``--json``."""
        return [json.loads(line) for line in self.out.splitlines() if line.startswith("{")]

    def all(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["event"] == kind]

    def one(self, kind: str) -> dict[str, Any]:
        [event] = self.all(kind)
        return event

    @property
    def release(self) -> str:
        """The release that is live at its end; it succeeded."""
        release: str = self.one("rollout.finished")["release"]
        return release

    def __str__(self) -> str:
        return f"exit status {self.status}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"

    __repr__ = __str__


class Deployer:
    """The command's process. Leaving the context ends it, whatever became of it."""

    def __init__(self, argv: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            argv,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._out: list[str] = []
        self._err: list[str] = []
        self._news = threading.Condition()
        self._readers = [
            threading.Thread(target=self._read, args=(stream, lines), daemon=True)
            for stream, lines in ((self._process.stdout, self._out), (self._process.stderr, self._err))
        ]
        for reader in self._readers:
            reader.start()

    def __enter__(self) -> Deployer:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._finish()

    def _read(self, stream: Any, lines: list[str]) -> None:
        for line in stream:
            with self._news:
                lines.append(line)
                self._news.notify_all()
        with self._news:
            self._news.notify_all()

    def wait_for(self, kind: str, **fields: Any) -> dict[str, Any]:
        """The first event of that kind with these fields (needs ``--json``); an error when it ends before."""
        deadline, seen = time.monotonic() + LONGEST, 0
        with self._news:
            while True:
                for line in self._out[seen:]:
                    event: dict[str, Any] = json.loads(line)
                    if event["event"] == kind and fields.items() <= event.items():
                        return event
                seen = len(self._out)
                is_over = not any(reader.is_alive() for reader in self._readers)
                assert not is_over and time.monotonic() < deadline, f"no {kind} {fields} in:\n{self._text()}"
                self._news.wait(0.2)

    def wait_for_line(self, text: str) -> str:
        """The first line of its output that has ``text``; an error when it ends before."""
        deadline = time.monotonic() + LONGEST
        with self._news:
            while not (found := [line for line in self._out if text in line]):
                is_over = not any(reader.is_alive() for reader in self._readers)
                assert not is_over and time.monotonic() < deadline, f"no {text!r} in:\n{self._text()}"
                self._news.wait(0.2)
            return found[0]

    def _text(self) -> str:
        return "".join(self._out) + "".join(self._err)

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        """SIGKILL, to it and to all that it started, as when the laptop's battery is empty."""
        self.signal(signal.SIGKILL)

    def interrupt(self) -> None:
        """Ctrl-C."""
        self.signal(signal.SIGINT)

    def signal(self, number: int) -> None:
        import os

        os.killpg(self._process.pid, number)

    def end(self) -> Result:
        """Wait for it."""
        self._process.wait(LONGEST)
        self._finish()
        out, err = "".join(self._out), "".join(self._err)
        return Result(self._process.returncode, out, without_ids(err), tuple(ids(err)))

    def _finish(self) -> None:
        self._process.wait(LONGEST)
        for reader in self._readers:
            reader.join(LONGEST)
        for stream in (self._process.stdout, self._process.stderr):
            if stream:
                stream.close()
