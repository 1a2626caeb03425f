"""Runs a release's ``manage.py`` commands in one Django process, the site's ``deploy_steps``.

The words that are spoken with it are in ``django_deploy/site/runner.py``.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
import time
from collections.abc import Sequence
from typing import Any, Optional

from .backups import DATABASE, SINCE
from .commands import LineSplitter, OnLine, Output, end_group
from .launch import working_folder
from .layout import Release
from .protocol import MAX_LINE, Failure, ProtocolError, decode
from .shape import Shape, check

#: Seconds that the step process gets to leave after its input has ended.
LEAVE_TIMEOUT = 10.0

#: What helps when a release's Django does not start, by what it says then.
REMEDIES = (
    (
        re.compile(r"Unknown command: 'deploy_steps'"),
        "Add 'django_deploy' to INSTALLED_APPS of the target's SETTINGS_MODULE.",
    ),
    (
        re.compile(r"No module named '([^'.]+)'"),
        "The release has no module {0!r}. If it is the project's own, let the build find its package"
        " (pyproject.toml), or look at PROJECT_EXCLUDE; else it is not installed here, or EXCLUDE leaves it"
        " out.",
    ),
    (
        re.compile(r"Unable to configure handler '([^']+)'"),
        "If its file cannot be made there: at the end of the settings, say\n"
        '  LOGGING["handlers"]["{0}"]["filename"] = os.environ.get("LOG_FILE", '
        'LOGGING["handlers"]["{0}"]["filename"])\n'
        "and in the target's ENV name a file in ROOT/shared as LOG_FILE.",
    ),
    (
        re.compile(r"\b(?:KeyError|ImproperlyConfigured): "),
        "Fix it and deploy again. Settings that are read from the environment come from the target's ENV.",
    ),
)


def suggest_remedy(lines: Sequence[str]) -> str:
    """What to do about a release that does not start, from the last lines that it wrote."""
    for pattern, remedy in REMEDIES:
        for line in reversed(lines):
            match = pattern.search(line)
            if match:
                return remedy.format(*match.groups())
    return "Fix it and deploy again."


_EFFECT: Shape = {
    **dict.fromkeys(("category", "table", "what", "mark", "remedy"), str),
    "columns": [str],
    "is_needed": bool,
    "is_for_all?": bool,
}

_MIGRATIONS: Shape = [
    {
        "name": str,
        "needs": [str],
        "is_whole?": bool,
        "operations": [
            {**dict.fromkeys(("words", "category", "hint"), str), "reversible": bool, "effects": [_EFFECT]},
        ],
    }
]

#: What a ``migrate`` command would do, see ``site/migrations.py``.
_PLAN: Shape = {
    **dict.fromkeys(("database", "place"), str),
    "owners": [{**dict.fromkeys(("target", "root", "host"), str), "at": float}],
    "is_for_all": bool,
    "is_empty?": bool,
    "conflicts": {str: [str]},
    "ahead": [str],
    "migrations": _MIGRATIONS,
}

#: What migrations that are applied have done, and what taking them back loses: see ``site/reversal.py``.
_APPLIED: Shape = {"place": str, "lacks": [str], "migrations": _MIGRATIONS}
_LOSS: Shape = {**dict.fromkeys(("migration", "words", "what"), str), "rows": (None, int)}

#: A setting, as far as it is told; see ``site/comparison.py``.
LEAF: Shape = (str, [str], {"hidden": str})

#: What ``deploy_steps`` answers, as far as it is looked at here.
REPLY: Shape = {
    "ok": bool,
    "exit?": int,
    **dict.fromkeys(("error?", "skipped?"), str),
    **{
        name: [str]
        for name in ("errors?", "warnings?", "templates?", "lines?", "installed_apps?", "allowed_hosts?")
    },
    "unmigrated?": {str: [str]},
    "result?": {"applied?": [str], "unapplied?": [str]},
    "applied?": _APPLIED,
    "losses?": [_LOSS],
    "plan?": (None, _PLAN),
    **{name: {str: object} for name in ("tables?", "databases?")},
    "database?": DATABASE,
    "since?": SINCE,
    "settings?": {str: LEAF},
    "files?": (None, {str: str}),
    "remedy?": str,
    "damaged?": bool,
    "static_root?": (None, str),
    "ssl_header?": (None, [str, str]),
}


def ask_apart(
    release: Release,
    keep_open: int,
    request: dict[str, Any],
    timeout: float,
    stop: Optional[threading.Event] = None,
) -> dict[str, Any]:
    """What a release's Django says to one request, in a process of its own whose output nobody sees.

    Empty where it cannot say: it may be broken, or older than this question. The rest is as of
    ``StepProcess``.
    """
    process: Optional[StepProcess] = None
    try:
        process = StepProcess(release, keep_open, lambda stream, line: None)
        return process.ask(request, timeout, stop)
    except (Failure, OSError):
        return {}
    finally:
        if process is not None:
            process.close()


class StepProcess:
    """A ``deploy_steps`` that stays up for the deployment; one request at a time."""

    def __init__(self, release: Release, keep_open: int, on_line: OnLine) -> None:
        """``keep_open`` is the lock's descriptor: a step that outlives us still holds the lock."""
        self.release = release
        reply, write = os.pipe()
        self._reply = os.fdopen(reply, "rb")
        self.on_line = on_line
        try:
            self._process = subprocess.Popen(
                [
                    str(release.python),
                    str(release.path / "manage.py"),
                    "deploy_steps",
                    "--reply-fd",
                    str(write),
                ],
                cwd=working_folder(str(release.path)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=(write, keep_open),
                start_new_session=True,
            )
        finally:
            os.close(write)
        assert self._process.stdout is not None and self._process.stderr is not None
        self._replies: list[str] = []
        self._output = Output({"stdout": self._process.stdout, "stderr": self._process.stderr}, self._pass_on)
        self._output.add(self._reply, LineSplitter("reply", self._take_reply, longest=MAX_LINE))

    def _pass_on(self, stream: str, line: str) -> None:
        self.on_line(stream, line)

    def _take_reply(self, stream: str, line: str) -> None:
        self._replies.append(line)

    def ask(
        self, request: dict[str, Any], timeout: Optional[float] = None, stop: Optional[threading.Event] = None
    ) -> dict[str, Any]:
        """Send a request and wait for its reply; raises ``Failure`` when the process ends first.

        ``stop`` ends the wait and the process; without it a step is never killed half-way.
        """
        self._replies.clear()
        self._output.last.clear()
        self._write(request)
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._replies:
            if not self._output.is_open or self._process.poll() is not None:
                return self._died()
            self._output.read(0.1)
            if stop is not None and stop.is_set():
                self.kill()
                raise Failure("Aborted", "the step was stopped")
            if deadline is not None and time.monotonic() > deadline:
                self.kill()
                raise Failure(
                    "Timeout",
                    f"took longer than {timeout:g} s",
                    timeout=timeout,
                    lines=list(self._output.last),
                )
        self._output.read_ready()
        return self._parse(self._replies.pop())

    def last_lines(self) -> list[str]:
        return list(self._output.last)

    def _write(self, request: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            pass  # it died: ask() says how

    def _parse(self, line: str) -> dict[str, Any]:
        try:
            reply = decode(line.encode())
            check(reply, REPLY, "it")
        except ProtocolError as error:
            # Something of the site writes to descriptors that are not its own, or has very much to say.
            message = f"manage.py deploy_steps was not understood: {error}"
            raise Failure("StepFailed", message, lines=self.last_lines()) from None
        return reply

    def _died(self) -> dict[str, Any]:
        self._output.read_ready()
        if self._replies:
            return self._parse(self._replies.pop())
        status = self._process.wait()
        raise Failure(
            "StepFailed", f"manage.py ended with status {status}", exit=status, lines=self.last_lines()
        )

    def dismiss(self) -> None:
        """No more requests come; it leaves by itself while we go on."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
        except OSError:
            pass

    def close(self) -> None:
        """Wait until it has left; one that stays is ended."""
        self.dismiss()
        try:
            self._process.wait(LEAVE_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.kill()
        self._close_streams()

    def kill(self) -> None:
        end_group(self._process)

    def _close_streams(self) -> None:
        for stream in (self._process.stdout, self._process.stderr, self._reply):
            if stream is not None:
                stream.close()
