"""Of a traceback what matters to whoever wrote the site."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .host.frames import FRAME, MACHINERY


def without_machinery(lines: Iterable[str]) -> Iterator[str]:
    """The lines, with one in place of each run of frames of Django, Python and servers."""
    hidden, before, inside = 0, "", ""
    for line in lines:
        if hidden and inside and line.startswith(inside):
            continue  # the source of a frame that is hidden, or its marks
        frame = FRAME.match(line)
        if frame and MACHINERY.search(frame["file"]):
            hidden, before = hidden + 1, frame["before"]
            inside = f"{before}    "
            continue
        if hidden:
            yield _instead(before, hidden)
        hidden, inside = 0, ""
        yield line
    if hidden:
        yield _instead(before, hidden)


def _instead(before: str, hidden: int) -> str:
    return f"{before}  ... {hidden} {'frame' if hidden == 1 else 'frames'} of Django and Python"
