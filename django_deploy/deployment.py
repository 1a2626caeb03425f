"""The use cases ``deploy``, ``preview`` and ``rollback``. The page to read first.

A deployment is a row of stages; each is a barrier over all hosts: no host begins a stage before every
host has ended the one before. With one host there is nobody to wait for, so all its requests are sent
at once and the network's delay is paid once. When a stage fails on any host, or the user presses
Ctrl-C, every host is told to undo; a host that loses us undoes by itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from .bundle.alterations import refuse_alterations
from .bundle.inventory import take_inventory
from .bundle.manifest import Manifest
from .bundle.wheels.revision import Commits, find_commits
from .clock import Clock, interruptible
from .exceptions import DeployError, RolloutFailed
from .host.protocol import Event, Report, ignore
from .origins import Origin, from_environment
from .plan.making import make_plan
from .plan.model import Plan
from .plan.releases import choose_release, find_release
from .rehearsal import ToldOnce, after_rehearsal, rehearse
from .rollout import Rollout, is_stale
from .shipment import make_shipments, shorten
from .stages import (
    Accept,
    Decide,
    activation_stages,
    begin_stages,
    deferred_stages,
    deploy_stages,
    way_back_stages,
)
from .target import Host, Target
from .transport.fleet import Fleet
from .transport.ssh import Prompts, no_prompts
from .undertaking import Outcome, connect_hosts, finish, names_of, warn


def deploy(
    target: Target,
    origin: Origin | None = None,
    *,
    report: Report = ignore,
    prompts: Prompts = no_prompts,
    confirm: Callable[[Plan], bool] = lambda plan: True,
    accept: Accept | None = None,
    is_rehearsed: bool = False,
    skip_unreachable: bool = False,
) -> Outcome:
    """Take what runs here, or a bundle of another origin, to every host of the target.

    ``skip_unreachable`` leaves out hosts at whose address nothing answers. ``confirm`` is shown the plan
    before anything changes, ``accept`` the operations of migrations that nobody can look into. With
    ``is_rehearsed`` the plan has what ``preview`` finds; where hosts would refuse it, ``confirm`` only shows
    it. Raises ``DeployError``: with ``RolloutFailed`` and ``Interrupted`` every host that can be
    reached serves what it served before.
    """
    once = ToldOnce(report)
    clock = Clock(once if is_rehearsed else report)
    while True:
        try:
            with interruptible(clock), Fleet(target, report=clock.report, prompts=prompts) as fleet:
                plan = _make_plan(
                    target,
                    origin or from_environment(target),
                    fleet,
                    clock,
                    skip_unreachable=skip_unreachable,
                )
                if is_rehearsed:
                    plan = _rehearsed(plan, fleet, clock, asks=accept is not None)
                _announce(plan, clock)
                return _carry_out(plan, fleet, clock, confirm, accept)
        except RolloutFailed as failure:
            if not (target.lock_wait and all(is_stale(error) for error in failure.errors)):
                raise
            message = "Another deployment ended while this one waited; making a new plan."
            report(Event("warning", fields={"message": message, "remedy": ""}))
            once.forget()


def _carry_out(
    plan: Plan, fleet: Fleet, clock: Clock, confirm: Callable[[Plan], bool], accept: Accept | None
) -> Outcome:
    target, previous = plan.target, plan.hosts[0].live
    unchanged = Outcome("unchanged", previous or "", previous, names_of(target.hosts), (), plan.warnings)
    if plan.is_empty and not plan.deferring:
        return finish(target, clock, unchanged)
    is_wanted = confirm(plan)
    if plan.refusals:
        raise RolloutFailed("Nothing was changed.", errors=plan.refusals)
    if not is_wanted:
        return finish(target, clock, replace(unchanged, outcome="declined"))
    if plan.is_empty:
        _catch_up(plan, fleet, clock)
        return finish(target, clock, unchanged)
    fleet.dismiss([host for host in target.hosts if host not in plan.changing])
    live = {host.host: host.live for host in plan.hosts}
    rollout = Rollout(replace(target, hosts=plan.changing), fleet, clock, plan.release, live)
    rollout.run(deploy_stages(after_rehearsal(plan), clock.report, accept))
    if deferring := rollout.deferring():
        rollout.finish(deferred_stages(rollout.target, deferring))
    deployed = replace(unchanged, outcome="deployed", release=plan.release, checked=rollout.checked())
    return finish(target, clock, deployed)


def _catch_up(plan: Plan, fleet: Fleet, clock: Clock) -> None:
    """Nothing is new, but migrations of the live release that followed its confirm were not applied."""
    live = {host.host: host.live for host in plan.hosts}
    rollout = Rollout(plan.target, fleet, clock, plan.release, live)
    rollout.finish([*begin_stages(plan.target, live), *deferred_stages(plan.target, plan.deferring)])


def preview(
    target: Target,
    origin: Origin | None = None,
    *,
    report: Report = ignore,
    prompts: Prompts = no_prompts,
    skip_unreachable: bool = False,
) -> Plan:
    """What ``deploy`` would do, and what the hosts would say to that.

    Files are sent and the release is made aside, so that what is to come is known; nothing that serves is
    changed and no lock is taken.
    """
    origin, clock = origin or from_environment(target), Clock(report)
    with interruptible(clock), Fleet(target, report=report, prompts=prompts) as fleet:
        plan = _make_plan(target, origin, fleet, clock, skip_unreachable=skip_unreachable)
        plan = _rehearsed(plan, fleet, clock, asks=False)
        _announce(plan, clock)
        return plan


def rollback(
    target: Target,
    release: str | None = None,
    *,
    report: Report = ignore,
    prompts: Prompts = no_prompts,
    take_back: Callable[[Sequence[Mapping[str, Any]]], bool] | None = lambda reversals: False,
    skip_unreachable: bool = False,
) -> Outcome:
    """Make an earlier release live again on every host: by default the one before the live one.

    Nothing is built or fetched: the release is there with its virtualenv. Where it cannot use the
    database as it is, ``take_back`` is shown what would have to be taken back, and says whether to; None
    leaves the database as it is, whatever that means. ``skip_unreachable`` is as of ``deploy``.
    """
    clock = Clock(report)
    with interruptible(clock), Fleet(target, report=report, prompts=prompts) as fleet:
        target, sessions = connect_hosts(target, fleet, clock, skip_unreachable=skip_unreachable)
        chosen = choose_release([session.facts for session in sessions], release)
        live = {session.host: session.facts["live"] for session in sessions}
        names = names_of(target.hosts)
        changing = tuple(session.host for session in sessions if _has_to_change(session.facts, chosen))
        if not changing:
            return finish(target, clock, Outcome("unchanged", chosen, chosen, names))
        previous = live[target.hosts[0]]
        fleet.dismiss([host for host in target.hosts if host not in changing])
        part = replace(target, hosts=changing)
        rollout = Rollout(part, fleet, clock, chosen, live)
        rollout.run(
            [
                *begin_stages(part, live),
                *(way_back_stages(part, chosen, _decide(target, chosen, take_back)) if take_back else ()),
                *activation_stages(part, chosen, "rollback"),
            ]
        )
        if deferring := rollout.deferring():
            rollout.finish(deferred_stages(part, deferring))
        rolled_back = Outcome("rolled back", chosen, previous, names, rollout.checked())
        return finish(target, clock, rolled_back)


def _decide(target: Target, release: str, take_back: Callable[[Sequence[Mapping[str, Any]]], bool]) -> Decide:
    """Refuses what cannot be taken back, or is not to be."""
    why = f"{release} cannot use the database as it is"
    command = f"manage.py deploy_rollback {target.name} {release}"
    bear = f"To accept the errors: {command} --keep-migrations."

    def decide(reversals: Sequence[Mapping[str, Any]]) -> None:
        if irreversible := [line for reversal in reversals for line in reversal["irreversible"]]:
            raise DeployError(
                f"{why}, and this cannot be reversed: {'; '.join(irreversible)}.",
                remedy="Deploy code that can; or restore an earlier backup:"
                f" manage.py deploy_restore {target.name}.\n{bear}",
            )
        if not take_back(reversals):
            names = ", ".join(name for reversal in reversals for name in reversed(reversal["needed"]))
            raise DeployError(
                f"{why}: these migrations would have to be reversed, which can lose data: {names}.",
                remedy=f"To do that: {command} --reverse-migrations.\n{bear}",
            )

    return decide


def _has_to_change(facts: Mapping[str, Any], release: str) -> bool:
    """Whether a host does not serve the release, or only because a deployment was cut off."""
    return not facts["live"] == facts["current"] == release


# The plan


def _make_plan(target: Target, origin: Origin, fleet: Fleet, clock: Clock, *, skip_unreachable: bool) -> Plan:
    """Bundle here while the connections open, then compare. The plan's target has the hosts that answer."""
    with clock.phase("bundle"):
        manifest = origin(clock.report)
    target, sessions = connect_hosts(target, fleet, clock, skip_unreachable=skip_unreachable)
    with clock.phase("plan"):
        facts = {session.host: session.facts for session in sessions}
        shipments = make_shipments(target, manifest, facts, clock.report)
        inventory = take_inventory(manifest)
        plan = make_plan(target, manifest, shipments, inventory=inventory, now=time.time())
        plan = shorten(plan, facts)
        refuse_alterations(manifest.installed, target.allow_altered)
        if not plan.is_empty:
            plan = replace(plan, commits=_commits(manifest, facts))
    return plan


def _rehearsed(plan: Plan, fleet: Fleet, clock: Clock, *, asks: bool) -> Plan:
    """The plan, with what the hosts on which it would be made say to it."""
    if not plan.installing:
        return plan
    with clock.phase("rehearse"):
        return rehearse(plan, fleet, clock.report, asks=asks)


def _announce(plan: Plan, clock: Clock) -> None:
    clock.report(Event("plan.ready", fields={"plan": plan.as_dict()}))
    for warning in plan.warnings:
        warn(clock, warning)


def _commits(manifest: Manifest, facts: Mapping[Host, Mapping[str, Any]]) -> Commits | None:
    """The project's own, since what is live on the first host; None for what was not built here."""
    source = next((wheel.source for wheel in manifest.wheels if wheel.name == manifest.project), "")
    live = next((find_release(found, found["live"]) for found in facts.values() if found["live"]), {})
    before = live.get("revision")
    if manifest.origin or manifest.revision is None or not before or not Path(source).is_dir():
        return None
    return find_commits(Path(source), str(before["id"]), manifest.revision)
