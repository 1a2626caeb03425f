"""Of a traceback what matters to whoever wrote the site."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

#: The head of a frame, behind whatever a log puts before a line; Python 3.13 and older write it alike.
_FRAME = re.compile(r'(?P<before>.*?)  File "(?P<file>[^"]+)", line \d+, in ')

#: Files in which nobody looks for a mistake of his own.
_MACHINERY = re.compile(
    r"^<frozen |/lib(64)?/python3[^/]*/(?!site-packages/|dist-packages/)|/(manage|launch)\.py$"
    r"|/site-packages/(asgiref|celery|daphne|django|gunicorn|uvicorn)/"
)


def without_machinery(lines: Iterable[str]) -> Iterator[str]:
    """The lines, with one in place of each run of frames of Django, Python and servers."""
    hidden, before, inside = 0, "", ""
    for line in lines:
        if hidden and inside and line.startswith(inside):
            continue  # the source of a frame that is hidden, or its marks
        frame = _FRAME.match(line)
        if frame and _MACHINERY.search(frame["file"]):
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
