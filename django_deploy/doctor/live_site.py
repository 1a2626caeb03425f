"""What is live on a host: the release, its database, its processes, and whether it answers."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from shlex import quote

from django_deploy.doctor.finding import Finding, error, not_checked, ok, warning
from django_deploy.doctor.machine import unexamined
from django_deploy.doctor.subject import Subject
from django_deploy.exceptions import DeployError, RequestFailed
from django_deploy.host.transaction_journal import CONFIRM

#: The states in which a process serves, or soon will.
UP = frozenset({"running", "starting"})

#: A process that was started again so often, and not long ago, does not stay up.
RESTARTS, RECENTLY = 3, 600.0


def check_release(subject: Subject) -> Finding:
    """Something is live, whole, and nobody is at work on it."""
    facts, target = subject.facts, subject.target.name
    if facts["lock"]:
        by = facts["lock"].get("by", "somebody")
        return warning("release", f"{by} is deploying now", "Look again when that has finished.")
    if facts["unfinished"]:
        if facts["transaction"]["phase"] == CONFIRM:
            message = f"{subject.live} is live, but its deployment was interrupted at the very end"
            return warning("release", message, f"The next one clears what is left: manage.py deploy {target}")
        message = f"a deployment of {facts['transaction']['release']} was interrupted"
        return error("release", message, f"The next one fixes it: manage.py deploy {target}")
    if subject.live is None:
        return warning("release", "nothing is live yet", f"manage.py deploy {target}")
    if not facts["linked"]:
        message = f"{subject.target.root}: current, or a socket in run, is not a link that django-deploy made"
        return error("release", message, f"The next deployment fixes it: manage.py deploy {target}")
    if facts["deferred"]:
        message = f"{subject.live} is live, and migrations wait: {', '.join(facts['deferred'])}"
        return warning("release", message, f"manage.py deploy {target}")
    return ok("release", f"{subject.live} is live")


def check_environment(subject: Subject) -> Finding:
    """The variables that the next release would get, and those of the live one; never a value."""
    found = subject.environment
    if isinstance(found, DeployError):
        return error("environment", found.message, found.remedy)
    numbers = f"{len(found['settings'])} by the settings, {len(found['host'])} set on the host"
    return ok("environment", numbers)


def check_database(subject: Subject) -> Finding:
    """From the site's own environment, by the driver and settings of the live release."""
    if subject.live is None:
        return unexamined("database")
    if isinstance(subject.databases, DeployError):
        return _unasked(subject.databases)
    found = subject.databases["databases"]
    if not found:
        return ok("database", "the site has none")
    bad = {alias: entry for alias, entry in found.items() if "error" in entry}
    if not bad:
        if open_files := [entry["open_file"] for entry in found.values() if "open_file" in entry]:
            remedy = f"On the host, as its owner: chmod o= {quote(open_files[0])}*"
            return warning("database", f"{open_files[0]} can be read by every user of the host", remedy)
        return ok("database", "; ".join(f"{entry['place']} answers" for entry in found.values()))
    message = "; ".join(f"{entry['place']}: {_last_line(entry['error'])}" for entry in bad.values())
    return error("database", message, _database_remedy(next(iter(bad.values()))))


def _database_remedy(entry: Mapping[str, str]) -> str:
    if entry["error"].endswith("has no tables"):
        return "Is it the right one? The settings and ENV say which; migrate makes the tables, empty ones."
    if entry["error"].endswith("cannot be written"):
        return "SQLite writes to the file and next to it: both must belong to the user that the site runs as."
    if entry["vendor"] == "sqlite":
        return "Where did the file go? migrate makes a new one, and an empty one."
    return "Does the server run, and do name, port, user and password in the settings and ENV still hold?"


def _unasked(failure: DeployError) -> Finding:
    text = failure.message
    lines = failure.lines if isinstance(failure, RequestFailed) else ()
    if "A request does one of" in text:
        return not_checked("database", "the live release's django-deploy cannot tell", "Deploy.")
    if isinstance(failure, RequestFailed) and failure.type == "Timeout":
        remedy = "A firewall that drops packets? Set a connect_timeout in the database's OPTIONS."
        return error("database", f"asking it {text}", remedy)
    reason = next((line.strip() for line in reversed(lines) if line.strip()), text)
    remedy = "The live release does not start: see what manage.py check says there."
    return error("database", f"the live release could not be asked: {reason}", remedy)


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), text)


def check_processes(subject: Subject) -> Finding:
    """Every process of the live release is up and stays so."""
    if subject.live is None:
        return unexamined("processes")
    if not subject.processes:
        return not_checked("processes", "the target has no PROCESSES: others run them")
    states = {
        state["name"]: state for state in subject.facts["processes"] if state["release"] == subject.live
    }
    logs = f"manage.py deploy_logs {subject.target.name}"
    down = {
        process["name"]: states.get(process["name"], {}).get("state", "unknown")
        for process in subject.processes
        if states.get(process["name"], {}).get("state") not in UP
    }
    if down:
        message = ", ".join(f"{name} is {state}" for name, state in down.items())
        first = next(iter(down))
        return error("processes", message, f"Read why: {logs} {first}. Then: {_restart(subject)}")
    shaky = [
        f"{name} was started again {state['restarts']} times"
        for name, state in states.items()
        if state.get("restarts", 0) >= RESTARTS and time.time() - state["since"] < RECENTLY
    ]
    if shaky:
        return warning("processes", ", ".join(shaky), f"Read why: {logs}")
    return ok("processes", f"{', '.join(process['name'] for process in subject.processes)}: running")


def _restart(subject: Subject) -> str:
    return f"manage.py deploy_restart {subject.target.name}"


def check_sockets(subject: Subject) -> Finding:
    """What the web server connects to leads to the live release, and that answers the health check."""
    if subject.live is None:
        return unexamined("sockets")
    sockets = subject.examination["sockets"]
    if not sockets:
        return not_checked("sockets", "no process has a {socket}")
    for socket in sockets:
        if not socket["leads_to"]:
            return error("sockets", f"{socket['link']} is not there", _restart(subject))
        if socket["leads_to"] != socket["own"] and not socket["is_in_maintenance"]:
            message = f"{socket['link']} leads to {socket['leads_to']}, which is not of the live release"
            return error("sockets", message, _restart(subject))
        if failure := socket["failure"]:
            lines = "".join(f"\n| {line}" for line in failure["lines"][-5:])
            remedy = f"manage.py deploy_logs {subject.target.name} {socket['process']}"
            return error("sockets", f"{failure['message']}{lines}", remedy)
    if any(socket["is_in_maintenance"] for socket in sockets):
        remedy = f"manage.py deploy_maintenance {subject.target.name} off"
        return warning("sockets", "visitors see the maintenance page; behind it the site answers", remedy)
    return ok("sockets", f"{', '.join(_links(subject))}: the site answers")


def _links(subject: Subject) -> Iterator[str]:
    return (socket["link"] for socket in subject.examination["sockets"])
