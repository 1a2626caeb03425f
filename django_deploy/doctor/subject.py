"""All that is known of one host that answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django_deploy.exceptions import DeployError
from django_deploy.plan.releases import find_release
from django_deploy.target import Host, Target


@dataclass(frozen=True)
class Subject:
    """``facts`` answer the hello, ``examination`` is of ``host/examination.py``.

    ``clock_offset`` is in seconds, positive where the host's clock is ahead. ``databases`` by alias, or why
    they could not be asked. ``environment`` has the names of variables by origin, or why it cannot be read.
    """

    host: Host
    target: Target
    facts: Mapping[str, Any]
    examination: Mapping[str, Any]
    clock_offset: float
    databases: Mapping[str, Any] | DeployError
    environment: Mapping[str, Any] | DeployError

    @property
    def live(self) -> str | None:
        """The id of the release that is served."""
        live: str | None = self.facts["current"]
        return live

    @property
    def release(self) -> Mapping[str, Any]:
        """What the live release tells of itself; empty where nothing is live."""
        return find_release(self.facts, self.live) if self.live else {}

    @property
    def processes(self) -> Sequence[Mapping[str, Any]]:
        """The live release's, as they should run."""
        return self.release.get("processes") or ()
