"""What the hosts themselves say that a release would change: ``deploy --plan`` makes it there, aside."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace

from .exceptions import DeployError, RolloutFailed
from .host.protocol import Report
from .plan.model import Plan
from .stages import Stage, rehearsal_stage
from .target import Host
from .transport.fleet import Courier, Fleet, gather
from .transport.session import Reply


def rehearse(plan: Plan, fleet: Fleet, report: Report) -> Plan:
    """The plan with each host's answer, or with why it would refuse the release (``refusals``).

    Hosts with nothing live are not asked. On the others the release is made beside all that serves, and
    its migrations are looked at and not run.
    """
    hosts = [host.host for host in plan.hosts if host.live is not None and host.host in plan.installing]
    stage = rehearsal_stage(plan, hosts, report)
    sent = {courier: _send(courier, stage) for courier in fleet.couriers if courier.host in hosts}
    answers: dict[Host, Reply] = {}
    refusals: list[DeployError] = []
    for courier, future in sent.items():
        try:
            (answers[courier.host],) = gather(future.result(), "")
        except RolloutFailed as failure:
            refusals += failure.errors
        except DeployError as error:
            refusals.append(error)
    found = (replace(host, rehearsal=answers.get(host.host)) for host in plan.hosts)
    return replace(plan, hosts=tuple(found), refusals=tuple(refusals))


def _send(courier: Courier, stage: Stage) -> Future[list[Future[Reply]]]:
    return courier.submit(lambda: stage.send(courier.session.result()))
