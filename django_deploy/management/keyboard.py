"""The person's own terminal, handed over to a program on a host: every key goes there."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django_deploy.transport.execution import Window

try:
    import termios
    import tty
except ImportError:  # Windows: commands run there without a terminal
    HAS_TERMINALS = False
else:
    HAS_TERMINALS = True


def has_terminal() -> bool:
    """A person sits in front of both standard input and standard output."""
    return HAS_TERMINALS and sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()


def window() -> Window:
    """What our own terminal is, and its size now."""
    size = os.get_terminal_size(sys.stdin.fileno())
    return Window(os.environ.get("TERM", "dumb"), size.columns, size.lines)


@contextmanager
def handed_over() -> Iterator[Callable[[], Window | None]]:
    """Ctrl-C, Ctrl-Z and the like reach the program as keys; gives what to ask for a new size of the window.

    Whatever happens, the terminal is as before at the end.
    """
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    with window_changes() as resized:
        try:
            tty.setraw(descriptor)
            yield resized
        finally:
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


@contextmanager
def window_changes() -> Iterator[Callable[[], Window | None]]:
    """Gives what to ask for the window's new size: it answers once after each change."""
    has_changed = False

    def note(number: int, frame: object) -> None:
        nonlocal has_changed
        has_changed = True

    def resized() -> Window | None:
        nonlocal has_changed
        if not has_changed:
            return None
        has_changed = False
        return window()

    before = signal.signal(signal.SIGWINCH, note)
    try:
        yield resized
    finally:
        signal.signal(signal.SIGWINCH, before)
