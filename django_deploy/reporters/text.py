"""Text for people: no control characters, bounded, with the units that one reads."""

from __future__ import annotations

import os
import re
import textwrap
from contextlib import suppress
from datetime import datetime, timezone, tzinfo
from functools import lru_cache
from unicodedata import category
from zoneinfo import ZoneInfo

from django_deploy.wording import size_text

#: Longer lines are cut; so are strings in JSON. In characters.
LONGEST_LINE = 500
LONGEST_STRING = 20_000

_COLOURS = re.compile(r"(\x1b\[[0-9;]*m)")
_ESCAPES = re.compile(
    r"\x1b[\]PX^_].*?(?:\x07|\x1b\\|$)"  # titles, links and other strings, to their end
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # colours, cursor
    r"|\x1b[ -/]*[0-~]",
    re.DOTALL,
)
# C0, C1, and the marks that turn the direction of writing.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]")
# Unicode's categories of surrogates, of what is private, and of what is nothing yet.
_NO_LETTERS = ("Cs", "Co", "Cn")


def printable(text: object, longest: int = LONGEST_LINE) -> str:
    """One line that does nothing to a terminal but show itself."""
    line = _ESCAPES.sub("", str(text)[: 4 * longest]).expandtabs(4).replace("\n", " ")
    line = _CONTROLS.sub("", line)
    if not line.isprintable():
        line = "".join("\ufffd" if category(letter) in _NO_LETTERS else letter for letter in line)
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def wrapped(line: str, width: int) -> list[str]:
    """The line between words, so that none of them is cut; what follows is further in than it began.

    A word that is longer than a line stays whole: it may be a path that somebody copies.
    """
    begin = line[: len(line) - len(line.lstrip())]
    parts = textwrap.wrap(
        line, width, subsequent_indent=f"{begin}  ", break_long_words=False, break_on_hyphens=False
    )
    return parts or [line]


def cut(line: str, width: int) -> str:
    """As much of a line as a terminal has room for; its colours take none, and end where they would."""
    parts = _COLOURS.split(line)  # texts, and between each two what changes the colour
    room = width if sum(map(len, parts[::2])) <= width else width - 1
    for place in range(0, len(parts), 2):
        text = parts[place]
        parts[place] = text if len(text) <= room else f"{text[:room]}…" if room >= 0 else ""
        room = room - len(text) if len(text) <= room else -1
    return "".join(parts)


def local_time(at: float, pattern: str = "%Y-%m-%d %H:%M:%S") -> str:
    """Of seconds since the epoch, in this machine's zone: in the process Django has set the site's."""
    return datetime.fromtimestamp(at, _zone_here()).strftime(pattern)


@lru_cache(maxsize=1)
def _zone_here() -> tzinfo | None:
    """As localtime(5) has it, UTC where that is not there; None on Windows, where Django changes nothing."""
    if os.name != "posix":
        return None
    with suppress(OSError, ValueError), open("/etc/localtime", "rb") as file:
        return ZoneInfo.from_file(file)
    return timezone.utc


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
    """``12 kB``, ``3.4 MB``; ``?`` for what is no number."""
    return size_text(count) if isinstance(count, (int, float)) else "?"


def count(noun: str, number: str) -> str:
    """``1 host``, ``2 hosts``."""
    return f"{number} {noun}" if number == "1" else f"{number} {noun}s"
