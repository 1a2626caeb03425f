"""The reporter for a terminal: a view that is redrawn in place."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

from django_deploy.host.protocol import Event
from django_deploy.reporters.board import Board, Phase, Row
from django_deploy.reporters.details import detail_lines
from django_deploy.reporters.flow import Flow, movement
from django_deploy.reporters.plain import Reporter, Stream
from django_deploy.reporters.secrets import Secrets
from django_deploy.reporters.sentences import sentence
from django_deploy.reporters.text import count, cut, duration, wrapped

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live
    from rich.text import Text


#: Events that stay to be read above the view, with what there is below their line.
_TOLD = frozenset({"backup.finished", "changes.found", "migrations.planned"})

#: What hosts do that is drawn as a bar.
_WITH_BAR = ("uploading", "fetching")


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

#: The width of the longest phase's bar at the end, in characters.
_BAR = 12

_STYLES = {"done": "green", "failed": "bold red", "reverted": "yellow", "busy": "cyan", "idle": "dim"}


class _View:
    """Draws a board: the phases, below them the hosts, at the end the outcome."""

    def __init__(self, board: Board, console: Console) -> None:
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

    def _phase(self, phase: Phase, name_width: int, longest: float) -> Text:
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

    def _host(self, name: str, row: Row, name_width: int) -> Text:
        line = self._line("     ", self._glyph(row.state), f" {cut(name, name_width):{name_width}}  ")
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
        if (unnamed := self._board.answers - len(self._board.checked)) > 0:
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
        self._board = Board()
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
