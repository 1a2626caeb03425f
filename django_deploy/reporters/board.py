"""What a live view shows, as events made it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from django_deploy.host.protocol import Event
from django_deploy.reporters.flow import Flow
from django_deploy.reporters.sentences import sentence
from django_deploy.reporters.text import count, size

#: How many answers to the health check are named at the end.
_ANSWERS = 4


@dataclass
class Phase:
    """A line of the table. ``seconds`` sums up what is over; ``began`` is of the running one."""

    name: str
    began: float | None
    seconds: float = 0.0
    is_failed: bool = False

    def elapsed(self, now: float) -> float:
        return self.seconds + (now - self.began if self.began is not None else 0.0)


@dataclass
class Row:
    """What one host does just now.

    ``doing`` is a word for it, by which hosts are grouped; ``text`` says it in full; ``output`` is the
    last line of what runs; ``flow`` is what moves to or from it in this phase.
    """

    doing: str = ""
    state: str = "idle"
    text: str = ""
    output: str = ""
    flow: Flow | None = None


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


@dataclass
class Board:
    """What the live view shows, as events made it. Knows nothing of a terminal."""

    phases: dict[str, Phase] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    rows: dict[str, Row] = field(default_factory=dict)
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
        phase = self.phases.setdefault(name, Phase(name, None))
        if event.kind == "phase.started":
            if name == "revert":
                self._end_phases(now, is_failed=True)
            phase.began = now
            return
        seconds = event.fields.get("seconds")
        phase.seconds += seconds if isinstance(seconds, (int, float)) else 0.0
        phase.began = None

    def _take_host(self, event: Event, now: float) -> None:
        row = self.rows.setdefault(event.host, Row())
        if event.kind in {"step.output", "install.output"}:
            row.output = str(event.fields.get("line", ""))
        elif event.kind in {"step.started", "step.finished"}:
            row.doing, row.text, row.output = str(event.fields.get("step", "")), sentence(event), ""
            row.state = "busy" if event.kind == "step.started" else "idle"
        elif event.kind in _DOING and row.state != "failed":
            (row.doing, row.state), row.text, row.output = _DOING[event.kind], sentence(event), ""
        if event.kind in _MOVING:
            self._take_bytes(row, event, now)

    def _take_bytes(self, row: Row, event: Event, now: float) -> None:
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
        is_command = not step.startswith(("reverse ", "apply again "))  # a reversal is a phase of its own
        if is_command and name not in self.steps:
            self.steps.append(name)
            self.notes["steps"] = ", ".join(self.steps)

    def _take_answer(self, event: Event) -> None:
        host = f"{event.host}: " if len(self.rows) > 1 else ""
        self.answers += 1
        if self.answers <= _ANSWERS:
            self.checked.append(f"{host}{sentence(event)}")
        self.notes["activate"] = f"{count('answer', str(self.answers))} to the health check"
