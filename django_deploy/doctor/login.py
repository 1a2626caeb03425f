"""Keys and agent here, and the way to a host."""

from __future__ import annotations

from collections.abc import Iterator

from django_deploy.doctor.finding import Finding, error, ok, warning
from django_deploy.exceptions import (
    AuthenticationFailed,
    ConnectionFailed,
    DeployError,
    HostKeyError,
    HostUnreachable,
)
from django_deploy.target import Host
from django_deploy.transport.key_survey import survey_keys

NO_KEYS = "Name a key in KEY_FILE or ssh_config (IdentityFile), or give one to your agent: ssh-add"


def check_keys(host: Host) -> Finding:
    """Something to log in with, before the host is asked."""
    try:
        survey = survey_keys(host)
    except ConnectionFailed as failure:
        return error("keys", failure.message, failure.remedy)
    if not survey.offers:
        agent = f", and the agent at {survey.agent} is of no use: {survey.agent_error}"
        return error("keys", f"there is no key to log in with{agent if survey.agent_error else ''}", NO_KEYS)
    if survey.agent_error:
        remedy = "Does it still run? Start a new one, or unset SSH_AUTH_SOCK."
        return warning("keys", f"the agent at {survey.agent} is of no use: {survey.agent_error}", remedy)
    return ok("keys", ", ".join(survey.offers))


def check_connection(host: Host, failure: DeployError | None) -> Iterator[Finding]:
    """How far we came: to its address, to its key, into it, to its Python."""
    steps: dict[type[DeployError], tuple[str, str]] = {
        HostUnreachable: ("connection", f"{host.address} answers"),
        HostKeyError: ("host key", "known"),
        AuthenticationFailed: ("login", f"{host.user} may log in" if host.user else "accepted"),
    }
    if failure is not None and type(failure) not in steps:
        yield error("connection", failure.message, failure.remedy)
        return
    for kind, (check, message) in steps.items():
        if failure is not None and type(failure) is kind:
            yield error(check, failure.message, failure.remedy)
            return
        yield ok(check, message)
