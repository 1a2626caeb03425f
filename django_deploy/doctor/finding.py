"""What a check has found."""

from __future__ import annotations

from dataclasses import dataclass

#: The outcomes. What was not checked says why, and is never taken for good.
OK, WARNING, ERROR, NOT_CHECKED = ("ok", "warning", "error", "not checked")


@dataclass(frozen=True)
class Finding:
    """``message`` is a sentence or less; ``remedy`` is what to do, where there is something to do."""

    check: str
    outcome: str
    message: str
    remedy: str = ""


def ok(check: str, message: str) -> Finding:
    """All is well."""
    return Finding(check, OK, message)


def warning(check: str, message: str, remedy: str) -> Finding:
    """It works, and will not for ever."""
    return Finding(check, WARNING, message, remedy)


def error(check: str, message: str, remedy: str) -> Finding:
    """The site, or the next deployment, fails by this."""
    return Finding(check, ERROR, message, remedy)


def not_checked(check: str, why: str, remedy: str = "") -> Finding:
    """Nobody knows; ``remedy`` is how it could be checked."""
    return Finding(check, NOT_CHECKED, why, remedy)
