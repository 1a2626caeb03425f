"""The site's environment: what the target's settings say, and over it what was set on this host.

The latter is ``.deploy/environment.json``. A release has its own copy of both, so that what it runs with
changes only when another release becomes live; that one's copy is then the host's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

from .layout import Layout, Release, write_atomically
from .protocol import Failure
from .secret_words import secret_words

#: Shorter words of values are not masked, in characters: they would make output unreadable.
SHORTEST_SECRET = 6


def of_host(layout: Layout) -> dict[str, str]:
    """What was set on the host."""
    return _read(layout.private / "environment.json")


def write(release: Release, settings: Mapping[str, str], host: Mapping[str, str]) -> None:
    """Give a release its environment: both origins, and what its programs get."""
    files = {"settings": settings, "host": host}
    for origin, values in files.items():
        write_atomically(_file(release, origin), json.dumps(values), 0o600)
    write_atomically(release.path / "environment.json", json.dumps({**settings, **host}), 0o600)


def change(release: Release, set: Mapping[str, str], unset: Sequence[str]) -> None:
    """Change what was set on the host, for this release."""
    write(release, _read(_file(release, "settings")), _changed(_read(_file(release, "host")), set, unset))


def of_release(release: Release) -> dict[str, str]:
    """What its programs get."""
    return _read(release.path / "environment.json")


def keep(layout: Layout, release: Release) -> None:
    """The release is live: what it has from the host is what the next ones get."""
    path = _file(release, "host")
    if path.exists() and _read(path) != of_host(layout):
        write_atomically(layout.private / "environment.json", path.read_text(), 0o600)


def store(layout: Layout, set: Mapping[str, str], unset: Sequence[str]) -> None:
    """The same for a host on which nothing is live yet."""
    values = _changed(of_host(layout), set, unset)
    write_atomically(layout.private / "environment.json", json.dumps(values), 0o600)


def compare(before: Optional[Release], after: Release) -> dict[str, list[str]]:
    """The names of the variables that are ``added``, ``changed`` and ``removed``."""
    old, new = (of_release(release) if release else {} for release in (before, after))
    return {
        "added": sorted(name for name in new if name not in old),
        "changed": sorted(name for name in new if name in old and old[name] != new[name]),
        "removed": sorted(name for name in old if name not in new),
    }


def names(layout: Layout) -> dict[str, Any]:
    """The names only, by origin: of the live release, or of what the first one would get from the host.

    Raises ``Failure`` where the host's own file is damaged, which the next release would get.
    """
    next_values, live = of_host(layout), layout.live()
    if live is None:
        return {"settings": [], "host": sorted(next_values)}
    release = layout.release(live)
    return {origin: sorted(_read(_file(release, origin))) for origin in ("settings", "host")}


def secrets(layout: Layout) -> list[str]:
    """What was set on the host is known to no deployer: it is masked here."""
    try:
        return masked_words(of_host(layout).values())
    except Failure:
        return []


def masked_words(values: Iterable[str]) -> list[str]:
    """What of such values is masked."""
    words = dict.fromkeys(word for value in values for word in secret_words(value))
    return [word for word in words if len(word) >= SHORTEST_SECRET]


#: As ``ENV`` has them.
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _changed(values: Mapping[str, str], set: Mapping[str, str], unset: Sequence[str]) -> dict[str, str]:
    if wrong := [name for name in set if not VARIABLE.fullmatch(name)]:
        raise Failure("BadRequest", f"{wrong[0]!r} is not the name of an environment variable")
    return {**{name: value for name, value in values.items() if name not in unset}, **set}


def _file(release: Release, origin: str) -> Path:
    return release.path / f"environment.{origin}.json"


def _read(path: Path) -> dict[str, str]:
    try:
        values = json.loads(path.read_text(encoding="utf-8", errors="surrogateescape"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        remedy = "Correct it on the host, or delete it and set the variables again with deploy_env."
        raise Failure("HostUnfit", f"{path} cannot be read: {error}", remedy) from None
    if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
        raise Failure("HostUnfit", f"{path} is not a JSON object of strings", "Correct it on the host.")
    return values
