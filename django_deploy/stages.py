"""What is asked of the hosts, stage by stage; between two stages lies a barrier."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

from .bundle.assembly import deployer
from .bundle.inventory import Inventory, take_inventory
from .host.protocol import Event, Report
from .plan import HostPlan, Plan
from .target import Host, Step, Target
from .transport.session import HostSession, Reply

#: Seconds between two events about an upload.
PROGRESS_INTERVAL = 0.1


@dataclass(frozen=True)
class Stage:
    """What is asked of some hosts between two barriers; ``send`` gives the futures of its replies.

    ``is_in_turn`` asks one host after the other, by name.
    """

    name: str
    hosts: tuple[Host, ...]
    send: Callable[[HostSession], list[Future[Reply]]]
    is_in_turn: bool = False


def deploy_stages(plan: Plan, report: Report) -> list[Stage]:
    """A deployment, from the lock to confirm."""
    changing = replace(plan.target, hosts=plan.changing)
    installing = replace(plan.target, hosts=plan.installing)
    live = {host.host: host.live for host in plan.hosts}
    inventory = take_inventory(plan.manifest)

    def prepare(session: HostSession) -> list[Future[Reply]]:
        host = plan.host(session.host.name)
        _upload(session, host, report)
        return [session.request("prepare", **_prepare_fields(plan, host, inventory))]

    def preflight(session: HostSession) -> list[Future[Reply]]:
        return [session.request("preflight", commands=[step.command[0] for step in plan.target.steps])]

    making = [
        Stage("prepare", installing.hosts, prepare),
        Stage("preflight", installing.hosts, preflight),
        *(_step_stage(installing.hosts, steps) for steps in _between_barriers(installing.steps)),
    ]
    return [
        *begin_stages(changing, live),
        *(stage for stage in making if stage.hosts),
        *activation_stages(changing, plan.release, "deploy"),
    ]


def begin_stages(target: Target, live: Mapping[Host, str | None]) -> list[Stage]:
    """Take the locks, and see that what the plan found live is so still.

    The locks are taken in turn, so that deployers never wait for each other in a circle, whichever hosts each
    of them has; the wait for other deployments is for all hosts together.
    """
    until = time.monotonic() + target.lock_wait
    holder = {"by": deployer(), "since": round(time.time(), 3), "target": target.name}

    def lock(session: HostSession) -> list[Future[Reply]]:
        return [session.request("lock", holder=holder, wait=max(until - time.monotonic(), 0.0))]

    def begin(session: HostSession) -> list[Future[Reply]]:
        return [session.request("begin", expect_live=live[session.host])]

    return [Stage("lock", target.hosts, lock, is_in_turn=True), Stage("lock", target.hosts, begin)]


def _step_stage(hosts: Sequence[Host], steps: Sequence[Step]) -> Stage:
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
            if session.host.is_for(step.roles)
        ]

    fit = tuple(host for host in hosts if any(host.is_for(step.roles) for step in steps))
    return Stage("steps", fit[:1] if steps[0].on == "once" else fit, send)


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

    stages, hosts, size = [], target.hosts, target.batch_size()
    for end in range(size, len(hosts) + size, size):
        stages.append(Stage("activate", hosts[end - size : end], activate))
        # Who goes back is in a hurry.
        if action == "deploy" and (seconds := _time_to_watch(target, end)):
            stages.append(_hold_stage("hold", hosts[:end], seconds))
    return [*stages, _hold_stage("activate", hosts, 0.0), Stage("confirm", hosts, confirm)]


def _time_to_watch(target: Target, activated: int) -> float:
    """The seconds for which the first ``activated`` hosts must stay healthy, before the next or confirm."""
    is_first, is_last = activated <= target.batch_size(), activated >= len(target.hosts)
    pause = target.batch.pause if target.batch is not None and not is_last else 0.0
    return max(pause, target.canary_seconds if is_first else 0.0)


def _hold_stage(name: str, hosts: Sequence[Host], seconds: float) -> Stage:
    return Stage(name, tuple(hosts), lambda session: [session.request("hold", seconds=seconds)])


def _prepare_fields(plan: Plan, host: HostPlan, inventory: Inventory) -> dict[str, Any]:
    target = plan.target
    return {
        "release": plan.record(host),
        "lock": plan.lock(host),
        "distributions": {
            name: [version, *inventory.get((name, version), ())]  # then tags and digest, where they are known
            for name, version in host.bundle.distributions.items()
        },
        "artifacts": [{"sha256": w.sha256, "name": w.path.name} for w in host.bundle.wheels],
        "tools": {name: {"sha256": w.sha256, "name": w.path.name} for name, w in host.tools.items()},
        "installer": {
            "name": host.installer,
            "index_url": None if target.vendor else target.index_url,
            "vendored": target.vendor,
            "offline_first": host.same_pins,
        },
        "python": target.python,
        "environment": dict(target.env),
    }


def _upload(session: HostSession, host: HostPlan, report: Report) -> None:
    """Send what the host's store lacks; progress is told now and then, and at the end.

    It may be more than was planned: a difference that the host cannot use is followed by the whole wheel.
    """
    total, done, told = host.bytes_to_send, 0, 0.0

    def progress(size: int) -> None:
        nonlocal total, done, told
        done += size
        total = max(total, done)
        if done == total or time.monotonic() - told > PROGRESS_INTERVAL:
            told = time.monotonic()
            report(Event("upload.progress", session.host.name, fields={"done": done, "total": total}))

    for wheel in host.needed:
        if wheel not in host.send:
            session.offer_file(wheel.path, wheel.sha256, wheel.path.name, progress)
    for wheel in host.send:
        delta = host.deltas.get(wheel.sha256)
        if delta is None:
            session.send_file(wheel.path, wheel.sha256, wheel.path.name, progress)
        else:
            session.send_delta(delta, wheel.path, wheel.sha256, wheel.path.name, progress)
