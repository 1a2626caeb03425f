"""Takes stages to all hosts, and everything back when one fails or the user presses Ctrl-C."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from .clock import Clock, too_late
from .exceptions import (
    ConnectionLost,
    DeployError,
    HostError,
    Interrupted,
    RequestFailed,
    RolloutFailed,
)
from .host.protocol import SILENCE, Event, ignore
from .stages import Stage, begin_stages
from .target import Host, Target
from .transport.fleet import Courier, Fleet, gather
from .transport.session import HostSession, Reply, open_session
from .transport.ssh import no_prompts

#: Seconds in which a host that we lost is asked, over a new connection, what became of it.
ASK_AGAIN_TIMEOUT = SILENCE + 10.0


@dataclass
class Rollout:
    """Runs stages over the hosts, and undoes them everywhere when one fails."""

    target: Target
    fleet: Fleet
    clock: Clock
    release: str
    live: Mapping[Host, str | None]
    replies: dict[Host, list[Reply]] = field(default_factory=dict)
    sent: list[Future[list[Future[Reply]]]] = field(default_factory=list)
    stage: str = ""

    def checked(self) -> tuple[str, ...]:
        """The addresses that answered the health check, host by host."""
        return tuple(
            f"{host.name}:{address}" if not host.is_local else str(address)
            for host, replies in self.replies.items()
            for reply in replies
            for address in reply.get("checked", ())
        )

    def deferring(self) -> list[Host]:
        """The hosts on which migrations wait for confirm."""
        return [host for host, found in self.replies.items() if any(reply.get("deferred") for reply in found)]

    def run(self, stages: Sequence[Stage]) -> None:
        try:
            if len(self.target.hosts) == 1:
                self._run_pipelined(stages)
            else:
                self._run_with_barriers(stages)
        except RolloutFailed as failure:
            with _leaving_at_once("Interrupted while the hosts were reverting"):
                self._revert(failure.errors)
        except KeyboardInterrupt:
            with _leaving_at_once("Interrupted twice"):
                raise self._interrupt() from None
        self.clock.interrupted = too_late(self.release)

    def finish(self, stages: Sequence[Stage]) -> None:
        """What follows confirm: a failure is told, and takes nothing back."""
        try:
            self._run_with_barriers(stages)
        except RolloutFailed as failure:
            for error in failure.errors:
                self._tell_unfinished(*_why_unfinished(error))
        except KeyboardInterrupt:
            self._tell_unfinished("Interrupted.")

    def _tell_unfinished(self, why: str, remedy: str = "") -> None:
        message = f"{self.release} is live, but its last migrations were not applied: {why}"
        remedy = remedy or f"Fix it, and run this again: manage.py deploy {self.target.name}."
        self.clock.report(Event("warning", fields={"message": message, "remedy": remedy}))

    def _run_pipelined(self, stages: Sequence[Stage]) -> None:
        """All is sent ahead, up to a stage whose replies have to be looked at."""
        courier, rest = self.fleet.couriers[0], [s for s in stages if self.fleet.couriers[0].host in s.hosts]
        while rest:
            end = next((number for number, stage in enumerate(rest, 1) if stage.then), len(rest))
            sent = [(stage, self._submit(courier, stage)) for stage in rest[:end]]
            for stage, future in sent:
                with self._entering(stage):
                    self._collect(stage, [courier], [future])
            rest = rest[end:]

    def _run_with_barriers(self, stages: Sequence[Stage]) -> None:
        for stage in stages:
            with self._entering(stage):
                couriers = [courier for courier in self.fleet.couriers if courier.host in stage.hosts]
                if stage.name == "confirm":
                    self._require_links()
                for group in _in_turn(couriers) if stage.is_in_turn else [couriers]:
                    self._collect(stage, group, [self._submit(courier, stage) for courier in group])

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
        future = courier.submit(lambda: stage.send(courier.session.result()))
        self.sent.append(future)
        return future

    def _collect(
        self, stage: Stage, couriers: Sequence[Courier], sent: Sequence[Future[list[Future[Reply]]]]
    ) -> None:
        """Wait for every host's replies, so that all errors are known and not only the first."""
        errors: list[DeployError] = []
        found: dict[Host, list[Reply]] = {}
        for courier, future in zip(couriers, sent, strict=True):
            try:
                found[courier.host] = gather(future.result(), "")
                self.replies.setdefault(courier.host, []).extend(found[courier.host])
            except RolloutFailed as failure:
                errors += _causes(failure.errors)
        if errors:
            raise RolloutFailed("", errors=errors)
        if stage.then is not None:
            stage.then(found)

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
            raise RolloutFailed(self._what_is_so(), errors=errors, phase=self.stage)
        where = ", ".join(f"{host} ({fates[host]})" for host in unreverted)
        raise RolloutFailed(
            f"Not reverted, as far as can be seen: {where}.",
            errors=errors,
            unreverted=unreverted,
            phase=self.stage,
            remedy=f"Look with: manage.py deploy_status {self.target.name}."
            " Then deploy again: that first fixes what this deployment left.",
        )

    def _interrupt(self) -> Interrupted:
        self.clock.report(Event("interrupted"))
        with self.clock.phase("revert"):
            fates = self._undo_everywhere([])
        if all(fate == "live" for fate in fates.values()):
            return too_late(self.release)
        unreverted = [f"{host} ({fate})" for host, fate in fates.items() if fate != "reverted"]
        if unreverted:
            remedy = f"Look with: manage.py deploy_status {self.target.name}."
            return Interrupted(f"Interrupted; not reverted: {', '.join(unreverted)}.", remedy=remedy)
        return Interrupted(f"Interrupted. {self._what_is_so()}")

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
        session.wait_for_end()  # a step may take its time; a host that is silent is given up
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
                session = open_session(host, self.target, report=ignore, prompts=no_prompts, retry_for=0.0)
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
            for stage in begin_stages(self.target, self.live):
                gather(stage.send(session), "")

    def _what_is_so(self) -> str:
        """What is served, and which migrations stay, or were taken back in vain: with what that has lost."""
        applied, undone, torn = (self._migrations(kind) for kind in ("applied", "unapplied", "torn"))
        sentences = [self._what_is_served(is_all_as_before=not (applied or undone or torn))]
        if applied:
            sentences.append(f"These migrations were applied and stay: {', '.join(applied)}.")
        if undone:
            sentences.append(
                f"These were reversed and applied again: {', '.join(undone)};"
                " data that only they had room for, as in columns that they add, is lost."
            )
        return " ".join(sentences)

    def _what_is_served(self, *, is_all_as_before: bool = True) -> str:
        lives = {self.live[host] for host in self.target.hosts}
        if lives == {None}:
            if self.stage == "lock":
                return "Nothing is live there yet, and this deployment has changed nothing."
            return "Nothing is live: this was the first deployment, and it was undone."
        names = ", ".join(sorted(live for live in lives if live))
        served = f"{self._where()} {names}, as before."
        return f"Nothing changed: {served}" if is_all_as_before else f"{served[0].upper()}{served[1:]}"

    def _where(self) -> str:
        hosts = [host.name for host in self.target.hosts]
        if len(hosts) < len(self.live):  # the others had the release already
            return f"{', '.join(hosts)} {'serve' if len(hosts) > 1 else 'serves'}"
        return "every host serves" if len(hosts) > 1 else "the host serves"

    def _migrations(self, kind: str) -> list[str]:
        """The names of those that were ``applied`` or ``unapplied``, or of which a part stays: ``torn``.

        Also by answers for which nobody has waited any more, as of a step that was not stopped half-way.
        """
        replies = [reply for sent in self.sent if _has_succeeded(sent) for reply in sent.result()]
        results = [reply.result().get("result", {}) for reply in replies if _has_succeeded(reply)]
        errors = [reply.exception() for reply in replies if reply.done()]
        results += [error.details for error in errors if isinstance(error, RequestFailed)]
        return list(dict.fromkeys(str(name) for result in results for name in result.get(kind, ())))


def _why_unfinished(error: DeployError) -> tuple[str, str]:
    """And its remedy, where it is not the usual one: ahead of all else, what of it stays in part."""
    torn: Any = error.details.get("torn") if isinstance(error, RequestFailed) else ()
    if not isinstance(error, HostError) or not torn:
        return str(error), ""
    return f"{', '.join(torn)} may be partly applied: {error.host}: {error.message}", error.remedy


def _has_succeeded(future: Future[Any]) -> bool:
    return future.done() and future.exception() is None


@contextmanager
def _leaving_at_once(what: str) -> Iterator[None]:
    """Ctrl-C while hosts revert: they go on without us."""
    try:
        yield
    except KeyboardInterrupt:
        when = "within 20 s, or as soon as its running step has ended"
        raise Interrupted(f"{what}: left at once. Every host reverts by itself {when}.") from None


def _in_turn(couriers: Sequence[Courier]) -> list[list[Courier]]:
    return [[courier] for courier in sorted(couriers, key=lambda courier: courier.host.name)]


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
    fields = {"message": error.message, "remedy": error.remedy, "lines": lines, "id": error.id}
    return Event("host.failed", host, fields=fields)
