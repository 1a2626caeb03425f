"""What is kept of a deployment's events for its end: timings, and the report as a page."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from django_deploy.host.layout import write_atomically
from django_deploy.host.protocol import Event
from django_deploy.reporters.plain import Reporter
from django_deploy.reporters.report_page import render
from django_deploy.reporters.sentences import sentence
from django_deploy.reporters.timeline import Timeline, timeline_lines

#: Lines of what happened that a report keeps; the first and the last ones.
KEPT_LINES = 5_000


@dataclass
class Record:
    """A deployment as it went. ``error`` is empty when all was well; ``lines`` are time, host, sentence."""

    title: str
    began: float = field(default_factory=time.time)
    plan: list[str] = field(default_factory=list)
    lines: list[tuple[float, str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    timeline: Timeline = field(default_factory=Timeline)
    end: Event | None = None
    error: str = ""
    seconds: float = 0.0

    def take(self, event: Event, now: float) -> None:
        """Note a clean event; ``now`` is monotonic, in seconds."""
        self.timeline.take(event, now)
        if event.kind == "rollout.finished":
            self.end = event
        if event.kind == "warning":
            host = f"{event.host}: " if event.host else ""
            self.warnings.append(f"{host}{sentence(event).removeprefix('warning: ')}")
        elif event.kind not in ("upload.progress", "fetch.progress", "plan.ready"):
            self.lines.append((event.at, event.host, sentence(event)))
        if len(self.lines) > KEPT_LINES:
            del self.lines[KEPT_LINES // 2]


class RecordingReporter(Reporter):
    """Passes everything on, and at the end shows the timings, or writes the report to a file."""

    def __init__(self, inner: Reporter, title: str, *, timings: bool, report: Path | None) -> None:
        super().__init__(inner.stream, inner.secrets)
        self._inner = inner
        self._timings = timings
        self._file = report
        self._record = Record(title)
        self._started = time.monotonic()

    def __call__(self, event: Event) -> None:
        with self._lock:
            self._record.take(self.secrets.clean_event(event), time.monotonic())
        self._inner(event)

    def show(self, lines: Iterable[str]) -> None:
        lines = [*lines]
        self._record.plan += map(self.secrets.clean, lines)
        self._inner.show(lines)

    @contextmanager
    def paused(self) -> Iterator[None]:
        with self._inner.paused():
            yield

    def __enter__(self) -> Reporter:
        self._inner.__enter__()
        return self

    def __exit__(
        self, type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._inner.__exit__(type, error, traceback)
        self._close(error)
        if self._timings:
            self._inner.show(self._timing_lines())
        if self._file is not None:
            write_atomically(self._file, render(self._record), 0o600)
            self._inner.show([f"The report is in {self._file}."])

    def _close(self, error: BaseException | None) -> None:
        self._record.seconds = time.monotonic() - self._started
        self._record.timeline.close(time.monotonic(), is_failed=error is not None)
        if error is not None:
            self._record.error = self.secrets.clean_text(str(error)) or "Interrupted."

    def _timing_lines(self) -> list[str]:
        width = min(shutil.get_terminal_size((100, 24)).columns, 140)
        bar = "━" if self.stream.encoding.lower().startswith("utf") else "#"
        return ["", "Timings", *timeline_lines(self._record.timeline.spans, width, bar)]
