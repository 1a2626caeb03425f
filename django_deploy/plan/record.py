"""What a host keeps of a release in ``release.json``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django_deploy.bundle.inventory import digests_of
from django_deploy.target import Target

if TYPE_CHECKING:
    from .model import HostPlan, Plan


def record(plan: Plan, host: HostPlan) -> dict[str, Any]:
    """All that the host needs to start, check, list and go back to this release."""
    target = plan.target
    return {
        "id": plan.release,
        **plan.manifest.as_dict(),
        "fingerprint": host.fingerprint,
        "distributions": dict(sorted(host.bundle.distributions.items())),
        "wheels": [wheel.as_dict() for wheel in host.bundle.wheels],
        "digests": digests_of(host.bundle.distributions, plan.inventory),
        "target": target.name,
        "settings_module": target.settings_module,
        "processes": processes_of(target.for_host(host.host)),
        "manager": host.manager,
        "restart": [list(command) for command in target.restart],
        "health": health_of(target),
    }


def processes_of(target: Target) -> list[dict[str, Any]]:
    """What each host runs: an entry for each instance, with its number in the command line."""
    return [
        {
            "name": name,
            "command": [word.replace("{instance}", str(number)) for word in process.command],
            "singleton": process.singleton,
            "stop_timeout": process.stop_timeout,
        }
        for process in target.processes
        for number, name in enumerate(process.instance_names(), 1)
    ]


def health_of(target: Target) -> dict[str, Any] | None:
    """How the host asks whether the site is well; None where it does not ask."""
    check = target.health_check
    if check is None:
        return None
    return {
        "path": check.path,
        "host": check.host,
        "status": check.status,
        "timeout": check.timeout,
        "headers": dict(check.headers),
    }
