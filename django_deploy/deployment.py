"""The use cases: ``deploy``, ``preview``, ``rollback``, ``status``. The page to read first.

A deployment is a row of stages; each is a barrier over all hosts: no host begins a stage before every
host has ended the one before. With one host there is nobody to wait for, so all its requests are sent
at once and the network's delay is paid once. When a stage fails on any host, or the user presses
Ctrl-C, every host is told to undo; a host that loses us undoes by itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .bundle.assembly import build_bundle, deployer
from .bundle.manifest import Wheel
from .bundle.tools import fetch_tool
from .exceptions import (
    BundleError,
    ConnectionLost,
    DeployError,
    HostError,
    Interrupted,
    RequestFailed,
    RolloutFailed,
)
from .host.protocol import SILENCE, Event, Report, ignore
from .plan import HostPlan, Plan, make_plan, platform_of, tools_needed
from .target import Host, Step, Target
from .transport.fleet import Courier, Fleet, gather
from .transport.session import HostSession, Reply, open_session
from .transport.ssh import Prompts, no_prompts

#: Seconds to hear that a host has undone a transaction, once its running step has ended.
UNDO_TIMEOUT = 60.0

#: Seconds between two events about an upload.
PROGRESS_INTERVAL = 0.1

#: Seconds in which a host that we lost is asked, over a new connection, what became of it.
ASK_AGAIN_TIMEOUT = SILENCE + 10.0


@dataclass(frozen=True)
class Outcome:
    """How it ended. ``outcome`` is ``"deployed"``, ``"unchanged"``, ``"declined"`` or ``"rolled back"``.

    ``checked`` are the addresses that answered the health check; ``seconds`` is the whole time.
    """

    outcome: str
    release: str
    previous: str | None
    hosts: tuple[str, ...]
    checked: tuple[str, ...]
    seconds: float
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class HostStatus:
    """What one host says of itself; with an ``error`` it said nothing."""

    host: str
    error: str = ""
    live: str | None = None
    releases: tuple[Mapping[str, Any], ...] = ()
    processes: tuple[Mapping[str, Any], ...] = ()


def deploy(
    target: Target,
    *,
    report: Report = ignore,
    prompts: Prompts = no_prompts,
    confirm: Callable[[Plan], bool] = lambda plan: True,
) -> Outcome:
    """Take what runs here to every host of the target.

    ``confirm`` is shown the plan before anything changes. Raises ``DeployError``: with ``RolloutFailed`` and
    ``Interrupted`` every host that can be reached serves what it served before.
    """
    clock = Clock(report)
    while True:
        try:
            return _deploy_once(target, clock, prompts, confirm)
        except RolloutFailed as failure:
            if not (target.lock_wait and all(is_stale(error) for error in failure.errors)):
                raise
            message = "Another deployment ended while this one waited; the plan is made anew."
            report(Event("warning", fields={"message": message, "remedy": ""}))


def _deploy_once(target: Target, clock: Clock, prompts: Prompts, confirm: Callable[[Plan], bool]) -> Outcome:
    with _interruptible(), Fleet(target, report=clock.report, prompts=prompts) as fleet:
        plan = _make_plan(target, fleet, clock)
        previous = plan.hosts[0].live
        names = tuple(host.name for host in target.hosts)
        if plan.is_empty:
            return clock.finish(Outcome("unchanged", previous or "", previous, names, (), 0.0, plan.warnings))
        if not confirm(plan):
            return clock.finish(Outcome("declined", previous or "", previous, names, (), 0.0, plan.warnings))
        rollout = Rollout(target, fleet, clock, plan.release, {host.host: host.live for host in plan.hosts})
        rollout.run(_deploy_stages(plan, clock.report))
        return clock.finish(
            Outcome("deployed", plan.release, previous, names, rollout.checked(), 0.0, plan.warnings)
        )


def preview(target: Target, *, report: Report = ignore, prompts: Prompts = no_prompts) -> Plan:
    """What ``deploy`` would do; nothing is changed and no lock is taken."""
    with _interruptible(), Fleet(target, report=report, prompts=prompts) as fleet:
        return _make_plan(target, fleet, Clock(report))


def rollback(
    target: Target,
    release: str | None = None,
    *,
    report: Report = ignore,
    prompts: Prompts = no_prompts,
) -> Outcome:
    """Make an earlier release live again on every host: by default the one before the live one.

    Nothing is built or fetched: the release is there with its virtualenv.
    """
    clock = Clock(report)
    with _interruptible(), Fleet(target, report=report, prompts=prompts) as fleet:
        with clock.phase("connect"):
            sessions = fleet.sessions()
        chosen = choose_release([session.facts for session in sessions], release)
        live = {session.host: session.facts["live"] for session in sessions}
        names = tuple(host.name for host in target.hosts)
        if all(current == chosen for current in live.values()):
            return clock.finish(Outcome("unchanged", chosen, chosen, names, (), 0.0))
        rollout = Rollout(target, fleet, clock, chosen, live)
        rollout.run([_begin_stage(target, live), *_activation_stages(target, chosen, "rollback")])
        previous = live[target.hosts[0]]
        return clock.finish(Outcome("rolled back", chosen, previous, names, rollout.checked(), 0.0))


def status(
    target: Target, *, report: Report = ignore, prompts: Prompts = no_prompts
) -> tuple[HostStatus, ...]:
    """What every host says of itself; one that does not answer says why."""
    found = []
    with _interruptible(), Fleet(target, report=report, prompts=prompts) as fleet:
        for host, session in fleet.outcomes():
            if isinstance(session, DeployError):
                found.append(HostStatus(host.name, error=str(session)))
                continue
            facts = session.facts
            found.append(
                HostStatus(
                    host.name,
                    live=facts["live"],
                    releases=tuple(facts["releases"]),
                    processes=tuple(facts["processes"]),
                )
            )
    return tuple(found)


def choose_release(facts: Sequence[Mapping[str, Any]], wanted: str | None) -> str:
    """The release to go back to; raises ``DeployError`` that names what there is.

    Only releases that were live once, and that every host has, are offered.
    """
    offered: set[str] = set.intersection(
        *({r["id"] for r in fact["releases"] if r["state"] in ("live", "retired")} for fact in facts)
    )
    live = {fact["live"] for fact in facts}
    if wanted is not None:
        if wanted in offered:
            return wanted
        others = ", ".join(sorted(offered - live)) or "no other release"
        raise DeployError(
            f"Not every host has a release {wanted} that was live.", remedy=f"There is: {others}."
        )
    newest_live = max((name for name in live if name), default=None)
    older = sorted(name for name in offered if newest_live is not None and name < newest_live)
    if not older:
        raise DeployError(
            "There is no earlier release to go back to.", remedy="deploy_status shows what there is."
        )
    return older[-1]


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C outside a rollout, which handles its own: nothing has been changed yet."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted("Interrupted. Nothing was changed.") from None


# The plan


def _make_plan(target: Target, fleet: Fleet, clock: Clock) -> Plan:
    """Bundle here while the connections open, then compare."""
    with clock.phase("bundle"):
        folders = [Path(folder) for folder in target.data_folders]
        manifest = build_bundle(target, report=clock.report, ignored_folders=folders)
    with clock.phase("connect"):
        sessions = fleet.sessions()
    with clock.phase("plan"):
        facts = {session.host: session.facts for session in sessions}
        tools = {host: _fetch_tools(target, host, facts[host]) for host in target.hosts}
        plan = make_plan(target, manifest, facts, tools, now=time.time())
    clock.report(Event("plan.ready", fields={"plan": plan.as_dict()}))
    for warning in plan.warnings:
        clock.report(Event("warning", fields={"message": warning, "remedy": ""}))
    return plan


def _fetch_tools(target: Target, host: Host, facts: Mapping[str, Any]) -> dict[str, Wheel]:
    if "error" in facts["python"]:
        return {}  # make_plan says so, with all other hosts' troubles
    platform = platform_of(host, facts)
    found: dict[str, Wheel] = {}
    for name in tools_needed(target, facts):
        try:
            found[name] = fetch_tool(name, platform, index_url=target.index_url)
        except BundleError:
            if name != "uv" or target.installer is not None:
                raise
            found["pip"] = fetch_tool("pip", platform, index_url=target.index_url)  # no uv for that machine
    return found


# Stages


@dataclass(frozen=True)
class Stage:
    """What is asked of some hosts between two barriers; ``send`` gives the futures of its replies."""

    name: str
    hosts: tuple[Host, ...]
    send: Callable[[HostSession], list[Future[Reply]]]


def _deploy_stages(plan: Plan, report: Report) -> list[Stage]:
    target = plan.target
    live = {host.host: host.live for host in plan.hosts}

    def prepare(session: HostSession) -> list[Future[Reply]]:
        host = plan.host(session.host.name)
        _upload(session, host, report)
        return [session.request("prepare", **_prepare_fields(plan, host))]

    def preflight(session: HostSession) -> list[Future[Reply]]:
        return [session.request("preflight")]

    return [
        _begin_stage(target, live),
        Stage("prepare", target.hosts, prepare),
        Stage("preflight", target.hosts, preflight),
        *(_step_stage(target, steps) for steps in _between_barriers(target.steps)),
        *_activation_stages(target, plan.release, "deploy"),
    ]


def _begin_stage(target: Target, live: Mapping[Host, str | None]) -> Stage:
    holder = {"by": deployer(), "since": round(time.time(), 3), "target": target.name}

    def begin(session: HostSession) -> list[Future[Reply]]:
        fields = {"holder": holder, "wait": target.lock_wait, "expect_live": live[session.host]}
        return [session.request("begin", **fields)]

    return Stage("lock", target.hosts, begin)


def _step_stage(target: Target, steps: Sequence[Step]) -> Stage:
    def send(session: HostSession) -> list[Future[Reply]]:
        return [
            session.request(
                "step",
                command=list(step.command),
                isolated=step.isolated,
                timeout=step.timeout,
                requires_app=step.requires_app,
            )
            for step in steps
        ]

    return Stage("steps", target.hosts[:1] if steps[0].on == "once" else target.hosts, send)


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


def _activation_stages(target: Target, release: str, action: str) -> list[Stage]:
    def activate(session: HostSession) -> list[Future[Reply]]:
        return [session.request("activate", release=release)]

    def confirm(session: HostSession) -> list[Future[Reply]]:
        return [session.request("confirm", by=deployer(), action=action, keep=target.keep_releases)]

    size = target.batch_size()
    batches = [target.hosts[start : start + size] for start in range(0, len(target.hosts), size)]
    return [
        *(Stage("activate", batch, activate) for batch in batches),
        Stage("confirm", target.hosts, confirm),
    ]


def _prepare_fields(plan: Plan, host: HostPlan) -> dict[str, Any]:
    target = plan.target
    return {
        "release": plan.record(host),
        "lock": plan.lock(),
        "distributions": dict(plan.manifest.distributions),
        "artifacts": [{"sha256": w.sha256, "name": w.path.name} for w in plan.manifest.wheels],
        "tools": {name: {"sha256": w.sha256, "name": w.path.name} for name, w in host.tools.items()},
        "installer": {
            "name": host.installer,
            "index_url": target.index_url,
            "offline_first": host.same_pins,
        },
        "python": target.python,
        "environment": dict(target.env),
    }


def _upload(session: HostSession, host: HostPlan, report: Report) -> None:
    """Send what the host's store lacks; progress is told now and then, and at the end."""
    total, done, told = host.bytes_to_send, 0, 0.0

    def progress(size: int) -> None:
        nonlocal done, told
        done += size
        if done == total or time.monotonic() - told > PROGRESS_INTERVAL:
            told = time.monotonic()
            report(Event("upload.progress", session.host.name, fields={"done": done, "total": total}))

    for wheel in host.send:
        session.send_file(wheel.path, wheel.sha256, wheel.path.name, progress)


# The rollout


@dataclass
class Rollout:
    """Runs stages over the hosts, and undoes them everywhere when one fails."""

    target: Target
    fleet: Fleet
    clock: Clock
    release: str
    live: Mapping[Host, str | None]
    replies: dict[Host, list[Reply]] = field(default_factory=dict)
    stage: str = ""

    def checked(self) -> tuple[str, ...]:
        """The addresses that answered the health check, host by host."""
        return tuple(
            f"{host.name}:{address}" if not host.is_local else str(address)
            for host, replies in self.replies.items()
            for reply in replies
            for address in reply.get("checked", ())
        )

    def run(self, stages: Sequence[Stage]) -> None:
        try:
            if len(self.target.hosts) == 1:
                self._run_pipelined(stages)
            else:
                self._run_with_barriers(stages)
        except RolloutFailed as failure:
            self._revert(failure.errors)
        except KeyboardInterrupt:
            raise self._interrupt() from None

    def _run_pipelined(self, stages: Sequence[Stage]) -> None:
        courier = self.fleet.couriers[0]
        sent = [(stage, self._submit(courier, stage)) for stage in stages]
        for stage, future in sent:
            with self._entering(stage):
                self._collect([courier], [future])

    def _run_with_barriers(self, stages: Sequence[Stage]) -> None:
        for stage in stages:
            with self._entering(stage):
                couriers = [courier for courier in self.fleet.couriers if courier.host in stage.hosts]
                if stage.name == "confirm":
                    self._require_links()
                if stage.name == "lock":
                    # One host gates the others: two deployers cannot each hold half of the locks.
                    couriers = self._lock_first(couriers, stage)
                self._collect(couriers, [self._submit(courier, stage) for courier in couriers])

    def _lock_first(self, couriers: list[Courier], stage: Stage) -> list[Courier]:
        first, *others = sorted(couriers, key=lambda courier: courier.host.name)
        self._collect([first], [self._submit(first, stage)])
        return others

    def _require_links(self) -> None:
        """Once a host is known to be lost, no other one is told to keep what that one undoes."""
        ends = [courier.session.result().end for courier in self.fleet.couriers]
        if errors := [end for end in ends if end is not None]:
            raise RolloutFailed("", errors=errors)

    @contextmanager
    def _entering(self, stage: Stage) -> Iterator[None]:
        self.stage = stage.name
        with self.clock.phase(stage.name):
            yield

    def _submit(self, courier: Courier, stage: Stage) -> Future[list[Future[Reply]]]:
        return courier.submit(lambda: stage.send(courier.session.result()))

    def _collect(self, couriers: Sequence[Courier], sent: Sequence[Future[list[Future[Reply]]]]) -> None:
        """Wait for every host's replies, so that all errors are known and not only the first."""
        errors: list[DeployError] = []
        for courier, future in zip(couriers, sent, strict=True):
            try:
                self.replies.setdefault(courier.host, []).extend(gather(future.result(), ""))
            except RolloutFailed as failure:
                errors += _causes(failure.errors)
        if errors:
            raise RolloutFailed("", errors=errors)

    # The way back

    def _revert(self, errors: Sequence[DeployError]) -> None:
        """Have every host undo what this rollout changed, and raise what each serves now.

        Returns only when the link was lost so late that every host had confirmed: all is well then.
        """
        for error in errors:
            if not is_stale(error):
                self.clock.report(_failure(error))
        with self.clock.phase("revert"):
            fates = self._undo_everywhere(errors)
        if all(fate == "live" for fate in fates.values()):
            message = f"The link was lost, but {self.release} had been confirmed: it is live."
            self.clock.report(Event("warning", fields={"message": message, "remedy": ""}))
            return
        unreverted = sorted(host for host, fate in fates.items() if fate != "reverted")
        if not unreverted:
            raise RolloutFailed(self._what_is_served() + self._what_stays(errors), errors=errors)
        where = ", ".join(f"{host} ({fates[host]})" for host in unreverted)
        raise RolloutFailed(
            f"Not reverted, as far as can be seen: {where}.",
            errors=errors,
            unreverted=unreverted,
            remedy=f"Look with: manage.py deploy_status {self.target.name}."
            " Then deploy again: that first mends what this deployment left.",
        )

    def _interrupt(self) -> Interrupted:
        try:
            with self.clock.phase("revert"):
                fates = self._undo_everywhere([])
        except KeyboardInterrupt:
            when = "within 20 s, or as soon as its running step has ended"
            return Interrupted(f"Interrupted twice: left at once. Every host reverts by itself {when}.")
        unreverted = [f"{host} ({fate})" for host, fate in fates.items() if fate != "reverted"]
        if unreverted:
            remedy = f"Look with: manage.py deploy_status {self.target.name}."
            return Interrupted(f"Interrupted; not reverted: {', '.join(unreverted)}.", remedy=remedy)
        return Interrupted(f"Interrupted. {self._what_is_served()}{self._what_stays()}")

    def _undo_everywhere(self, errors: Sequence[DeployError]) -> dict[str, str]:
        """Abort all sessions at once; what became of each host: ``reverted``, ``live`` or ``unknown``."""
        failed = {error.host: error for error in errors if isinstance(error, RequestFailed)}
        sessions = [courier.session.result() for courier in self.fleet.couriers]
        for courier in self.fleet.couriers:
            courier.stop()
        for session in sessions:
            session.abort()
        return {session.host.name: self._fate(session, failed.get(session.host.name)) for session in sessions}

    def _fate(self, session: HostSession, error: RequestFailed | None) -> str:
        session.wait_for_end(UNDO_TIMEOUT)
        if error is not None:
            return "reverted" if error.reverted else "unknown"
        if session.reverted is not None or self.stage == "lock":
            return "reverted"
        return self._ask_again(session.host)

    def _ask_again(self, host: Host) -> str:
        """Ask a host that we lost what it serves. It may have got far with what it had been sent already."""
        deadline = time.monotonic() + ASK_AGAIN_TIMEOUT
        while time.monotonic() < deadline:
            try:
                session = open_session(host, self.target, report=ignore, prompts=no_prompts)
            except DeployError:
                time.sleep(1.0)
                continue
            facts = session.facts
            if facts["unfinished"] and not facts["lock"]:
                self._mend(session)
            session.close()
            if facts["live"] == self.release and _state(facts, self.release) == "live":
                return "live"
            if not facts["unfinished"]:
                return "reverted" if facts["live"] == self.live[host] else "unknown"
            time.sleep(0.5)
        return "unknown"

    def _mend(self, session: HostSession) -> None:
        """The host's program was killed, or the host: a new one that begins undoes what is left of it."""
        with suppress(DeployError):
            gather(_begin_stage(self.target, self.live).send(session), "")

    def _what_is_served(self) -> str:
        lives = set(self.live.values())
        if lives == {None}:
            return "Nothing is live: this was the first deployment, and it was undone."
        names = ", ".join(sorted(live for live in lives if live))
        where = "every host" if len(self.target.hosts) > 1 else "the host"
        return f"Nothing changed: {where} serves {names}, as before."

    def _what_stays(self, errors: Sequence[DeployError] = ()) -> str:
        """Migrations are not undone: the old release runs with them."""
        results = [reply.get("result", {}) for replies in self.replies.values() for reply in replies]
        results += [error.details for error in errors if isinstance(error, RequestFailed)]
        applied = [str(name) for result in results for name in result.get("applied", ())]
        return f" These migrations were applied and stay: {', '.join(applied)}." if applied else ""


def _state(facts: Mapping[str, Any], release: str) -> str:
    return next((str(r["state"]) for r in facts["releases"] if r["id"] == release), "")


def _causes(errors: Sequence[DeployError]) -> list[DeployError]:
    """Requests behind a failed one are answered with Aborted: the failure itself says it all."""
    causes = [error for error in errors if not (isinstance(error, RequestFailed) and error.type == "Aborted")]
    lost = [error for error in causes if isinstance(error, ConnectionLost)]
    return [error for error in causes if error not in lost] + lost[:1] or list(errors[:1])


def is_stale(error: DeployError) -> bool:
    """The host's live release is not the one that the plan was made for."""
    return isinstance(error, RequestFailed) and error.type == "Changed"


def _failure(error: DeployError) -> Event:
    host = error.host if isinstance(error, HostError) else ""
    lines = list(error.lines) if isinstance(error, RequestFailed) else []
    return Event(
        "host.failed", host, fields={"message": error.message, "remedy": error.remedy, "lines": lines}
    )


@dataclass
class Clock:
    """Reports phases and their times."""

    report: Report
    started: float = field(default_factory=time.monotonic)
    phases: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        self.report(Event("phase.started", fields={"phase": name}))
        yield
        seconds = time.monotonic() - began
        self.phases[name] = round(self.phases.get(name, 0.0) + seconds, 3)
        self.report(Event("phase.finished", fields={"phase": name, "seconds": round(seconds, 3)}))

    def finish(self, outcome: Outcome) -> Outcome:
        seconds = round(time.monotonic() - self.started, 3)
        fields = {
            "outcome": outcome.outcome,
            "release": outcome.release,
            "seconds": seconds,
            "phases": dict(self.phases),
        }
        self.report(Event("rollout.finished", fields=fields))
        return Outcome(**{**vars(outcome), "seconds": seconds})
