"""How long a deployment will take, by how long the last ones took."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .model import Plan

#: Seconds; what a host says beyond that is no help.
LONGEST = 24 * 3600.0


@dataclass(frozen=True)
class PastDeployment:
    """What one deployment took on a host, in seconds: to make the release, and to make it live."""

    made: float
    activated: float


@dataclass(frozen=True)
class Estimate:
    """Seconds from the moment that everything is sent, and of how many deployments they are the median."""

    seconds: float
    deployments: int


def durations_of(facts: Mapping[str, Any]) -> tuple[PastDeployment, ...]:
    """What the last deployments took, as the host says."""
    return tuple(
        PastDeployment(_bounded(taken["made"]), _bounded(taken["activated"])) for taken in facts["durations"]
    )


def estimate(plan: Plan) -> Estimate | None:
    """None where a host that changes has no deployment to go by, or none changes.

    The release is made on all hosts at once; then a batch follows the other, and the slowest of its hosts
    counts.
    """
    hosts = {host.host: host for host in plan.hosts if not host.is_current}
    if not hosts or not all(host.durations for host in hosts.values()):
        return None
    making = [
        median(past.made for past in host.durations) for host in hosts.values() if not host.is_installed
    ]
    seconds, activated = max(making, default=0.0), 0
    for batch in plan.target.batches():
        activated += len(batch)
        changing = [hosts[host] for host in batch if host in hosts]
        seconds += max((median(past.activated for past in host.durations) for host in changing), default=0.0)
        seconds += plan.target.time_to_watch(activated)
    return Estimate(round(seconds, 1), min(len(host.durations) for host in hosts.values()))


def _bounded(seconds: float) -> float:
    return float(min(max(seconds, 0), LONGEST))
