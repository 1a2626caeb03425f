"""The use case: every check in the order of causes, so that the first that is red is where to begin.

A full disk stops a database, that the processes, those the sockets, and then nginx says 502.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any

from django_deploy.bundle.index.sources import default_index_url, read_sources
from django_deploy.clock import Clock, interruptible
from django_deploy.doctor import domain, front, here, live_site, login, machine, security
from django_deploy.doctor.finding import Finding, error, not_checked
from django_deploy.doctor.subject import Subject
from django_deploy.exceptions import DeployError
from django_deploy.host.protocol import ignore
from django_deploy.plan.releases import find_release
from django_deploy.target import INTERNAL, Host, Target
from django_deploy.transport.fleet import Fleet, result_of
from django_deploy.transport.key_survey import survey_keys
from django_deploy.transport.session import HostSession, Reply
from django_deploy.transport.ssh import Prompts, no_prompts

#: Of a host that answers. What comes first explains what comes later.
HOST_CHECKS: tuple[Callable[[Subject], Finding], ...] = (
    machine.check_clock,
    machine.check_disk,
    machine.check_folders,
    machine.check_python,
    machine.check_lingering,
    live_site.check_release,
    live_site.check_environment,
    live_site.check_database,
    live_site.check_processes,
    live_site.check_sockets,
    front.check_permissions,
    front.check_web_server,
    machine.check_index,
)

#: Where a finding belongs that is of no host.
HERE, OUTSIDE = "here", "outside"


def diagnose(
    target: Target, *, domain_name: str = "", prompts: Prompts = no_prompts
) -> Generator[tuple[str, Finding], None, None]:
    """Each finding with its place: ``HERE``, the name of a host, or ``OUTSIDE``; changes nothing.

    ``domain_name`` takes the place of the target's DOMAIN.
    """
    asking = _NeverTrusting(prompts)
    with interruptible(Clock(ignore)), Fleet(target, report=ignore, prompts=asking) as fleet:
        yield HERE, here.check_index(target)
        questions = [(host, _Questions(target, found)) for host, found in fleet.outcomes()]
        for host, question in questions:
            yield from ((host.name, finding) for finding in _check_host(host, target, question))
    name = domain_name or target.domain or ""
    yield OUTSIDE, domain.check_name(name, _addresses(target) if name else ())
    yield OUTSIDE, domain.check_certificate(name, is_internal=target.tls == INTERNAL)
    yield OUTSIDE, domain.check_answer(name, _path(target))
    yield OUTSIDE, _check_security(target, questions)


class _NeverTrusting:
    """Asks for passphrases; an unknown host key is a finding, and nothing to say yes to."""

    def __init__(self, prompts: Prompts) -> None:
        self._prompts = prompts

    def accept_host_key(self, host: str, key_type: str, fingerprint: str) -> bool:
        return False

    def passphrase(self, path: Path) -> str | None:
        return self._prompts.passphrase(path)

    def password(self, login: str) -> str | None:
        return self._prompts.password(login)


class _Questions:
    """What one host was asked, all at once; the answers come while others are shown."""

    def __init__(self, target: Target, found: HostSession | DeployError) -> None:
        self.failure = found if isinstance(found, DeployError) else None
        self.facts: Mapping[str, Any] = {} if isinstance(found, DeployError) else found.facts
        self._clock_offset = 0.0
        if not isinstance(found, DeployError):
            # First, as the health check of the site may make a database that is missing.
            self._databases = found.request("reach_databases")
            self._environment = found.request("environment")
            index = None if target.vendor else target.index_url or ""
            self._examination = found.request(
                "examine",
                index_url=index,
                default_index=default_index_url(),
                distribution=here.DISTRIBUTION,
                web=target.web,
            )
            self._examination.add_done_callback(self._compare_clocks)

    def _compare_clocks(self, answered: Future[Reply]) -> None:
        """The host looked at its clock last, and we look now: the way between is what it may be off."""
        now = time.time()
        with suppress(DeployError):
            self._clock_offset = answered.result()["time"] - now

    def subject(self, host: Host, target: Target) -> Subject:
        """Waits for the answers; raises ``DeployError`` where the examination failed."""
        examination, databases = self._examination.result(), result_of(self._databases)
        environment = result_of(self._environment)
        return Subject(host, target, self.facts, examination, self._clock_offset, databases, environment)


def _check_host(host: Host, target: Target, questions: _Questions) -> Iterator[Finding]:
    if not host.is_local:
        yield login.check_keys(host)
        yield from login.check_connection(host, questions.failure)
    elif questions.failure is not None:
        yield error("connection", questions.failure.message, questions.failure.remedy)
    if questions.failure is not None:
        return
    try:
        subject = questions.subject(host, target.for_host(host))
    except DeployError as failure:
        yield error("connection", failure.message, failure.remedy)
        return
    for check in HOST_CHECKS:
        yield check(subject)


def _check_security(target: Target, questions: list[tuple[Host, _Questions]]) -> Finding:
    if not any(asked.facts for _, asked in questions):
        return not_checked("security releases", "no host says what is live")
    return security.check_security(_live_versions(target, questions), read_sources(target.index_url))


def _path(target: Target) -> str:
    """What the health check asks, where it asks the site itself."""
    path = target.health_check.path if target.health_check else "/"
    return path if path.startswith("/") else "/"


def _addresses(target: Target) -> set[str]:
    """Those of the hosts, as far as their names say; this machine may have any."""
    found: set[str] = set()
    for host in target.hosts:
        with suppress(OSError, DeployError):
            found.update(() if host.is_local else domain.resolve(survey_keys(host).address))
    return found


def _live_versions(target: Target, questions: list[tuple[Host, _Questions]]) -> dict[str, str] | None:
    """What the newest live release has from indexes; the project's own wheels are no affair of theirs.

    With VENDOR all are wheels from here, and of those Django is nobody's own. None where nothing is live.
    """
    found = [asked.facts for _, asked in questions if asked.facts and asked.facts["current"]]
    newest = max(found, key=lambda facts: str(facts["current"]), default=None)
    if newest is None:
        return None
    release = find_release(newest, newest["current"])
    wheels = [wheel["name"] for wheel in release.get("wheels") or ()]
    own = {name.partition("-")[0].replace("_", "-").lower() for name in wheels}
    is_ours = (lambda name: name != here.DISTRIBUTION) if target.vendor else own.__contains__
    distributions = release.get("distributions") or {}
    return {name: version for name, version in distributions.items() if not is_ours(name)}
