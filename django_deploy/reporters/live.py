"""The reporter for a terminal: a view that is redrawn in place."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING

from django_deploy.host.protocol import Event
from django_deploy.reporters.details import detail_lines
from django_deploy.reporters.flow import Flow, movement
from django_deploy.reporters.plain import Reporter, Stream
from django_deploy.reporters.secrets import Secrets
from django_deploy.reporters.sentences import sentence
from django_deploy.reporters.text import count, duration, size, wrapped

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live
    from rich.text import Text


@dataclass
class _Phase:
    """A line of the table. ``seconds`` sums up what is over; ``began`` is of the running one."""

    name: str
    began: float | None
    seconds: float = 0.0
    is_failed: bool = False

    def elapsed(self, now: float) -> float:
        return self.seconds + (now - self.began if self.began is not None else 0.0)


@dataclass
class _Row:
    """What one host does just now.

    ``doing`` is a word for it, by which hosts are grouped; ``text`` says it in full; ``output`` is the
    last line of what runs; ``flow`` is what moves to or from it in this phase.
    """

    doing: str = ""
    state: str = "idle"
    text: str = ""
    output: str = ""
    flow: Flow | None = None


#: Events that stay to be read above the view, with what there is below their line.
_TOLD = frozenset({"backup.finished", "changes.found", "migrations.planned"})

#: What a host does after an event, in a word, and whether it is busy with that.
_DOING: Mapping[str, tuple[str, str]] = {
    "host.connected": ("connected", "idle"),
    "lock.waiting": ("waiting for another deployment", "busy"),
    "upload.progress": ("uploading", "busy"),
    "copy.started": ("copying", "busy"),
    "anonymize.started": ("anonymizing", "busy"),
    "copy.finished": ("copied", "idle"),
    "fetch.progress": ("fetching", "busy"),
    "install.started": ("installing", "busy"),
    "install.finished": ("installed", "idle"),
    "step.awaited": ("ending its step", "busy"),
    "process.started": ("starting", "busy"),
    "process.stopping": ("stopping", "busy"),
    "health.checked": ("healthy", "idle"),
    "switched": ("switched", "idle"),
    "confirmed": ("live", "done"),
    "reverted": ("reverted", "reverted"),
    "host.failed": ("failed", "failed"),
}


#: Events of bytes that move, and what a host has done when all have.
_MOVING = {"upload.progress": "uploaded", "fetch.progress": "fetched"}
_WITH_BAR = ("uploading", "fetching")


@dataclass
class _Board:
    """What the live view shows, as events made it. Knows nothing of a terminal."""

    phases: dict[str, _Phase] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    rows: dict[str, _Row] = field(default_factory=dict)
    checked: list[str] = field(default_factory=list)
    answers: int = 0
    steps: list[str] = field(default_factory=list)
    end: Event | None = None
    is_over: bool = False
    moving_in: str = ""
    all_sent: float = 0.0

    def take(self, event: Event, now: float) -> None:
        """Note an event; ``now`` is monotonic, in seconds."""
        if event.kind.startswith("phase."):
            self._take_phase(event, now)
        elif event.kind == "rollout.finished":
            self.end = event
        elif event.host:
            self._take_host(event, now)
        self._take_note(event)

    def close(self, now: float, *, is_failed: bool) -> None:
        """All is over, with an error or without."""
        self.is_over = True
        self._end_phases(now, is_failed=is_failed)

    def _end_phases(self, now: float, *, is_failed: bool) -> None:
        for phase in self.phases.values():
            if phase.began is not None:
                phase.seconds, phase.began = phase.elapsed(now), None
                phase.is_failed = is_failed

    def _take_phase(self, event: Event, now: float) -> None:
        name = str(event.fields.get("phase", "?"))
        phase = self.phases.setdefault(name, _Phase(name, None))
        if event.kind == "phase.started":
            if name == "revert":
                self._end_phases(now, is_failed=True)
            phase.began = now
            return
        seconds = event.fields.get("seconds")
        phase.seconds += seconds if isinstance(seconds, (int, float)) else 0.0
        phase.began = None

    def _take_host(self, event: Event, now: float) -> None:
        row = self.rows.setdefault(event.host, _Row())
        if event.kind in {"step.output", "install.output"}:
            row.output = str(event.fields.get("line", ""))
        elif event.kind in {"step.started", "step.finished"}:
            row.doing, row.text, row.output = str(event.fields.get("step", "")), sentence(event), ""
            row.state = "busy" if event.kind == "step.started" else "idle"
        elif event.kind in _DOING and row.state != "failed":
            (row.doing, row.state), row.text, row.output = _DOING[event.kind], sentence(event), ""
        if event.kind in _MOVING:
            self._take_bytes(row, event, now)

    def _take_bytes(self, row: _Row, event: Event, now: float) -> None:
        """A bar never goes back, but what another phase moves is another one."""
        phase = next((name for name, phase in self.phases.items() if phase.began is not None), "")
        if phase != self.moving_in:
            self.moving_in, self.all_sent = phase, 0.0
            for other in self.rows.values():
                other.flow = None
        row.flow = row.flow or Flow()
        done, total = event.fields.get("done"), event.fields.get("total")
        if isinstance(done, (int, float)) and isinstance(total, (int, float)) and total > 0:
            row.flow.take(done, total, now)
            if row.flow.is_done:
                row.doing, row.state = _MOVING[event.kind], "idle"
        sent = [other.flow.part if other.flow else 0.0 for other in self.rows.values()]
        self.all_sent = max(self.all_sent, sum(sent) / len(sent))
        if event.kind == "upload.progress" and all(flow.is_done for flow in self.flows()):
            self.notes[phase] = f"{size(sum(flow.done for flow in self.flows()))} sent"

    def flows(self) -> list[Flow]:
        """What moves in this phase, without that of hosts that failed meanwhile."""
        rows = self.rows.values()
        return [row.flow for row in rows if row.flow and (row.state != "failed" or row.flow.is_done)]

    def _take_note(self, event: Event) -> None:
        """The one fact beside a phase's time."""
        if event.kind == "bundle.ready" or event.kind == "build.started":
            self.notes["bundle"] = sentence(event)
        elif event.kind in {"vendor.started", "vendor.finished"}:
            self.notes["plan"] = sentence(event)
        elif event.kind == "host.connected":
            self.notes["connect"] = count("host", str(len(self.rows)))
        elif event.kind == "fetch.finished":
            self.notes["fetch"] = sentence(event)
        elif event.kind == "step.finished":
            self._take_step(event)
        elif event.kind == "health.checked":
            self._take_answer(event)

    def _take_step(self, event: Event) -> None:
        step = str(event.fields.get("step", "?"))
        name = step.split(" ")[0]
        is_command = not step.startswith(("take back ", "apply again "))  # a reversal is a phase of its own
        if is_command and name not in self.steps:
            self.steps.append(name)
            self.notes["steps"] = ", ".join(self.steps)

    def _take_answer(self, event: Event) -> None:
        host = f"{event.host}: " if len(self.rows) > 1 else ""
        self.answers += 1
        if self.answers <= _ANSWERS:
            self.checked.append(f"{host}{sentence(event)}")
        self.notes["activate"] = f"{count('answer', str(self.answers))} to the health check"


@dataclass(frozen=True)
class _Glyphs:
    """The signs of the view, also for terminals that know ASCII only."""

    done: str = "✓"
    failed: str = "✗"
    reverted: str = "↩"
    idle: str = "·"
    full: str = "━"
    empty: str = "─"
    spinner: str = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


_ASCII = _Glyphs(done="+", failed="x", reverted="<", idle=".", full="#", empty=".", spinner="|/-\\")

#: How many answers to the health check the view names at its end.
_ANSWERS = 4

#: The width of the longest phase's bar at the end, in characters.
_BAR = 12

_STYLES = {"done": "green", "failed": "bold red", "reverted": "yellow", "busy": "cyan", "idle": "dim"}


class _View:
    """Draws a board: the phases, below them the hosts, at the end the outcome."""

    def __init__(self, board: _Board, console: Console) -> None:
        self._board = board
        self._width = console.width
        self._height = console.height
        self._glyphs = _Glyphs() if console.encoding.lower().startswith("utf") else _ASCII
        self._now = time.monotonic()

    def lines(self) -> list[Text]:
        """At most as many as the terminal is high."""
        ending = self._ending()
        hosts = self._hosts()
        room = max(self._height - 1 - len(hosts) - len(ending), 1)
        lines = [*self._phases()[-room:], *hosts, *ending]
        for line in lines:
            line.rstrip()
            line.truncate(self._width, overflow="ellipsis")
        return lines

    def _phases(self) -> list[Text]:
        phases = list(self._board.phases.values())
        name_width = max([9, *(len(phase.name) for phase in phases)])
        longest = max((phase.elapsed(self._now) for phase in phases), default=0.0)
        return [self._phase(phase, name_width, longest) for phase in phases]

    def _phase(self, phase: _Phase, name_width: int, longest: float) -> Text:
        state = "busy" if phase.began is not None else "failed" if phase.is_failed else "done"
        seconds = phase.elapsed(self._now)
        line = self._line(
            " ", self._glyph(state), (f" {phase.name:{name_width}}", "bold" if state == "busy" else "")
        )
        shown = "" if state == "busy" and seconds < 0.1 else duration(seconds)
        line.append(f"  {shown:>9}", "dim" if state == "done" else "")
        if self._board.is_over and self._width >= 60:
            length = round(_BAR * seconds / (longest or 1))
            line.append(f"  {self._glyphs.full * length}", _STYLES[state]).append(" " * (_BAR - length))
        flows = self._board.flows() if phase.name == self._board.moving_in else []
        if state == "busy" and len(flows) > 1 and not all(flow.is_done for flow in flows):
            self._add_movement(line, flows)
        elif note := self._board.notes.get(phase.name):
            line.append(f"  {note}", "dim")
        return line

    def _hosts(self) -> list[Text]:
        rows = self._board.rows
        if self._board.is_over:
            rows = {name: row for name, row in rows.items() if row.state in {"failed", "reverted"}}
            return [self._host(name, row, self._name_width(rows)) for name, row in rows.items()]
        if len(rows) <= max(self._height // 3, 4):
            return [self._host(name, row, self._name_width(rows)) for name, row in rows.items()]
        return self._groups()

    def _name_width(self, names: Iterable[str]) -> int:
        return min(max(map(len, names), default=0), max(self._width // 3, 12))

    def _host(self, name: str, row: _Row, name_width: int) -> Text:
        shown = name if len(name) <= name_width else f"{name[: name_width - 1]}…"
        line = self._line("     ", self._glyph(row.state), f" {shown:{name_width}}  ")
        if row.doing in _WITH_BAR and row.flow:
            self._add_bar(line, row.flow.part)
            self._add_movement(line, [row.flow])
            return line
        line.append(row.text, "" if row.state == "busy" else _STYLES[row.state])
        if row.output:
            line.append(f"  {row.output}", "dim")
        return line

    def _groups(self) -> list[Text]:
        """Many hosts: how many do what; those that failed by name."""
        groups: dict[tuple[str, str], list[str]] = {}
        for name, row in self._board.rows.items():
            groups.setdefault((row.state, row.doing), []).append(name)
        return [self._group(state, doing, names) for (state, doing), names in groups.items()]

    def _group(self, state: str, doing: str, names: Sequence[str]) -> Text:
        line = self._line("     ", self._glyph(state), f" {count('host', str(len(names))):9}  ")
        if doing in _WITH_BAR:
            self._add_bar(line, self._board.all_sent)
            doing = ""
        line.append(f"{doing}  ", _STYLES[state] if state != "busy" else "")
        line.append(", ".join(names), "dim")
        return line

    def _add_bar(self, line: Text, part: float) -> None:
        """As long as the terminal allows, not the words behind it: else it would go back by these."""
        if self._width >= 60:
            width = max(min(self._width - 64, 24), 4)
            full = int(width * part)
            line.append(self._glyphs.full * full, "cyan")
            line.append(f"{self._glyphs.empty * (width - full)} ", "dim")
        line.append(f"{int(100 * part):3} %")

    def _add_movement(self, line: Text, flows: Sequence[Flow]) -> None:
        """What has room of it; the time left stays longest."""
        parts = movement(flows, self._now)
        while len(parts) > 1 and line.cell_len + len("  ".join(["", *parts])) > self._width:
            del parts[0]
        line.append("  ".join(["", *parts]))

    def _ending(self) -> list[Text]:
        end = self._board.end
        if end is None:
            return []
        first, *others = textwrap.wrap(f"{sentence(end)}.", max(self._width - 3, 1), break_on_hyphens=False)
        lines = [self._line(), self._line(" ", self._glyph("done"), (f" {first}", "bold"))]
        lines += [self._line((f"   {more}", "bold")) for more in others]
        lines += [self._line((f"   {answer}", "dim")) for answer in self._board.checked]
        if (unnamed := self._board.answers - _ANSWERS) > 0:
            lines.append(self._line((f"   and {count('other', str(unnamed))}", "dim")))
        return lines

    def _glyph(self, state: str) -> tuple[str, str]:
        if state == "busy":
            frames = self._glyphs.spinner
            return frames[int(self._now * 10) % len(frames)], _STYLES[state]
        return getattr(self._glyphs, state), _STYLES[state]

    def _line(self, *parts: str | tuple[str, str]) -> Text:
        from rich.text import Text

        return Text.assemble(*parts)


class LiveReporter(Reporter):
    """A view that is redrawn in place; what is lasting, warnings say, is above it."""

    def __init__(
        self, stream: Stream, secrets: Secrets, verbosity: int = 1, color: bool | None = None
    ) -> None:
        from rich.console import Console

        super().__init__(stream, secrets)
        self.console = Console(
            file=self.stream,  # type: ignore[arg-type]
            no_color=True if color is False else None,
            highlight=False,
            markup=False,
            emoji=False,
        )
        self._verbosity = verbosity
        self._board = _Board()
        self._live: Live | None = None

    def __call__(self, event: Event) -> None:
        event = self.secrets.clean_event(event)
        with self._lock:
            self._board.take(event, time.monotonic())
            lines = list(self._lasting(event))
        # Outside of the lock: the thread that redraws holds the console's when it wants ours.
        for text, style in lines:
            self._print(text, style)

    def show(self, lines: Iterable[str]) -> None:
        for line in lines:
            for part in wrapped(self.secrets.clean(line), self.console.width):
                self._print(part, "")

    @contextmanager
    def paused(self) -> Iterator[None]:
        self._stop(is_kept=False)
        try:
            yield
        finally:
            self._start()

    def __enter__(self) -> Reporter:
        self._start()
        return self

    def __exit__(
        self, type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._lock:
            self._board.close(time.monotonic(), is_failed=error is not None)
        self._stop(is_kept=True)

    def _start(self) -> None:
        from rich.live import Live

        self._live = Live(console=self.console, get_renderable=self._draw, refresh_per_second=10)
        self._live.start()

    def _stop(self, *, is_kept: bool) -> None:
        if self._live is not None:
            self._live.transient = not is_kept
            self._live.stop()
            self._live = None

    def _draw(self) -> RenderableType:
        from rich.console import Group

        with self._lock:
            return Group(*_View(self._board, self.console).lines())

    def _print(self, text: str, style: str) -> None:
        from rich.text import Text

        # Not print(text, style=style): that would colour the view, which is printed with it, too.
        self.console.print(Text(text, style=style), soft_wrap=True)

    def _lasting(self, event: Event) -> Iterator[tuple[str, str]]:
        host = f"{event.host}: " if event.host else ""
        if event.kind in {"warning", "recovered", "interrupted"}:
            yield f"{host}{sentence(event)}", "yellow"
        elif event.kind == "reversal.planned" or (event.kind in _TOLD and self._verbosity > 0):
            yield f"{host}{sentence(event)}", ""
            for line in detail_lines(event):
                yield line, ""
        elif event.kind in {"step.output", "install.output"} and self._verbosity > 1:
            yield f"{host}{sentence(event)}", "dim"
