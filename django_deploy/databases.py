"""Whether the hosts of a target have one and the same database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .exceptions import HostError, RolloutFailed
from .target import Host

#: The reply of a host's preflight.
Reply = Mapping[str, Any]


def compare_databases(replies: Mapping[Host, Sequence[Reply]]) -> None:
    """Raises ``RolloutFailed`` with each host whose database is not that of the first.

    SQLite's are files of each host's own. A host that does not reach its database fails by itself, later.
    """
    found = {host: reply.get("databases", {}) for host, (reply,) in replies.items()}
    errors = [error for alias in _aliases(found.values()) for error in _differing(alias, found)]
    if errors:
        raise RolloutFailed("", errors=errors)


def _aliases(found: Any) -> list[str]:
    return list(dict.fromkeys(alias for databases in found for alias in databases))


def _differing(alias: str, found: Mapping[Host, Mapping[str, Any]]) -> list[HostError]:
    entries = {host: databases[alias] for host, databases in found.items() if alias in databases}
    known = [(host, entry) for host, entry in entries.items() if "fingerprint" in entry]
    known = [(host, entry) for host, entry in known if entry["vendor"] != "sqlite"]
    return [
        HostError(
            host.name,
            f"its database {alias!r} is {entry['place']}, and that of {known[0][0].name} is another one:"
            f" {known[0][1]['place']}.",
            remedy="The hosts of a target share one database, migrated once: look at ENV and the settings.",
        )
        for host, entry in known[1:]
        if entry["fingerprint"] != known[0][1]["fingerprint"]
    ]
