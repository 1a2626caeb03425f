"""The use cases: ``deploy``, ``preview``, ``rollback``, ``status``. The page to read first.

A deployment is a row of stages; each is a barrier over all hosts: no host begins a stage before every
host has ended the one before. With one host there is nobody to wait for, so all its requests are sent
at once and the network's delay is paid once. When a stage fails on any host, or the user presses
Ctrl-C, every host is told to undo; a host that loses us undoes by itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .bundle.alterations import refuse_alterations
from .bundle.file.archive import with_vendored, write_bundle
from .bundle.file.sbom import write_sbom
from .bundle.file.signing import SigningKey, load_signing_key, sign_file
from .bundle.index.sources import read_sources, redact
from .bundle.inventory import take_inventory
from .bundle.manifest import Manifest
from .bundle.wheels.revision import Commits, find_commits
from .exceptions import ConfigError, DeployError, RolloutFailed
from .host.protocol import Event, Report, ignore
from .origins import Origin, from_environment
from .plan.fitness import platform_of
from .plan.making import make_plan
from .plan.model import Plan
from .plan.releases import code_of, find_release
from .rehearsal import Once, after_rehearsal, rehearse
from .rollout import Clock, Rollout, is_stale
from .shipment import fetch_tools, fit_bundle, fit_bundles, measure_room, shorten
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
from .transport.session import HostSession, Reply
from .transport.ssh import Prompts, no_prompts


@dataclass(frozen=True)
class Outcome:
    """How it ended. ``outcome`` is ``"deployed"``, ``"unchanged"``, ``"declined"``, ``"rolled back"``,
    ``"restarted"`` or ``"environment changed"``.

    ``checked`` are the addresses that answered the health check; ``left_out`` are hosts of the target that
    were no part of it; ``seconds`` is the whole time.
    """

    outcome: str
    release: str
    previous: str | None
    hosts: tuple[str, ...]
    checked: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class HostStatus:
    """What one host says of itself; with an ``error`` it said nothing.

    ``behind`` is the newest release that is live on any host, where it is not on this one. ``lock`` has
    ``by``, ``since`` (seconds since the epoch), ``target`` and ``phase`` of who holds it; ``maintenance``,
    while visitors see that page, ``message``, ``by`` and ``since``. ``left_open`` has
    ``release`` and ``phase`` of a deployment that was cut off, and that the next one puts right.
    """

    host: str
    error: str = ""
    live: str | None = None
    behind: str | None = None
    lock: Mapping[str, Any] | None = None
    maintenance: Mapping[str, Any] | None = None
    left_open: Mapping[str, Any] | None = None
    releases: tuple[Mapping[str, Any], ...] = ()
    processes: tuple[Mapping[str, Any], ...] = ()


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
    once = Once(report)
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
            message = "Another deployment ended while this one waited; the plan is made anew."
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

    Nothing is built or fetched: the release is there with its virtualenv. Where it cannot do with the
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
    why = f"{release} cannot do with the database as it is"
    command = f"manage.py deploy_rollback {target.name} {release}"
    bear = f"To bear the errors: {command} --keep-migrations."

    def decide(reversals: Sequence[Mapping[str, Any]]) -> None:
        if irreversible := [line for reversal in reversals for line in reversal["irreversible"]]:
            raise DeployError(
                f"{why}, and this cannot be taken back: {'; '.join(irreversible)}.",
                remedy="Deploy code that can; or put back a backup of before:"
                f" manage.py deploy_restore {target.name}.\n{bear}",
            )
        if not take_back(reversals):
            names = ", ".join(name for reversal in reversals for name in reversed(reversal["needed"]))
            raise DeployError(
                f"{why}: these migrations would have to be taken back, with what that loses: {names}.",
                remedy=f"To do that: {command} --reverse-migrations.\n{bear}",
            )

    return decide


def pack(
    target: Target,
    origin: Origin,
    file: Path | None,
    sbom: Path | None = None,
    *,
    report: Report = ignore,
    prompts: Prompts = no_prompts,
) -> Manifest:
    """Write what ``deploy`` would take to the hosts into a file, and its bill of materials into another.

    With VENDOR it holds the wheels for the hosts that there are: they are asked for their interpreters,
    and for nothing else.
    """
    clock = Clock(report)
    with interruptible(clock), clock.phase("bundle"):
        key = _signing_key(target, prompts) if file is not None else None
        manifest = origin(report)
        refuse_alterations(manifest.installed, target.allow_altered)
        if target.vendor:
            manifest = _with_vendored(target, manifest, clock, prompts)
    for warning in manifest.warnings:
        report(Event("warning", fields={"message": warning, "remedy": ""}))
    if sbom is not None:
        index_urls = map(redact, read_sources(target.index_url).index_urls)
        count = write_sbom(manifest, sbom, index_url=next(index_urls, ""))
        report(Event("sbom.written", fields={"file": str(sbom), "components": count}))
    if file is not None:
        written = write_bundle(manifest, file)
        if key is not None:
            sign_file(file, key)
        fields = {"file": str(file), "bytes": written.size, "sha256": written.sha256}
        report(Event("bundle.written", fields={**fields, "key": key.fingerprint if key else ""}))
    return manifest


def _signing_key(target: Target, prompts: Prompts) -> SigningKey | None:
    return load_signing_key(target.signing_key, prompts.passphrase) if target.signing_key else None


def status(
    target: Target, *, report: Report = ignore, prompts: Prompts = no_prompts
) -> tuple[HostStatus, ...]:
    """What every host says of itself; one that does not answer says why."""
    with interruptible(Clock(report)), Fleet(target, report=report, prompts=prompts) as fleet:
        return _statuses([(host, _facts(found)) for host, found in fleet.outcomes()])


def watch(target: Target, *, prompts: Prompts = no_prompts) -> Iterator[tuple[HostStatus, ...]]:
    """The status whenever one asks for the next; links stay open, and a broken one is opened anew."""
    fleets: dict[Host, Fleet] = {}
    try:
        while True:
            for host in target.hosts:
                if host not in fleets:
                    fleets[host] = Fleet(replace(target, hosts=(host,)), report=ignore, prompts=prompts)
            asked = [(host, _ask_again(fleets[host])) for host in target.hosts]
            found = [(host, result_of(future)) for host, future in asked]
            for host, facts in found:
                if isinstance(facts, DeployError):
                    fleets.pop(host).dismiss([host])
            yield _statuses(found)
    finally:
        for host, fleet in fleets.items():
            fleet.dismiss([host])


def _ask_again(fleet: Fleet) -> DeployError | Future[Reply]:
    [(_, found)] = fleet.outcomes()
    return found if isinstance(found, DeployError) else found.request("probe")


def result_of(future: DeployError | Future[Reply]) -> DeployError | Reply:
    """A host's reply, or its error."""
    try:
        return future if isinstance(future, DeployError) else future.result()
    except DeployError as error:
        return error


def _facts(found: DeployError | HostSession) -> DeployError | Reply:
    return found if isinstance(found, DeployError) else found.facts


def _statuses(found: Sequence[tuple[Host, DeployError | Reply]]) -> tuple[HostStatus, ...]:
    answers = [facts for _, facts in found if not isinstance(facts, DeployError)]
    newest = max((facts["current"] for facts in answers if facts["current"]), default=None)
    codes = {code_of(facts, newest) for facts in answers if facts["current"] == newest}
    return tuple(
        HostStatus(host.name, error=str(facts))
        if isinstance(facts, DeployError)
        else _describe(host, facts, newest, codes)
        for host, facts in found
    )


def _describe(
    host: Host, facts: Mapping[str, Any], newest: str | None, codes: Collection[str | None]
) -> HostStatus:
    """``codes``: what the newest live release is a restart of, or is itself."""
    return HostStatus(
        host.name,
        live=facts["current"],
        behind=None if code_of(facts, facts["current"]) in codes else newest,
        lock=facts["lock"],
        maintenance=facts["maintenance"],
        left_open=facts["transaction"] if facts["unfinished"] and not facts["lock"] else None,
        releases=tuple(facts["releases"]),
        processes=tuple(facts["processes"]),
    )


def _has_to_change(facts: Mapping[str, Any], release: str) -> bool:
    """Whether a host does not serve the release, or only because a deployment was cut off."""
    return not facts["live"] == facts["current"] == release


def choose_release(facts: Sequence[Mapping[str, Any]], wanted: str | None) -> str:
    """The release to go back to; raises ``DeployError`` that names what there is.

    Only releases that were live once, and that every host has, are offered. By default it is what was live
    before a change of the environment, else the newest that is older than the live one and that nobody went
    back from; a restart makes no release older or newer, and stands for what it has made once more.
    """
    offered: set[str] = set.intersection(
        *({r["id"] for r in fact["releases"] if r["state"] in ("live", "retired")} for fact in facts)
    )
    live = {fact["current"] for fact in facts}
    if wanted is not None:
        if wanted in offered:
            return wanted
        others = sorted(offered - live)
        remedy = f"There is: {', '.join(others) or 'no other release'}."
        if not any(wanted == release["id"] for fact in facts for release in fact["releases"]):
            raise ConfigError(f"There is no release {wanted!r}.", remedy=remedy)
        raise DeployError(f"Not every host has a release {wanted} that was live.", remedy=remedy)
    codes = {name: code_of(facts[0], name) or name for name in offered}
    origins = {_origin(fact) for fact in facts}
    made_of = [name for name in offered - live if codes[name] in origins]
    if len(origins) == 1 and made_of:
        return max(made_of)
    newest_live = max(filter(None, (code_of(fact, fact["current"]) for fact in facts)), default=None)
    given_up = {r["id"] for fact in facts for r in fact["releases"] if r.get("given_up")}
    left = offered - live - given_up
    older = [name for name in left if newest_live is not None and codes[name] < newest_live]
    if not older:
        raise DeployError(
            "There is no earlier release to go back to.", remedy="deploy_status shows what there is."
        )
    return max(older, key=lambda name: (codes[name], name))


def _origin(facts: Mapping[str, Any]) -> str | None:
    """What the environment of the live release was changed from."""
    return code_of(facts, find_release(facts, facts["current"]).get("made_of"))


@contextmanager
def interruptible(clock: Clock) -> Iterator[None]:
    """Ctrl-C outside a rollout, which handles its own: the clock knows what has been changed by then."""
    try:
        yield
    except KeyboardInterrupt:
        raise clock.interrupted from None


def connect_hosts(
    target: Target, fleet: Fleet, clock: Clock, *, skip_unreachable: bool
) -> tuple[Target, list[HostSession]]:
    """Wait for the hosts; gives the target without those that may be skipped, and the others' sessions."""
    with clock.phase("connect"):
        skipped = fleet.unreachable() if skip_unreachable else []
        fleet.dismiss([host for host, _ in skipped])
        sessions = fleet.sessions()
    if target.left_out:
        _warn(clock, f"Left out, as --hosts does not name them: {', '.join(names_of(target.left_out))}.")
    for _, error in skipped:
        _warn(clock, f"Left out, as it does not answer: {error.host}: {error.message}.", error.remedy)
    return target.without([host for host, _ in skipped]), sessions


def _warn(clock: Clock, message: str, remedy: str = "") -> None:
    clock.report(Event("warning", fields={"message": message, "remedy": remedy}))


def names_of(hosts: Sequence[Host]) -> tuple[str, ...]:
    """As the user wrote them."""
    return tuple(host.name for host in hosts)


# The plan


def _make_plan(target: Target, origin: Origin, fleet: Fleet, clock: Clock, *, skip_unreachable: bool) -> Plan:
    """Bundle here while the connections open, then compare. The plan's target has the hosts that answer."""
    with clock.phase("bundle"):
        manifest = origin(clock.report)
    target, sessions = connect_hosts(target, fleet, clock, skip_unreachable=skip_unreachable)
    with clock.phase("plan"):
        facts = {session.host: session.facts for session in sessions}
        bundles = fit_bundles(target, manifest, facts, clock.report)
        tools = {host: fetch_tools(target, host, facts[host], manifest.stock) for host in target.hosts}
        rooms = {
            host: measure_room(manifest, bundles[host], tools[host], facts[host]) for host in target.hosts
        }
        inventory = take_inventory(manifest)
        plan = make_plan(target, manifest, facts, bundles, tools, rooms, inventory=inventory, now=time.time())
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
        _warn(clock, warning)


def _commits(manifest: Manifest, facts: Mapping[Host, Mapping[str, Any]]) -> Commits | None:
    """The project's own, since what is live on the first host; None for what was not built here."""
    source = next((wheel.source for wheel in manifest.wheels if wheel.name == manifest.project), "")
    live = next((find_release(found, found["live"]) for found in facts.values() if found["live"]), {})
    before = live.get("revision")
    if manifest.origin or manifest.revision is None or not before or not Path(source).is_dir():
        return None
    return find_commits(Path(source), str(before["id"]), manifest.revision)


def _with_vendored(target: Target, manifest: Manifest, clock: Clock, prompts: Prompts) -> Manifest:
    """The manifest with all wheels that any of the target's hosts would be sent."""
    with Fleet(target, report=clock.report, prompts=prompts) as fleet:
        facts = {session.host: session.facts for session in fleet.sessions()}
    platforms = dict.fromkeys(platform_of(host, facts[host]) for host in target.hosts)
    fitted = {platform: fit_bundle(target, manifest, platform, clock.report) for platform in platforms}
    tools = [
        wheel
        for host in target.hosts
        for wheel in fetch_tools(target, host, facts[host], manifest.stock).values()
    ]
    return with_vendored(manifest, fitted, tools)


def finish(target: Target, clock: Clock, outcome: Outcome) -> Outcome:
    """Report the end, with its times and what was left out."""
    seconds, left_out = round(time.monotonic() - clock.started, 3), names_of(target.left_out)
    if left_out and outcome.outcome not in ("declined", "restored"):
        remedy = (
            f"See what they serve: manage.py deploy_status {target.name}. The next deploy brings them along."
        )
        _warn(clock, f"Not a part of this, and unchanged: {', '.join(left_out)}.", remedy)
    fields = {
        "outcome": outcome.outcome,
        "release": outcome.release,
        "url": target.url,
        "left_out": list(left_out),
        "seconds": seconds,
        "phases": dict(clock.phases),
    }
    clock.report(Event("rollout.finished", fields=fields))
    return replace(outcome, left_out=left_out, seconds=seconds)
