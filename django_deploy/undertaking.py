"""How each undertaking begins and ends: the hosts that are a part of it, and its outcome."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from .clock import Clock
from .host.protocol import Event
from .stages import begin_stage, lock_stage
from .target import Host, Target
from .transport.fleet import Fleet, gather
from .transport.session import HostSession


@dataclass(frozen=True)
class Outcome:
    """How it ended. ``outcome`` is ``"deployed"``, ``"unchanged"``, ``"declined"``, ``"rolled back"``,
    ``"restarted"``, ``"environment changed"`` or ``"restored"``.

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


def connect_hosts(
    target: Target, fleet: Fleet, clock: Clock, *, skip_unreachable: bool
) -> tuple[Target, list[HostSession]]:
    """Wait for the hosts; gives the target without those that may be skipped, and the others' sessions."""
    with clock.phase("connect"):
        skipped = fleet.unreachable() if skip_unreachable else []
        fleet.dismiss([host for host, _ in skipped])
        sessions = fleet.sessions()
    if target.left_out:
        warn(clock, f"Left out, as --hosts does not name them: {', '.join(names_of(target.left_out))}.")
    for _, error in skipped:
        warn(clock, f"Left out, as it does not answer: {error.host}: {error.message}.", error.remedy)
    return target.without([host for host, _ in skipped]), sessions


def lock_hosts(target: Target, sessions: Sequence[HostSession]) -> None:
    """Take each host's lock, in turn; raises ``RolloutFailed``."""
    lock = lock_stage(target)
    for session in sorted(sessions, key=lambda session: session.host.name):
        gather(lock.send(session), "Nothing was changed.")


def begin(target: Target, sessions: Sequence[HostSession]) -> None:
    """Take the locks, and see that the live releases are live still; raises ``RolloutFailed``."""
    lock_hosts(target, sessions)
    stage = begin_stage(target, {session.host: session.facts["live"] for session in sessions})
    gather([future for session in sessions for future in stage.send(session)], "Nothing was changed.")


def warn(clock: Clock, message: str, remedy: str = "") -> None:
    """Tell of something that stops nothing."""
    clock.report(Event("warning", fields={"message": message, "remedy": remedy}))


def names_of(hosts: Sequence[Host]) -> tuple[str, ...]:
    """As the user wrote them."""
    return tuple(host.name for host in hosts)


def finish(target: Target, clock: Clock, outcome: Outcome) -> Outcome:
    """Report the end; the outcome with its time and what was left out."""
    left_out = names_of(target.left_out)
    if left_out and outcome.outcome not in ("declined", "restored"):
        remedy = (
            f"See what they serve: manage.py deploy_status {target.name}. The next deploy brings them along."
        )
        warn(clock, f"Not a part of this, and unchanged: {', '.join(left_out)}.", remedy)
    seconds = clock.finish(outcome.outcome, release=outcome.release, url=target.url, left_out=left_out)
    return replace(outcome, left_out=left_out, seconds=seconds)
