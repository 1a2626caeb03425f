"""Events made visible: a live view for a terminal, plain lines for a pipe, JSON for a program.

Any text in an event may come from a host. What is written has passed ``Secrets.clean``: no control
characters or escape sequences, a bounded length, the secrets of the target masked.
"""

from __future__ import annotations

import json as json_module
import os
import re
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote, urlsplit

from django_deploy.host.protocol import Event
from django_deploy.target import Target

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live
    from rich.text import Text

MASK = "****"

#: Longer lines are cut; so are strings in JSON. In characters.
LONGEST_LINE = 500
LONGEST_STRING = 20_000

#: How many of a failing step's last lines are shown.
LAST_LINES = 40

_ESCAPES = re.compile(
    r"\x1b[\]PX^_].*?(?:\x07|\x1b\\|$)"  # titles, links and other strings, to their end
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # colours, cursor
    r"|\x1b[ -/]*[0-~]",
    re.DOTALL,
)
# C0, C1, and the marks that turn the direction of writing.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]")
_SURROGATES = re.compile("[\ud800-\udfff]")

#: Fields that hold words of the settings or of the bundle, and never a line of output.
_OWN_WORDS = frozenset(
    {"address", "distribution", "installer", "live", "outcome", "phase", "phases"}
    | {"previous", "process", "release", "releases", "step", "wheel"}
)

_NOT_SECRET = frozenset({"true", "false", "none", "null", "localhost"})


class Stream(Protocol):
    """What is written to: a text file, or Django's wrapper of one."""

    def write(self, text: str, /) -> object: ...
    def flush(self) -> None: ...
    def isatty(self) -> bool: ...


def printable(text: object, longest: int = LONGEST_LINE) -> str:
    """One line that does nothing to a terminal but show itself."""
    line = _ESCAPES.sub("", str(text)[: 4 * longest]).expandtabs(4).replace("\n", " ")
    line = _SURROGATES.sub("\ufffd", _CONTROLS.sub("", line))
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def duration(seconds: object) -> str:
    """``42 ms``, ``8.3 s``, ``2 min 5 s``, ``3 h 10 min``, ``4 days``."""
    if not isinstance(seconds, (int, float)):
        return "?"
    if seconds < 0.1:
        return f"{max(seconds, 0) * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // (24 * 60)} days"


def size(count: object) -> str:
    """``12 kB``, ``3.4 MB``: bytes in powers of ten, as disks and networks are sold."""
    if not isinstance(count, (int, float)):
        return "?"
    if count < 999_500:
        return f"{count / 1000:.0f} kB" if count >= 1000 else f"{count:.0f} B"
    return f"{count / 1_000_000:.1f} MB" if count < 999_950_000 else f"{count / 1_000_000_000:.2f} GB"


class Secrets:
    """Masks the values of a target's ENV in text.

    Not masked, because they are no secret and would make output unreadable: values of fewer than four
    characters, true and false and their like, port numbers, and what the target's other settings say
    in the clear (its hosts, ROOT, SETTINGS_MODULE). Of a value with several lines each line is masked,
    of an address its password, too.
    """

    def __init__(self, target: Target | None = None) -> None:
        words = set[str]()
        if target is not None:
            public = _public_words(target)
            words = {word for value in target.env.values() for word in _hidden_words(value)}
            words = {word for word in words if not any(word in shown for shown in public)}
        longest_first = sorted(words, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if words else None

    def mask(self, text: str) -> str:
        return self._pattern.sub(MASK, text) if self._pattern else text

    def clean(self, text: object, longest: int = LONGEST_LINE) -> str:
        """One printable line without secrets."""
        # Cut last: half a secret would not be recognised.
        return printable(self.mask(printable(text, 4 * longest)), longest)

    def clean_text(self, text: str) -> str:
        """The same for a text of several lines."""
        return "\n".join(self.clean(line) for line in self.mask(text).split("\n"))

    def clean_event(self, event: Event, longest: int = LONGEST_LINE) -> Event:
        fields = {str(name): self._clean_value(name, value, longest) for name, value in event.fields.items()}
        return Event(event.kind, printable(event.host), event.at, fields)

    def _clean_value(self, name: object, value: Any, longest: int) -> Any:
        if isinstance(value, str):
            return printable(value, longest) if name in _OWN_WORDS else self.clean(value, longest)
        if isinstance(value, Mapping):
            return {printable(key): self._clean_value(key, item, longest) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._clean_value(name, item, longest) for item in value]
        return value


def _public_words(target: Target) -> list[str]:
    hosts = [host.name for host in target.hosts]
    return [target.name, str(target.root), target.settings_module, target.python, *hosts]


def _hidden_words(value: str) -> Iterator[str]:
    """The pieces of a secret that must not be shown: as it is, as ``repr`` shows it, its password."""
    for line in value.splitlines():
        word = line.strip()
        if len(word) < 4 or word.lower() in _NOT_SECRET or (word.isdigit() and len(word) <= 5):
            continue
        yield word
        yield repr(word)[1:-1]
        yield from _passwords(word)


def _passwords(address: str) -> Iterator[str]:
    try:
        password = urlsplit(address).password or ""
    except ValueError:
        return
    if len(password) >= 4:
        yield password
        yield unquote(password)


class Reporter:
    """Listens to events until its ``with`` block ends. Events may come from any thread."""

    def __init__(self, stream: Stream, secrets: Secrets) -> None:
        self.stream = _Steady(stream)
        self.secrets = secrets
        self._lock = threading.RLock()

    def __call__(self, event: Event) -> None:
        raise NotImplementedError

    def show(self, lines: Iterable[str]) -> None:
        """Write lines for people, a plan say; a reporter for programs leaves them out."""

    @contextmanager
    def paused(self) -> Iterator[None]:
        """While a question is asked, nothing is drawn."""
        yield

    def __enter__(self) -> Reporter:
        return self

    def __exit__(
        self, type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """The end, with the error that came of it."""


def reporter_for(
    stream: Stream, *, json: bool, verbosity: int, secrets: Secrets, color: bool | None = None
) -> Reporter:
    """The reporter that fits the stream. ``color`` None leaves it to the terminal and ``NO_COLOR``."""
    if json:
        return JsonReporter(stream, secrets)
    if stream.isatty() and os.environ.get("TERM") not in {"dumb", "unknown"} and verbosity > 0:
        return LiveReporter(stream, secrets, verbosity, color)
    return LineReporter(stream, secrets, verbosity)


class _Steady:
    """A stream that nobody may read any more, or that lacks a character, must not end a deployment."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.encoding: str = getattr(stream, "encoding", None) or "utf-8"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            self._stream.write(text.encode(self.encoding, "replace").decode(self.encoding))
        except (OSError, ValueError):
            self._silence()
        return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except (OSError, ValueError):
            self._silence()

    def _silence(self) -> None:
        """Lead the rest nowhere: the interpreter flushes at its end, and that would fail once more."""
        try:
            number = self._stream.fileno()  # type: ignore[attr-defined]
            with open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), number)
        except (OSError, ValueError, AttributeError):
            pass


class JsonReporter(Reporter):
    """One event a line."""

    def __call__(self, event: Event) -> None:
        line = json_module.dumps(self.secrets.clean_event(event, LONGEST_STRING).as_dict(), default=str)
        with self._lock:
            self.stream.write(f"{line}\n")
            self.stream.flush()


# Sentences


class _Words(dict[str, str]):
    """The fields of an event as they are written; what is missing is a question mark."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        super().__init__({name: _as_word(name, value) for name, value in fields.items()})

    def __missing__(self, name: str) -> str:
        return "?"


def _as_word(name: str, value: Any) -> str:
    if name == "seconds":
        return duration(value)
    if name in {"bytes", "done", "total"}:
        return size(value)
    if name == "phases" and isinstance(value, Mapping):
        return ", ".join(f"{phase} {duration(seconds)}" for phase, seconds in value.items())
    if name in {"distributions", "wheels", "releases"} and isinstance(value, (list, dict)):
        return str(len(value))
    if isinstance(value, Mapping):
        return ", ".join(
            f"{key} {_as_word(str(key), item)}" for key, item in value.items() if item is not None
        )
    return str(value if value is not None else "")


def _count(noun: str, number: str) -> str:
    return f"{number} {noun}" if number == "1" else f"{number} {noun}s"


def _bundle(words: _Words) -> str:
    parts = [_count("distribution", words["distributions"]), _count("wheel", words["wheels"]), words["bytes"]]
    return ", ".join([*parts, words["revision"]] if words.get("revision") else parts)


def _outcome(words: _Words) -> str:
    took = f"in {words['seconds']}"
    sentences = {
        "deployed": f"{words['release']} is live: deployed {took}",
        "rolled back": f"{words['release']} is live: rolled back {took}",
        "unchanged": f"Nothing to do: {words['release']} is live already ({words['seconds']})",
        "declined": "Nothing was changed",
    }
    return sentences.get(words["outcome"], f"{words['outcome']} {took}")


def _remedied(words: _Words) -> str:
    return f"{words['message']} {words.get('remedy', '')}".rstrip()


#: How an event reads.
_SENTENCES: Mapping[str, Callable[[_Words], str]] = {
    "phase.started": lambda w: f"{w['phase']} ...",
    "phase.finished": lambda w: f"{w['phase']}: {w['seconds']}",
    "host.connected": lambda w: f"connected to {w['address']} in {w['seconds']}",
    "build.started": lambda w: f"building {w['distribution']}",
    "build.finished": lambda w: (
        f"{w['wheel']} as before" if w.get("cached") == "True" else f"built {w['wheel']} in {w['seconds']}"
    ),
    "bundle.ready": _bundle,
    "plan.ready": lambda w: "planned",
    "lock.waiting": lambda w: f"waiting for another deployment to end: {w['holder']}",
    "recovered": lambda w: f"mended what an earlier deployment left: {w['release']} {w['action']}",
    "upload.progress": lambda w: f"sent {w['done']} of {w['total']}",
    "install.started": lambda w: (
        f"installing {_count('distribution', w['distributions'])} with {w['installer']}"
    ),
    "install.output": lambda w: f"| {w['line']}",
    "install.finished": lambda w: (
        f"installed {_count('distribution', w['distributions'])} with {w['installer']} in {w['seconds']}"
    ),
    "step.started": lambda w: f"{w['step']} ...",
    "step.output": lambda w: f"| {w['line']}",
    "step.finished": lambda w: f"{w['step']}: {w['seconds']}",
    "step.skipped": lambda w: f"{w['step']}: left out, {w['reason']}",
    "process.started": lambda w: f"started {w['process']} of {w['release']}",
    "process.stopping": lambda w: f"stopping {w['process']} of {w['release']}",
    "health.checked": lambda w: f"{w['address']} answered {w['status']} in {w['seconds']}",
    "switched": lambda w: f"serves {w['release']}",
    "confirmed": lambda w: f"confirmed {w['release']}",
    "reverted": lambda w: f"reverted: serves {w['live'] or 'nothing'}, as before",
    "pruned": lambda w: f"removed {_count('old release', w['releases'])}",
    "warning": lambda w: f"warning: {_remedied(w)}",
    "host.failed": lambda w: f"failed: {_remedied(w)}",
    "rollout.finished": _outcome,
}

#: Shown with ``--verbosity 0``, and only with 2 or more. The others need 1.
_QUIET = frozenset({"warning", "host.failed", "reverted", "rollout.finished"})
_VERBOSE = frozenset(
    {"build.started", "confirmed", "install.output", "install.started", "phase.finished", "plan.ready"}
    | {"process.started", "pruned", "step.output"}
)


def sentence(event: Event) -> str:
    """An event as one line; an unknown kind shows its fields."""
    words = _Words(event.fields)
    write = _SENTENCES.get(event.kind)
    return write(words) if write else f"{event.kind} {', '.join(words.values())}".rstrip()


class _LastLines:
    """The last lines of what runs on each host, for when it fails."""

    def __init__(self) -> None:
        self._lines: defaultdict[str, deque[str]] = defaultdict(lambda: deque(maxlen=LAST_LINES))

    def take(self, event: Event) -> None:
        if event.kind in {"step.started", "step.finished", "install.started", "install.finished"}:
            self._lines[event.host].clear()
        elif event.kind in {"step.output", "install.output"}:
            self._lines[event.host].append(sentence(event))

    def before(self, failure: Event) -> list[str]:
        """What to show of a failed host: the lines that its error brings along, else those that ran by."""
        kept = list(self._lines.pop(failure.host, ()))
        brought = failure.fields.get("lines")
        if not isinstance(brought, list) or not brought:
            return kept
        return [f"| {line}" for line in brought[-LAST_LINES:]]


class LineReporter(Reporter):
    """One plain line a fact, for a pipe and for CI. A step's output is shown when it fails."""

    def __init__(self, stream: Stream, secrets: Secrets, verbosity: int = 1) -> None:
        super().__init__(stream, secrets)
        self._verbosity = verbosity
        self._last_lines = _LastLines()
        self._phase = ""

    def __call__(self, event: Event) -> None:
        event = self.secrets.clean_event(event)
        with self._lock:
            self._last_lines.take(event)
            self.show(self._lines(event))
            if event.kind == "phase.started":
                self._phase = str(event.fields.get("phase"))

    def show(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.stream.write(f"{self.secrets.clean(line)}\n")
        self.stream.flush()

    def _lines(self, event: Event) -> Iterator[str]:
        if not self._is_shown(event):
            return
        host = f"{event.host}: " if event.host else ""
        if event.kind == "host.failed" and self._verbosity < 2:
            yield from (f"{host}{line}" for line in self._last_lines.before(event))
        yield f"{host}{sentence(event)}"
        if event.kind == "rollout.finished" and event.fields.get("phases") and self._verbosity > 0:
            yield _Words(event.fields)["phases"]

    def _is_shown(self, event: Event) -> bool:
        if event.kind == "upload.progress":
            return self._verbosity > 0 and event.fields.get("done") == event.fields.get("total")
        if event.kind == "phase.started" and event.fields.get("phase") == self._phase:
            return self._verbosity > 1  # several stages make one phase
        if event.kind in _QUIET:
            return True
        return self._verbosity > (1 if event.kind in _VERBOSE else 0)


# The live view


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
    last line of what runs; ``sent`` is the part of the upload that is done, 0 to 1.
    """

    doing: str = ""
    state: str = "idle"
    text: str = ""
    output: str = ""
    sent: float | None = None


#: What a host does after an event, in a word, and whether it is busy with that.
_DOING: Mapping[str, tuple[str, str]] = {
    "host.connected": ("connected", "idle"),
    "lock.waiting": ("waiting for another deployment", "busy"),
    "upload.progress": ("uploading", "busy"),
    "install.started": ("installing", "busy"),
    "install.finished": ("installed", "idle"),
    "process.started": ("starting", "busy"),
    "process.stopping": ("stopping", "busy"),
    "health.checked": ("healthy", "idle"),
    "switched": ("switched", "idle"),
    "confirmed": ("live", "done"),
    "reverted": ("reverted", "reverted"),
    "host.failed": ("failed", "failed"),
}


@dataclass
class _Board:
    """What the live view shows, as events made it. Knows nothing of a terminal."""

    phases: dict[str, _Phase] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    rows: dict[str, _Row] = field(default_factory=dict)
    checked: list[str] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)
    end: Event | None = None
    is_over: bool = False
    all_sent: float = 0.0

    def take(self, event: Event, now: float) -> None:
        """Note an event; ``now`` is monotonic, in seconds."""
        if event.kind.startswith("phase."):
            self._take_phase(event, now)
        elif event.kind == "rollout.finished":
            self.end = event
        elif event.host:
            self._take_host(event)
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

    def _take_host(self, event: Event) -> None:
        row = self.rows.setdefault(event.host, _Row())
        if event.kind in {"step.output", "install.output"}:
            row.output = str(event.fields.get("line", ""))
        elif event.kind in {"step.started", "step.finished"}:
            row.doing, row.text, row.output = str(event.fields.get("step", "")), sentence(event), ""
            row.state = "busy" if event.kind == "step.started" else "idle"
        elif event.kind in _DOING and row.state != "failed":
            (row.doing, row.state), row.text, row.output = _DOING[event.kind], sentence(event), ""
        if event.kind == "upload.progress":
            self._take_upload(row, event.fields.get("done"), event.fields.get("total"))

    def _take_upload(self, row: _Row, done: object, total: object) -> None:
        """A bar never goes back."""
        if isinstance(done, (int, float)) and isinstance(total, (int, float)) and total > 0:
            row.sent = max(row.sent or 0.0, min(done / total, 1.0))
        if row.sent == 1.0:
            row.doing, row.state = "uploaded", "idle"
        sent = [other.sent or 0.0 for other in self.rows.values()]
        self.all_sent = max(self.all_sent, sum(sent) / len(sent))

    def _take_note(self, event: Event) -> None:
        """The one fact beside a phase's time."""
        if event.kind == "bundle.ready" or event.kind == "build.started":
            self.notes["bundle"] = sentence(event)
        elif event.kind == "host.connected":
            self.notes["connect"] = _count("host", str(len(self.rows)))
        elif event.kind == "upload.progress" and event.fields.get("done") == event.fields.get("total"):
            self.notes["prepare"] = f"{_Words(event.fields)['total']} sent"
        elif event.kind == "step.finished":
            self._take_step(event)
        elif event.kind == "health.checked":
            self._take_answer(event)

    def _take_step(self, event: Event) -> None:
        name = str(event.fields.get("step", "?")).split(" ")[0]
        if name not in self.steps:
            self.steps.append(name)
            self.notes["steps"] = ", ".join(self.steps)

    def _take_answer(self, event: Event) -> None:
        host = f"{event.host}: " if len(self.rows) > 1 else ""
        self.checked.append(f"{host}{sentence(event)}")
        self.notes["activate"] = f"{_count('answer', str(len(self.checked)))} to the health check"


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
        if note := self._board.notes.get(phase.name):
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
        if row.doing == "uploading":
            self._add_bar(line, row.sent or 0.0)
            line.append("  ")
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
        line = self._line("     ", self._glyph(state), f" {_count('host', str(len(names))):9}  ")
        if doing == "uploading":
            self._add_bar(line, self._board.all_sent)
            doing = ""
        line.append(f"{doing}  ", _STYLES[state] if state != "busy" else "")
        line.append(", ".join(names), "dim")
        return line

    def _add_bar(self, line: Text, part: float) -> None:
        width = max(min(self._width - 50, 24), 4)
        full = int(width * part)
        line.append(self._glyphs.full * full, "cyan")
        line.append(self._glyphs.empty * (width - full), "dim")
        line.append(f" {int(100 * part):3} %")

    def _ending(self) -> list[Text]:
        end = self._board.end
        if end is None:
            return []
        lines = [self._line(), self._line(" ", self._glyph("done"), (f" {sentence(end)}.", "bold"))]
        lines += [self._line((f"   {answer}", "dim")) for answer in self._board.checked[:_ANSWERS]]
        if (others := len(self._board.checked) - _ANSWERS) > 0:
            lines.append(self._line((f"   and {_count('other', str(others))}", "dim")))
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
    """A view that is redrawn in place; what is lasting (warnings, a failing step's output) is above it."""

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
        self._last_lines = _LastLines()
        self._live: Live | None = None

    def __call__(self, event: Event) -> None:
        event = self.secrets.clean_event(event)
        with self._lock:
            self._last_lines.take(event)
            self._board.take(event, time.monotonic())
            lines = list(self._lasting(event))
        # Outside of the lock: the thread that redraws holds the console's when it wants ours.
        for text, style in lines:
            self._print(text, style)

    def show(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._print(self.secrets.clean(line), "")

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
        if event.kind == "host.failed":
            yield from ((f"{host}{line}", "dim") for line in self._last_lines.before(event))
        elif event.kind in {"warning", "recovered"}:
            yield f"{host}{sentence(event)}", "yellow"
        elif event.kind in {"step.output", "install.output"} and self._verbosity > 1:
            yield f"{host}{sentence(event)}", "dim"
