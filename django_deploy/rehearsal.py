"""What the hosts themselves say that a release would change: it is made there, aside.

That is ``deploy --plan``, and what a person is shown before a deployment asks whether to go on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any

from .exceptions import DeployError, RequestFailed, RolloutFailed
from .host.protocol import Event, Report
from .plan.model import Plan
from .stages import Stage, rehearsal_stages
from .target import Host
from .transport.fleet import Courier, Fleet, gather
from .transport.session import Reply

#: What a rehearsal tells, and the deployment behind it finds again.
TOLD_ONCE = ("warning", "migrations.planned")


@dataclass
class ToldOnce:
    """A ``Report`` to whom nothing of ``TOLD_ONCE`` is told a second time, until it is to ``forget``."""

    report: Report
    _told: list[tuple[str, str, Any]] = field(default_factory=list)

    def __call__(self, event: Event) -> None:
        what = (event.kind, event.host, event.fields)
        if event.kind in TOLD_ONCE:
            if what in self._told:
                return
            self._told.append(what)
        self.report(event)

    def forget(self) -> None:
        self._told.clear()


def rehearse(plan: Plan, fleet: Fleet, report: Report, *, asks: bool) -> Plan:
    """The plan with each host's answer, or with why it would refuse the release (``refusals``).

    The release is made beside all that serves, and its migrations are looked at and not run. With ``asks``
    somebody will be asked about those that nobody can look into, so that no warning has to tell of them.
    """
    answers: dict[Host, Reply] = {}
    refusals: list[DeployError] = []
    for stage in rehearsal_stages(plan, report, asks=asks):
        answers, errors = _ask(stage, fleet)
        answers.update(_refusing(errors, stage))
        refusals += errors
        if stage.then is not None:
            stage.then({host: [answer] for host, answer in answers.items()})
    found = (replace(host, rehearsal=answers.get(host.host)) for host in plan.hosts)
    return replace(plan, hosts=tuple(found), refusals=tuple(refusals))


def _refusing(errors: Sequence[DeployError], stage: Stage) -> Iterator[tuple[Host, Reply]]:
    """What hosts that refuse the migrations have found to change nevertheless."""
    failures = {error.host: error for error in errors if isinstance(error, RequestFailed)}
    for host in stage.hosts:
        if host.name in failures and isinstance(changes := failures[host.name].details.get("changes"), dict):
            yield host, changes


def after_rehearsal(plan: Plan) -> Plan:
    """The plan without what a rehearsal has sent already."""
    found = (host if host.rehearsal is None else replace(host, send=(), deltas={}) for host in plan.hosts)
    return replace(plan, hosts=tuple(found))


def _ask(stage: Stage, fleet: Fleet) -> tuple[dict[Host, Reply], list[DeployError]]:
    """One reply of each host, or what it has against that."""
    replies: dict[Host, Reply] = {}
    errors: list[DeployError] = []
    sent = {courier: _send(courier, stage) for courier in fleet.couriers if courier.host in stage.hosts}
    for courier, future in sent.items():
        try:
            (replies[courier.host],) = gather(future.result(), "")
        except RolloutFailed as failure:
            errors += failure.errors
        except DeployError as error:
            errors.append(error)
    return replies, errors


def _send(courier: Courier, stage: Stage) -> Future[list[Future[Reply]]]:
    return courier.submit(lambda: stage.send(courier.session.result()))
