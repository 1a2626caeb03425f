"""Reporters for the logs of CI services: a fold for each phase, and what failed where it is looked for."""

from __future__ import annotations

import time
from collections.abc import Iterable
from types import TracebackType

from django_deploy.host.protocol import Event
from django_deploy.reporters.plain import LineReporter, Stream
from django_deploy.reporters.secrets import Secrets
from django_deploy.reporters.sentences import in_words


class FoldingReporter(LineReporter):
    """Plain lines, with those of each phase in a fold that is named after it."""

    def __init__(self, stream: Stream, secrets: Secrets, verbosity: int = 1) -> None:
        super().__init__(stream, secrets, verbosity)
        self._fold = ""
        self._is_over = False

    def __call__(self, event: Event) -> None:
        with self._lock:
            if event.kind == "phase.started" and self._verbosity > 0:
                self._enter(self.secrets.clean(str(event.fields.get("phase", "?"))))
            else:
                super().__call__(event)
            if event.kind == "phase.finished":
                self._is_over = True

    def show(self, lines: Iterable[str]) -> None:
        with self._lock:
            if (kept := list(lines)) and self._is_over:
                self._unfold()
            super().show(kept)

    def _enter(self, phase: str) -> None:
        """Several stages that follow each other make one phase, and one fold."""
        if not (self._is_over and phase == self._fold):
            self._unfold()
            self._fold = phase
            self._command(self.begin(phase))
        self._is_over = False

    def __exit__(
        self, type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._lock:
            self._unfold()

    def begin(self, name: str) -> str:
        """The line that opens a fold."""
        raise NotImplementedError

    def end(self, name: str) -> str:
        """The line that closes it."""
        raise NotImplementedError

    def _unfold(self) -> None:
        if self._fold:
            self._command(self.end(self._fold))
        self._fold, self._is_over = "", False

    def _command(self, line: str) -> None:
        self.stream.write(f"{line}\n")
        self.stream.flush()


class GitHubReporter(FoldingReporter):
    """For GitHub Actions: groups, and annotations of warnings and of the error (workflow commands)."""

    def __call__(self, event: Event) -> None:
        if event.kind == "warning":
            host = f"{event.host}: " if event.host else ""
            words = in_words(self.secrets.clean_event(event).fields)
            self._annotate("warning", f"{host}{words['message']}\n{words['remedy']}".strip())
            return
        super().__call__(event)

    def __exit__(
        self, type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        super().__exit__(type, error, traceback)
        if isinstance(error, Exception):
            self._annotate("error", self.secrets.clean_text(str(error)))

    def show(self, lines: Iterable[str]) -> None:
        super().show(map(_harmless, lines))

    def begin(self, name: str) -> str:
        return f"::group::{_escaped(name)}"

    def end(self, name: str) -> str:
        return "::endgroup::"

    def _annotate(self, level: str, text: str) -> None:
        with self._lock:
            self._command(f"::{level} title=django-deploy::{_escaped(text)}")


class GitLabReporter(FoldingReporter):
    """For GitLab CI: sections, which fold and show how long they took."""

    def __init__(self, stream: Stream, secrets: Secrets, verbosity: int = 1) -> None:
        super().__init__(stream, secrets, verbosity)
        self._number = 0

    def begin(self, name: str) -> str:
        self._number += 1
        return f"\x1b[0Ksection_start:{_now()}:{self._section(name)}\r\x1b[0K{name}"

    def end(self, name: str) -> str:
        return f"\x1b[0Ksection_end:{_now()}:{self._section(name)}\r\x1b[0K"

    def _section(self, name: str) -> str:
        """A phase may come several times, and no two sections of a job may have the same name."""
        return f"deploy_{self._number}_{name}"


def _now() -> int:
    return int(time.time())


def _harmless(line: str) -> str:
    """A line that comes from a host is no command to the runner."""
    line = line.replace("##[", "## [")
    return f"| {line}" if line.lstrip().startswith("::") else line


def _escaped(text: str) -> str:
    """As data of a workflow command."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
