"""What is done to a live site between deployments, and asked of it: restarts, environment, maintenance."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .clock import Clock, interruptible
from .deployer import deployer
from .exceptions import DeployError, Interrupted
from .host.logs import is_meant
from .host.protocol import Report, ignore
from .plan.releases import code_of, find_release, new_release_id
from .rollout import Rollout
from .stages import activation_stages, begin_stages, renewal_stages
from .target import Host, Target
from .transport.fleet import Fleet, gather, result_of
from .transport.session import HostSession, Reply
from .transport.ssh import Prompts, no_prompts
from .undertaking import Outcome, begin, connect_hosts, finish, lock_hosts, names_of


def restart(
    target: Target,
    *,
    report: Report = ignore,
    prompts: Prompts = no_prompts,
    skip_unreachable: bool = False,
) -> Outcome:
    """Start all processes of the live release anew, blue and green: as a release of the same files."""
    clock = Clock(report)
    with interruptible(clock), Fleet(target, report=report, prompts=prompts) as fleet:
        target, sessions = connect_hosts(target, fleet, clock, skip_unreachable=skip_unreachable)
        return _renew(target, fleet, sessions, clock, None)


def _renew(
    target: Target,
    fleet: Fleet,
    sessions: Sequence[HostSession],
    clock: Clock,
    changes: Mapping[str, Any] | None,
) -> Outcome:
    """Make what is live once more, as it is or with ``changes`` of its environment."""
    facts = {session.host: session.facts for session in sessions}
    live = {host: facts[host]["live"] for host in target.hosts}
    previous = one_release(facts)
    release = new_release_id(previous.rpartition("-")[2], facts.values(), time.time())
    rollout = Rollout(target, fleet, clock, release, live)
    action, outcome = ("restart", "restarted") if changes is None else ("environment", "environment changed")
    making = renewal_stages(target, release, changes)
    rollout.run([*begin_stages(target, live), *making, *activation_stages(target, release, action)])
    return finish(
        target, clock, Outcome(outcome, release, previous, names_of(target.hosts), rollout.checked())
    )


def one_release(facts: Mapping[Host, Mapping[str, Any]]) -> str:
    """What is live, where that is the same on all hosts."""
    codes = {host.name: code_of(found, found["live"]) for host, found in facts.items()}
    if None in codes.values():
        nothing = ", ".join(name for name, code in codes.items() if code is None)
        raise DeployError(f"Nothing is live on {nothing}.", remedy="Deploy first.")
    if len(set(codes.values())) > 1:
        lives = "; ".join(f"{name}: {code}" for name, code in sorted(codes.items()))
        remedy = "Deploy, which brings all hosts to one; or name hosts that serve the same with --hosts."
        raise DeployError(f"The hosts serve different releases: {lives}.", remedy=remedy)
    return max(str(found["live"]) for found in facts.values())


def restart_process(
    target: Target, process: str, *, report: Report = ignore, prompts: Prompts = no_prompts
) -> None:
    """Stop and start the instances of one process where they are, host after host; it has no socket."""
    clock = Clock(report)
    with interruptible(clock), Fleet(target, report=report, prompts=prompts) as fleet:
        sessions = fleet.sessions()
        _require_process(process, sessions)
        live = {session.host: session.facts["live"] for session in sessions}
        begun: list[Host] = []
        for session in sessions:
            for stage in begin_stages(target, live):
                gather(stage.send(session), "")
            begun.append(session.host)
            clock.interrupted = _restarted(process, target, begun)
            gather([session.request("restart", process=process)], "")


def _restarted(process: str, target: Target, begun: Sequence[Host]) -> Interrupted:
    return Interrupted(
        f"Interrupted. {process!r} may have been restarted on {', '.join(names_of(begun))}.",
        remedy=f"manage.py deploy_status {target.name} shows what runs.",
    )


def maintain(
    target: Target,
    notice: Mapping[str, Any] | None,
    *,
    report: Report = ignore,
    prompts: Prompts = no_prompts,
) -> None:
    """Have the visitors of all hosts see the maintenance page with this notice; or, without one, the site."""
    clock = Clock(report)
    with interruptible(clock), Fleet(target, report=report, prompts=prompts) as fleet:
        sessions = fleet.sessions()
        one_release({session.host: session.facts for session in sessions})
        begin(target, sessions)
        if notice is not None:
            notice = {**notice, "by": deployer(), "since": round(time.time(), 3)}
        remedy = f"manage.py deploy_status {target.name} shows where it is on. Do it once more."
        mixed = "Interrupted. Some hosts may show the maintenance page, and others the site."
        clock.interrupted = Interrupted(mixed, remedy=remedy)
        gather([session.request("maintain", notice=notice) for session in sessions], remedy)


def _require_process(process: str, sessions: Sequence[HostSession]) -> None:
    known = {p["name"]: p for session in sessions for p in live_processes(session.facts)}
    if not any(is_meant(process, name) for name in known):
        there = f"There is: {', '.join(known)}." if known else "There is none that this tool manages."
        raise DeployError(f"No host runs a process {process!r}.", remedy=there)


def live_processes(facts: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """As the live release has them: ``name``, ``command`` and the like."""
    return find_release(facts, facts["current"]).get("processes") or ()


def environment(
    target: Target, *, prompts: Prompts = no_prompts
) -> tuple[tuple[str, DeployError | Mapping[str, Any]], ...]:
    """The names that each host's live release has from the ``settings`` and from the ``host``."""
    return tuple(ask_all(target, prompts, "environment"))


def change_environment(
    target: Target,
    set: Mapping[str, str],
    unset: Sequence[str],
    *,
    report: Report = ignore,
    prompts: Prompts = no_prompts,
    skip_unreachable: bool = False,
) -> Outcome:
    """Change what is set on the hosts, and have the live release run with it.

    That is another release of the same files, which one can go back from. Where nothing is live on any host
    yet, the first deployment gets the change.
    """
    clock, changes = Clock(report), {"set": dict(set), "unset": list(unset)}
    with interruptible(clock), Fleet(target, report=report, prompts=prompts) as fleet:
        target, sessions = connect_hosts(target, fleet, clock, skip_unreachable=skip_unreachable)
        told = gather([session.request("environment") for session in sessions], "Nothing was changed.")
        if lost := [name for name in unset if not any(name in names["host"] for names in told)]:
            remedy = "What the target's ENV says is changed there, and deployed."
            raise DeployError(f"{', '.join(lost)}: not set on any host.", remedy=remedy)
        if any(session.facts["live"] for session in sessions):
            return _renew(target, fleet, sessions, clock, changes)
        lock_hosts(target, sessions)
        clock.interrupted = Interrupted(
            "Interrupted. The environment may have been changed on some hosts.",
            remedy=f"manage.py deploy_env {target.name} shows what is set.",
        )
        gather([session.request("store_environment", **changes) for session in sessions], "")
        return finish(target, clock, Outcome("environment changed", "", None, names_of(target.hosts)))


def history(
    target: Target, lines: int, *, prompts: Prompts = no_prompts
) -> tuple[tuple[str, DeployError | Sequence[Mapping[str, Any]]], ...]:
    """The last entries of each host's history, newest first; one that does not answer says why."""
    return tuple(
        (name, found if isinstance(found, DeployError) else found["entries"][::-1])
        for name, found in ask_all(target, prompts, "history", lines=lines)
    )


def ask_all(
    target: Target, prompts: Prompts, request: str, **fields: Any
) -> Iterator[tuple[str, DeployError | Reply]]:
    """One question to all hosts, and what each of them says."""
    with interruptible(Clock(ignore)), Fleet(target, report=ignore, prompts=prompts) as fleet:
        asked = [
            (host.name, found if isinstance(found, DeployError) else found.request(request, **fields))
            for host, found in fleet.outcomes()
        ]
        yield from ((name, result_of(future)) for name, future in asked)
