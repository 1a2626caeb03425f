"""What a release would change beside what is live: variables, settings, static files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Optional

from . import environment
from .layout import Release
from .protocol import Failure
from .release_steps import PREFLIGHT_TIMEOUT, ReleaseSteps
from .shape import Shape

#: Files and settings of one kind that are named, at most.
MOST_NAMES = 200

#: Names, of which there may be more than are told.
NAMES: Shape = {"count": int, "names": [str]}

KINDS = ("added", "changed", "removed")

#: What would change; None where that cannot be known. Where nothing is live: what comes, without settings.
COMPARISON: Shape = {
    "environment": {kind: [str] for kind in KINDS},
    "settings": (None, [{"name": str, "change": str}]),
    "static": (None, dict.fromkeys(KINDS, NAMES)),
}


def compare(
    live: Optional[Release], release: Release, before: ReleaseSteps, after: ReleaseSteps
) -> dict[str, Any]:
    """A ``COMPARISON``; ``before`` is the open Django of what is live, ``after`` that of the release."""
    return {
        "environment": environment.compare(live, release),
        "settings": _settings(_settings_of(before), _settings_of(after)) if live else [],
        "static": _files(_files_of(before) if live else {}, _files_of(after)),
    }


def _settings_of(steps: ReleaseSteps) -> Optional[dict[str, Any]]:
    return _ask(steps, "settings").get("settings")


def _files_of(steps: ReleaseSteps) -> Optional[dict[str, str]]:
    return _ask(steps, "static_files").get("files")


def _ask(steps: ReleaseSteps, what: str) -> dict[str, Any]:
    """Nothing where the release cannot say: it may be broken, or older than this question."""
    try:
        reply = steps.ask({"do": what}, PREFLIGHT_TIMEOUT)
    except Failure:
        return {}
    return reply if reply["ok"] else {}


def _settings(
    old: Optional[Mapping[str, Any]], new: Optional[Mapping[str, Any]]
) -> Optional[list[dict[str, str]]]:
    if old is None or new is None:
        return None
    names = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
    return [{"name": name, "change": _change(old.get(name), new.get(name))} for name in names[:MOST_NAMES]]


def _change(old: Any, new: Any) -> str:
    """For people; of what is hidden no more than that it is another value."""
    if isinstance(old, list) and isinstance(new, list):
        removed = [f"- {item}" for item in old if item not in new]
        added = [f"+ {item}" for item in new if item not in old]
        return ", ".join([*removed, *added][:MOST_NAMES]) or "in another order"
    if _is_shown(old) and _is_shown(new):
        return f"{_shown(old)} -> {_shown(new)}"
    if old is None or new is None:
        return "not set -> set" if old is None else "set -> not set"
    return "another value"


def _is_shown(leaf: Any) -> bool:
    return not isinstance(leaf, dict)


def _shown(leaf: Any) -> str:
    if leaf is None:
        return "not set"
    return f"[{', '.join(leaf)}]" if isinstance(leaf, list) else str(leaf)


def _files(
    old: Optional[Mapping[str, str]], new: Optional[Mapping[str, str]]
) -> Optional[dict[str, dict[str, Any]]]:
    if old is None or new is None:
        return None
    return {
        "added": _named([name for name in new if name not in old]),
        "changed": _named([name for name in new if name in old and old[name] != new[name]]),
        "removed": _named([name for name in old if name not in new]),
    }


def _named(names: Sequence[str]) -> dict[str, Any]:
    return {"count": len(names), "names": sorted(names)[:MOST_NAMES]}
