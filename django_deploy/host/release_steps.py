"""The commands of one release's ``manage.py`` that a deployment runs, one after the other."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Optional

from . import commands, environment, launch
from .frames import FRAME, MACHINERY
from .layout import Layout, Release
from .link import Link
from .protocol import Failure
from .steps import StepProcess, ask_apart, suggest_remedy

#: Seconds for a release's Django to start and to describe itself, and for its checks.
PREFLIGHT_TIMEOUT = 300.0

#: Where managers look for programs: systemd's (systemd.exec), and a login's.
USUAL_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

#: The last line of a traceback.
_RAISED = re.compile(r"[A-Za-z_][\w.]*(?:Error|Exception|ImproperlyConfigured)\b")

#: What to do about a template that Django cannot read.
TEMPLATE_REMEDY = (
    "Fix them and deploy again. If they are for something else than Django, say SILENCED_SYSTEM_CHECKS ="
    ' ["deploy.W004"].'
)

FIX = "Fix it and deploy again."


class ReleaseSteps:
    """The Django process of a release that steps and questions go to, once it is open."""

    def __init__(self, link: Link, keep_open: int) -> None:
        """``keep_open`` is the lock's descriptor: a step that outlives us still holds the lock."""
        self._link = link
        self.keep_open = keep_open
        self._process: Optional[StepProcess] = None
        self._current = ""
        #: What its output is reported under.
        self.name = ""

    @property
    def is_open(self) -> bool:
        return self._process is not None

    def open(self, release: Release, name: str) -> None:
        """Start the release's Django; what it says belongs to the step ``name``."""
        self.name = name
        self._process = StepProcess(release, self.keep_open, self.on_line)

    def open_if_whole(self, release: Release, name: str) -> None:
        """The same of one that somebody may have deleted: then questions to it fail, and nothing else."""
        if release.python.exists():
            with suppress(OSError):
                self.open(release, name)

    def dismiss(self) -> None:
        """No more requests come; it leaves by itself while we go on."""
        if self._process is not None:
            self._process.dismiss()

    def check_site(
        self, message: dict[str, Any], live: Optional[Release]
    ) -> tuple[dict[str, Any], list[str], dict[str, Any]]:
        """What the site says of itself, what its checks warn of, and the databases that are asked for.

        The fields are those of the request ``preflight``. Raises ``Failure`` (``PreflightFailed``) where it
        does not start, or its checks find errors. One that those of the ``live`` release find now as well
        makes nothing worse, and is a warning.
        """
        wanted = message["identify"]
        _find_programs(self._opened().release)
        try:
            site = self.ask({"do": "describe"}, PREFLIGHT_TIMEOUT)
            asked = {"do": "preflight", "commands": message["commands"], "required": message["required"]}
            found = self.ask(asked, PREFLIGHT_TIMEOUT)
            reply = self.ask({"do": "identify", **wanted}, PREFLIGHT_TIMEOUT) if wanted else {}
        except Failure as failure:
            lines = failure.details.get("lines", [])
            raise _preflight_failure(_last_words(lines) or failure.message, lines) from None
        warnings = [*found.get("templates", []), *found.get("warnings", [])]
        if not found["ok"]:
            warnings = [*self._borne(found.get("errors", []), live), *warnings]
        if live is not None:
            was = set(map(_template_of, live.site.get("warnings", [])))
            if broken := [told for told in found.get("templates", []) if _template_of(told) not in was]:
                why = "templates are broken that the live release can use, or does not have"
                raise Failure("PreflightFailed", why, TEMPLATE_REMEDY, lines=broken)
        return site, warnings, reply.get("databases") or {}

    def _borne(self, errors: list[str], live: Optional[Release]) -> list[str]:
        """As warnings, where the live release has all of them; raises ``Failure`` where it does not."""
        known = self._errors_of(live) if live is not None else []
        if any(error not in known for error in errors):
            raise _preflight_failure("its checks found errors", errors)
        return [f"an error, which the live release has, too: {error}" for error in errors]

    def _errors_of(self, live: Release) -> list[str]:
        """What the checks of another release find now; nothing where it cannot say."""
        asked = {"do": "preflight", "commands": [], "required": []}
        found: list[str] = ask_apart(live, self.keep_open, asked, PREFLIGHT_TIMEOUT, self._link.lost).get(
            "errors", []
        )
        return found

    @contextmanager
    def running(self, name: str) -> Iterator[None]:
        """While the block lasts, that step runs."""
        self.name = self._current = name
        try:
            yield
        finally:
            self._current = ""

    def tell_what_runs(self) -> None:
        """Once we are to undo, from any thread: the step that is waited for first."""
        if name := self._current:
            self._link.report("step.awaited", step=name)

    def run(self, message: dict[str, Any]) -> dict[str, Any]:
        """Run one command to its end; raises ``Failure`` when it fails or takes too long."""
        return self._isolated(message) if message["isolated"] else self._together(message)

    def _together(self, message: dict[str, Any]) -> dict[str, Any]:
        request = {"do": "run", "command": message["command"], "requires_app": message["requires_app"]}
        try:
            reply = self.ask(request, message["timeout"])
        except Failure as failure:
            raise self._ended(failure) from None
        if not reply["ok"]:
            raise self._failure(reply.get("error", ""), self._opened().last_lines(), reply)
        return reply

    def _isolated(self, message: dict[str, Any]) -> dict[str, Any]:
        release = self._opened().release
        argv = [str(release.python), str(release.path / "manage.py"), *message["command"]]
        try:
            status, lines = commands.run(
                argv,
                cwd=Path(launch.working_folder(str(release.path))),
                on_line=self.on_line,
                timeout=message["timeout"],
            )
        except Failure as failure:
            raise self._ended(failure) from None
        if status:
            raise self._failure(f"exit status {status}", lines, {"exit": status})
        return {"ok": True}

    def _ended(self, failure: Failure) -> Failure:
        is_late = failure.type == "Timeout"
        why = (
            f"took longer than its TIMEOUT, {failure.details['timeout']:g} s" if is_late else failure.message
        )
        remedy = "It was ended with all that it had started. Give it a longer TIMEOUT in STEPS, or None."
        lines = failure.details.get("lines", [])
        return self._failure(why, lines, failure.details, remedy if is_late else FIX)

    def _failure(self, why: str, lines: list[str], details: dict[str, Any], remedy: str = FIX) -> Failure:
        return Failure(
            "StepFailed",
            f"step {self.name!r} failed: {why}",
            remedy,
            command=self.name,
            exit=details.get("exit", 1),
            applied=details.get("result", {}).get("applied", []),
            lines=lines,
        )

    def ask(self, request: dict[str, Any], timeout: Optional[float] = None) -> dict[str, Any]:
        """What the release's Django says to a request; raises ``Failure`` when it ends instead."""
        return self._opened().ask(request, timeout)

    def ask_until_lost(self, request: dict[str, Any], timeout: Optional[float] = None) -> dict[str, Any]:
        """For what may be stopped half-way, as nothing is left of it then."""
        return self._opened().ask(request, timeout, self._link.lost)

    def _opened(self) -> StepProcess:
        if self._process is None:
            raise Failure("BadRequest", "a step needs a preflight first")
        return self._process

    def on_line(self, stream: str, line: str) -> None:
        """Report a line of output, as one of the step that runs."""
        self._link.report("step.output", step=self.name, stream=stream, line=line)

    def close(self) -> None:
        """Wait until the step process, which holds the lock with us, has gone."""
        if self._process is not None:
            self._process.close()
            self._process = None

    def kill(self) -> None:
        """End it, whatever it is at."""
        if self._process is not None:
            self._process.kill()
            self.close()


def _template_of(warning: str) -> str:
    """Of a warning about one (``site/preflight.py``): without its id, and what is wrong with it just now."""
    return warning.rpartition("The template ")[2].partition(" cannot be used")[0]


def _last_words(lines: list[str]) -> str:
    """What a traceback ends with, and where in the site's own code that was; empty where there is none."""
    if not lines or not _RAISED.match(lines[-1]):
        return ""
    places = [found for line in lines if (found := FRAME.match(line))]
    own = [f"{found['file']}:{found['line']}" for found in places if not MACHINERY.search(found["file"])]
    return f"{lines[-1]} ({own[-1]})" if own else lines[-1]


def _find_programs(release: Release) -> None:
    """Raises ``Failure`` where a process could not start, for want of its program.

    Managers have a PATH of their own: wherever one may look, it is looked.
    """
    own = [str(release.venv / "bin"), environment.of_release(release).get("PATH", "")]
    path = os.pathsep.join([*own, os.environ.get("PATH", ""), USUAL_PATH])
    folder = launch.working_folder(str(release.path))
    for process in release.record["processes"]:
        program = process["command"][0]
        place = os.path.join(folder, program) if "/" in program else program
        if shutil.which(place, path=path) is None:
            raise Failure(
                "PreflightFailed",
                f"process {process['name']!r} could not start: there is no program {program}, neither in the"
                " release nor on the host",
                f"If a package brings it, install that here and deploy again: pip install {program}",
            )


def _preflight_failure(why: str, lines: list[str]) -> Failure:
    message = f"the new release does not start: {why}"
    return Failure("PreflightFailed", message, suggest_remedy(lines), lines=lines)


def report_new_warnings(layout: Layout, link: Link, warnings: list[str]) -> None:
    """Those that the live release does not have as well; the others are output, as they were read before."""
    live = layout.live()
    known = layout.release(live).site.get("warnings", []) if live else []
    for warning in warnings:
        if warning in known:
            line = f"as of the live release: {warning}"
            link.report("step.output", step="preflight", stream="stdout", line=line)
        else:
            link.report("warning", message=warning, remedy="")
