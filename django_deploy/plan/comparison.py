"""What hosts say that a release would change beside distributions and processes, as lines for people."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django_deploy.wording import listed

#: Hosts that are named, of those on which the same would happen.
HOSTS_SHOWN = 8

#: Static files of a kind that are named.
STATIC_SHOWN = 5


def comparison_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """Of one answer (``host/comparison.py``); none where nothing is different."""
    variables = found["environment"]
    marks = (("+", "added"), ("~", "changed"), ("-", "removed"))
    if named := [f"{mark} {name}" for mark, kind in marks for name in variables[kind]]:
        yield f"environment: {', '.join(named)}"
    yield from (f"setting {entry['name']}: {entry['change']}" for entry in found["settings"] or ())
    if found["settings"] is None:
        yield "settings: not known, the live release cannot say"
    static = found["static"] or {}
    for kind in ("added", "changed", "removed"):
        if kind in static and static[kind]["count"]:
            files = listed(static[kind]["names"], STATIC_SHOWN, static[kind]["count"])
            yield f"static files {kind}: {files}"


def alike(found: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[list[str], Mapping[str, Any]]]:
    """The names of hosts that gave the same answer, and that answer; ``found`` is by name."""
    names: dict[str, list[str]] = {}
    for name, answer in found.items():
        names.setdefault(json.dumps(answer, sort_keys=True), []).append(name)
    return ((hosts, found[hosts[0]]) for hosts in names.values())


def host_names(names: Sequence[str]) -> str:
    """The first of them, and how many more there are."""
    return listed(names, HOSTS_SHOWN)
