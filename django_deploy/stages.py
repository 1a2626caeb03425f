"""What is asked of the hosts, stage by stage; between two stages lies a barrier."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

from .databases import compare_databases
from .deployer import deployer
from .exceptions import DeployError, RolloutFailed
from .host.protocol import Event, Report
from .plan.comparison import alike
from .plan.model import HostPlan, Plan
from .shipment import file_of, send_files
from .target import Host, Step, Target
from .transport.session import HostSession, Reply


@dataclass(frozen=True)
class Stage:
    """What is asked of some hosts between two barriers; ``send`` gives the futures of its replies.

    ``is_in_turn`` asks one host after the other, by name. ``then`` looks at the replies before anything else
    is asked, and may raise ``RolloutFailed``.
    """

    name: str
    hosts: tuple[Host, ...]
    send: Callable[[HostSession], list[Future[Reply]]]
    is_in_turn: bool = False
    then: Callable[[Mapping[Host, Sequence[Reply]]], None] | None = None


#: Shown the operations of migrations that nobody can look into; whether to go on.
Accept = Callable[[Sequence[str]], bool]

#: Shown what would be taken back on the way to an earlier release, by database; raises ``DeployError``.
Decide = Callable[[Sequence[Mapping[str, Any]]], None]


def deploy_stages(plan: Plan, report: Report, accept: Accept | None = None) -> list[Stage]:
    """A deployment, from the lock to confirm. ``accept`` is None where there is nobody to ask."""
    changing = replace(plan.target, hosts=plan.changing)
    installing = replace(plan.target, hosts=plan.installing)
    live = {host.host: host.live for host in plan.hosts}

    def prepare(session: HostSession) -> list[Future[Reply]]:
        host = plan.host(session.host.name)
        send_files(session, host, report)
        return [session.request("prepare", **_prepare_fields(plan, host))]

    making = [
        Stage("prepare", installing.hosts, prepare),
        _preflight_stage(plan, installing, report),
        *_migration_stages(plan, installing, accept),
        *(_step_stage(installing.hosts, steps) for steps in _between_barriers(installing.steps)),
    ]
    return [
        *begin_stages(changing, live),
        *(stage for stage in making if stage.hosts),
        *activation_stages(changing, plan.release, "deploy"),
    ]


def renewal_stages(target: Target, release: str, changes: Mapping[str, Any] | None) -> list[Stage]:
    """Make what is live once more under the name ``release``; a changed environment is tried first."""

    def renew(session: HostSession) -> list[Future[Reply]]:
        return [session.request("renew", release=release, environment=changes)]

    def preflight(session: HostSession) -> list[Future[Reply]]:
        return [session.request("preflight", commands=[], required=[], identify=None, compare=False)]

    making = [Stage("prepare", target.hosts, renew)]
    return making if changes is None else [*making, Stage("preflight", target.hosts, preflight)]


def begin_stages(target: Target, live: Mapping[Host, str | None]) -> list[Stage]:
    """Take the locks, and see that what the plan found live is so still."""
    return [lock_stage(target), begin_stage(target, live)]


def lock_stage(target: Target) -> Stage:
    """Take the locks.

    In turn, so that deployers never wait for each other in a circle, whichever hosts each of them has; the
    wait for other deployments is for all hosts together.
    """
    until = time.monotonic() + target.lock_wait
    holder = {"by": deployer(), "since": round(time.time(), 3), "target": target.name}

    def lock(session: HostSession) -> list[Future[Reply]]:
        return [session.request("lock", holder=holder, wait=max(until - time.monotonic(), 0.0))]

    return Stage("lock", target.hosts, lock, is_in_turn=True)


def begin_stage(target: Target, live: Mapping[Host, str | None]) -> Stage:
    """See that ``live`` is so still, on hosts that are locked."""

    def begin(session: HostSession) -> list[Future[Reply]]:
        return [session.request("begin", expect_live=live[session.host])]

    return Stage("lock", target.hosts, begin)


def rehearsal_stages(plan: Plan, report: Report, *, asks: bool) -> list[Stage]:
    """Send the release to all hosts on which it would be made, and ask each what it would change there."""
    target = replace(plan.target, hosts=plan.installing)
    judged = _judged_steps(target)
    others = _staying_code(plan.target)

    def rehearse(session: HostSession) -> list[Future[Reply]]:
        host = plan.host(session.host.name)
        send_files(session, host, report)
        commands = [list(step.command) for step in judged.get(session.host, ())]
        fields = _prepare_fields(plan, host) | _check_fields(target)
        migrations = _migration_fields(target, commands, others, asks=asks)
        return [session.request("rehearse", **fields, migrations=migrations)]

    return [*_table_stages("rehearse", plan, judged, others), Stage("rehearse", target.hosts, rehearse)]


def _check_fields(target: Target) -> dict[str, Any]:
    return {
        "commands": [step.command[0] for step in target.steps],
        "required": [step.command[0] for step in target.steps if not step.requires_app],
        "identify": None,
    }


def _preflight_stage(plan: Plan, target: Target, report: Report) -> Stage:
    """What a host has not yet said that it would change, it says; and which database it has, if several are
    to have one.
    """
    commands = [list(step.command) for step in target.steps if step.is_migration and step.on == "once"]
    is_compared = bool(commands) and len(target.hosts) > 1
    # Salted anew each time: what is logged tells nobody which databases are the same.
    identify = {"commands": commands, "salt": secrets.token_hex(16)} if is_compared else None

    is_asked = {host: plan.host(host.name).rehearsal is None for host in target.hosts}

    def send(session: HostSession) -> list[Future[Reply]]:
        fields = {**_check_fields(target), "identify": identify, "compare": is_asked[session.host]}
        return [session.request("preflight", **fields)]

    def look(replies: Mapping[Host, Sequence[Reply]]) -> None:
        found = {host.name: reply.get("changes") for host, (reply,) in replies.items()}
        for hosts, changes in alike({name: changes for name, changes in found.items() if changes}):
            report(Event("changes.found", fields={"hosts": hosts, **changes}))
        compare_databases(replies)

    return Stage(
        "preflight", target.hosts, send, then=look if any(is_asked.values()) or is_compared else None
    )


def _migration_stages(plan: Plan, target: Target, accept: Accept | None) -> list[Stage]:
    """Judge the migrations where they will run, by all the code that runs anywhere now."""
    judged = _judged_steps(target)
    others = _staying_code(plan.target)
    asks = accept is not None and target.migrations != "allow"

    def judge(session: HostSession) -> list[Future[Reply]]:
        commands = [list(step.command) for step in judged[session.host]]
        return [session.request("plan_migrations", **_migration_fields(target, commands, others, asks=asks))]

    def ask(replies: Mapping[Host, Sequence[Reply]]) -> None:
        opaque = [line for reply in replies.values() for line in reply[0].get("opaque", ())]
        if opaque and accept is not None and not accept(opaque):
            raise RolloutFailed("", errors=[DeployError("The migrations were not run, as you wished.")])

    if not judged:
        return []
    return [
        *_table_stages("preflight", plan, judged, others),
        Stage("preflight", tuple(judged), judge, then=ask if asks else None),
    ]


def _table_stages(
    name: str, plan: Plan, judged: Collection[Host], others: list[dict[str, Any]]
) -> Iterator[Stage]:
    """Ask what code that no host of ``judged`` runs uses of the database; it is added to ``others``."""

    def list_tables(session: HostSession) -> list[Future[Reply]]:
        return [session.request("list_tables")]

    def remember(replies: Mapping[Host, Sequence[Reply]]) -> None:
        for host, (reply,) in replies.items():
            code = f"the live release of {host.name}"
            others.append({"name": code, "tables": reply.get("tables"), "stays": False})

    if judged and (elsewhere := _other_code(plan, judged)):
        yield Stage(name, elsewhere, list_tables, then=remember)


def _staying_code(target: Target) -> list[dict[str, Any]]:
    return [
        {"name": f"what runs on {host.name}, which is left out,", "tables": None, "stays": True}
        for host in target.left_out
    ]


def _migration_fields(
    target: Target, commands: list[list[str]], others: list[dict[str, Any]], *, asks: bool
) -> dict[str, Any]:
    return {
        "commands": commands,
        "policy": target.migrations,
        "target": target.name,
        "shared_with": list(target.database_shared_with),
        "others": others,
        "asks": asks,
        "backup": _backup(target),
    }


def _backup(target: Target) -> dict[str, Any] | None:
    if not target.backup:
        return None
    return {"when": "contract" if target.backup == "contract" else "always", "keep": target.keep_backups}


def _judged_steps(target: Target) -> dict[Host, list[Step]]:
    """Which host runs which steps that migrate."""
    found: dict[Host, list[Step]] = {}
    for step in target.steps:
        fit = [host for host in target.hosts if host.is_for(step.roles)]
        for host in (fit[:1] if step.on == "once" else fit) if step.is_migration else ():
            found.setdefault(host, []).append(step)
    return found


def _other_code(plan: Plan, judged: Collection[Host]) -> tuple[Host, ...]:
    """One host for each live release that a host which migrates does not have live itself."""
    live = {host: plan.host(host.name).live for host in plan.changing}
    known = set.intersection(*({live[host]} for host in judged))
    found: dict[str, Host] = {}
    for host, release in live.items():
        if release is not None and release not in known:
            found.setdefault(release, host)
    return tuple(found.values())


def way_back_stages(target: Target, release: str, decide: Decide) -> list[Stage]:
    """Ahead of the activation of an earlier release: the database is made such as it can live with.

    ``decide`` is shown what would have to be taken back, and raises ``DeployError`` where that is not to be.
    """
    judged = _judged_steps(target)
    found: dict[Host, Reply] = {}

    def plan(session: HostSession) -> list[Future[Reply]]:
        commands = [list(step.command) for step in judged[session.host]]
        fields = _migration_fields(target, commands, _staying_code(target), asks=False)
        return [session.request("plan_rollback", release=release, **fields)]

    def look(replies: Mapping[Host, Sequence[Reply]]) -> None:
        found.update({host: reply for host, (reply,) in replies.items()})
        reversals = [r for reply in found.values() for r in reply.get("reversals", ()) if r["needed"]]
        try:
            if reversals:
                decide(reversals)
        except DeployError as error:
            raise RolloutFailed("", errors=[error]) from None

    def reverse(session: HostSession) -> list[Future[Reply]]:
        is_needed = any(r["needed"] for r in found[session.host].get("reversals", ()))
        return [session.request("reverse", backup=_backup(target))] if is_needed else []

    def migrate(session: HostSession) -> list[Future[Reply]]:
        steps = judged[session.host] if found[session.host].get("pending") else []
        return [_ask_for_step(session, step) for step in steps]

    hosts = tuple(judged)
    stages = [
        Stage("preflight", hosts, plan, then=look),
        Stage("reverse", hosts, reverse),
        Stage("steps", hosts, migrate),
    ]
    return stages if hosts else []


def deferred_stages(target: Target, hosts: Sequence[Host]) -> list[Stage]:
    """After confirm: once nothing else runs anywhere, what waited for that is migrated on ``hosts``."""

    def drain(session: HostSession) -> list[Future[Reply]]:
        return [session.request("drain")]

    def migrate(session: HostSession) -> list[Future[Reply]]:
        return [session.request("migrate_deferred", target=target.name, backup=_backup(target))]

    return [Stage("drain", target.hosts, drain), Stage("migrate", tuple(hosts), migrate)]


def _step_stage(hosts: Sequence[Host], steps: Sequence[Step]) -> Stage:
    def send(session: HostSession) -> list[Future[Reply]]:
        return [_ask_for_step(session, step) for step in steps if session.host.is_for(step.roles)]

    fit = tuple(host for host in hosts if any(host.is_for(step.roles) for step in steps))
    return Stage("steps", fit[:1] if steps[0].on == "once" else fit, send)


def _ask_for_step(session: HostSession, step: Step) -> Future[Reply]:
    return session.request(
        "step",
        command=list(step.command),
        isolated=step.isolated,
        timeout=step.timeout,
        requires_app=step.requires_app,
    )


def _between_barriers(steps: Sequence[Step]) -> Iterator[list[Step]]:
    """Neighbours that run on each host need no barrier between them; one that runs once has two."""
    group: list[Step] = []
    for step in steps:
        if group and "once" in (step.on, group[-1].on):
            yield group
            group = []
        group.append(step)
    if group:
        yield group


def activation_stages(target: Target, release: str, action: str) -> list[Stage]:
    """Switch in batches, watch them, then confirm; ``action`` is what the history calls it."""

    def activate(session: HostSession) -> list[Future[Reply]]:
        return [session.request("activate", release=release)]

    def confirm(session: HostSession) -> list[Future[Reply]]:
        fields = {"by": deployer(), "action": action, "left_out": [host.name for host in target.left_out]}
        return [session.request("confirm", **fields, keep=target.keep_releases)]

    stages, hosts, activated = [], target.hosts, 0
    for batch in target.batches():
        activated += len(batch)
        stages.append(Stage("activate", batch, activate))
        # Who goes back is in a hurry.
        if action != "rollback" and (seconds := target.time_to_watch(activated)):
            stages.append(_hold_stage("hold", hosts[:activated], seconds))
    return [*stages, _hold_stage("activate", hosts, 0.0), Stage("confirm", hosts, confirm)]


def _hold_stage(name: str, hosts: Sequence[Host], seconds: float) -> Stage:
    return Stage(name, tuple(hosts), lambda session: [session.request("hold", seconds=seconds)])


def _prepare_fields(plan: Plan, host: HostPlan) -> dict[str, Any]:
    target = plan.target
    return {
        "release": plan.record(host),
        "lock": plan.lock(host),
        "distributions": {
            # Then tags and digest, where they are known.
            name: [version, *plan.inventory.get((name, version), ())]
            for name, version in host.bundle.distributions.items()
        },
        "artifacts": [file_of(wheel) for wheel in host.bundle.wheels],
        "tools": {name: file_of(wheel) for name, wheel in host.tools.items()},
        "installer": {
            "name": host.installer,
            "index_url": None if target.vendor else target.index_url,
            "vendored": target.vendor,
            "offline_first": host.same_pins,
        },
        "python": target.python,
        "environment": dict(target.env),
    }
