"""How a plan is shown: lines for people, a dict for programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from django_deploy.bundle.fitting import HostBundle
from django_deploy.bundle.manifest import Pin
from django_deploy.bundle.wheels.revision import Commits
from django_deploy.target import Process, Step, Target
from django_deploy.wording import first_of, size_text

from .comparison import comparison_lines, host_names

if TYPE_CHECKING:
    from .estimate import Estimate
    from .model import HostPlan, Plan

#: How many changes of a host's distributions are listed for people.
CHANGES_SHOWN = 60


def as_dict(plan: Plan) -> dict[str, Any]:
    """The ``plan`` of the event ``plan.ready`` (docs/reference/events.rst)."""
    return {
        "target": plan.target.name,
        "release": plan.release,
        "empty": plan.is_empty,
        "project": plan.manifest.project,
        "version": plan.manifest.version,
        "revision": str(plan.manifest.revision or ""),
        "origin": plan.manifest.origin,
        "distributions": len(plan.manifest.distributions),
        "contents": plan.manifest.contents.as_dict() if plan.manifest.contents else None,
        "steps": [
            {"command": step.name, "on": step.on, "roles": list(step.roles)} for step in plan.target.steps
        ],
        "backup": plan.target.backup,
        "processes": [process.name for process in plan.target.processes],
        "commits": None if plan.commits is None else asdict(plan.commits),
        "estimate": None if plan.estimate is None else asdict(plan.estimate),
        "hosts": [_host_dict(host) for host in plan.hosts],
        "warnings": list(plan.warnings),
        "refusals": [str(error) for error in plan.refusals],
    }


def _host_dict(host: HostPlan) -> dict[str, Any]:
    return {
        "host": host.host.name,
        "live": host.live,
        "current": host.is_current,
        "deferred": list(host.deferred),
        "installed": host.is_installed,
        "installer": host.installer,
        "manager": host.manager,
        "bytes": host.bytes_to_send,
        "room": {"bytes": host.room.bytes, "inodes": host.room.inodes},
        "send": [wheel.path.name for wheel in host.send],
        "deltas": [wheel.path.name for wheel in host.send if wheel.sha256 in host.deltas],
        "changes": [{"name": c.name, "before": c.before, "after": c.after} for c in host.changes],
        "processes": list(host.processes),
        "rehearsal": host.rehearsal,
        "added": {pin.name: pin.version for pin in host.bundle.added},
        "left_out": list(host.bundle.left_out),
        "idle": list(host.bundle.idle),
    }


def lines_of(plan: Plan) -> list[str]:
    """For people, who have been told the warnings before."""
    manifest = plan.manifest
    revision = f", {manifest.revision}" if manifest.revision else ""
    lines = [f"{manifest.project} {manifest.version}{revision}: {len(manifest.distributions)} distributions"]
    if manifest.origin:
        lines.append(f"  {manifest.origin}")
    if manifest.contents is not None:
        lines.append(f"  {manifest.project} is no package: {manifest.contents}")
    if plan.is_empty and not plan.deferring:
        return [*lines, f"Nothing would change: {plan.hosts[0].live} is live on every host."]
    lines += _commit_lines(plan.commits)
    lines.append(f"Release {plan.release} on {plan.target.name}:")
    for names, (first, *others) in _alike(plan.hosts):
        several = [f"  {host_names(names)}:", f"    {first}"]
        lines += [f"  {names[0]}: {first}"] if len(names) == 1 else several
        lines += others
    if plan.installing:
        lines.append(f"  steps: {', '.join(map(_step_line, plan.target.steps)) or 'none'}")
        lines += _backup_lines(plan.target)
    if plan.target.processes:
        lines.append(f"  processes: {', '.join(map(_counted, plan.target.processes))}")
    if plan.estimate is not None:
        lines.append(_time_line(plan.estimate))
    if plan.target.restart:
        lines.append(f"  restart: {', '.join(' '.join(command) for command in plan.target.restart)}")
    return lines


def _alike(hosts: Sequence[HostPlan]) -> Iterator[tuple[Sequence[str], Sequence[str]]]:
    """The names of hosts on which the same would happen, and what that is."""
    names: dict[tuple[str, ...], list[str]] = {}
    for host in hosts:
        names.setdefault(tuple(_host_lines(host)), []).append(host.host.name)
    return ((alike, lines) for lines, alike in names.items())


def _host_lines(host: HostPlan) -> list[str]:
    if host.is_current and host.deferred:
        return [f"serves it already; still to be migrated: {', '.join(host.deferred)}"]
    if host.is_current:
        return ["serves it already"]
    if host.is_installed:
        return [f"{host.live or 'nothing'}, has it from before: it is made live again"]
    size = f"{size_text(host.bytes_to_send)} to send" if host.bytes_to_send else "nothing to send"
    if host.deltas:
        size += f" instead of {size_text(sum(wheel.size for wheel in host.send))}"
    room = f", {size_text(host.room.bytes)} on disk" if host.room.bytes else ""
    lines = [f"{host.live or 'first release'}, {size}{room}, installed with {host.installer}"]
    lines += _interpreter_lines(host.bundle)
    if host.live is not None:
        lines += _difference_lines(host)
    return (
        lines
        if host.rehearsal is None
        else [*lines, *(f"    {line}" for line in comparison_lines(host.rehearsal))]
    )


def _difference_lines(host: HostPlan) -> Iterator[str]:
    """What is another than in the release that is live."""
    if not host.changes and not host.processes and host.rehearsal is None:
        yield "    ~ settings of the target, such as ENV, STEPS or HEALTH_CHECK"
    yield from first_of([str(change) for change in host.changes], CHANGES_SHOWN, "    ")
    yield from (f"    {change}" for change in host.processes)


def _interpreter_lines(bundle: HostBundle) -> list[str]:
    """What the host's interpreter makes different from the environment here."""
    needed_by = {name: requirer for requirer, name in reversed(bundle.missing)}
    lines = [f"    added for its Python: {_added(pin, needed_by)}" for pin in bundle.added]
    if bundle.built_there:
        lines.append(f"    built there, from its sdist: {', '.join(bundle.built_there)}")
    if bundle.left_out:
        lines.append(f"    left out, as its Python cannot run it: {', '.join(bundle.left_out)}")
    if bundle.idle:
        lines.append(f"    not needed with its Python: {', '.join(bundle.idle)}")
    return lines


def _added(pin: Pin, needed_by: Mapping[str, str]) -> str:
    requirer = needed_by.get(pin.name)
    return f"{pin.name} {pin.version}, which {requirer} needs" if requirer else f"{pin.name} {pin.version}"


def _commit_lines(commits: Commits | None) -> list[str]:
    if commits is None:
        return []
    lines = [f"  commits since the live release: {len(commits.new)}"] if commits.new else []
    lines += first_of([str(commit) for commit in commits.new], CHANGES_SHOWN, "    ")
    if commits.lost:
        lines.append(f"  commits of the live release that are not in it: {commits.lost}")
    return lines


def _time_line(found: Estimate) -> str:
    """To a second: it is a median of few, and no promise."""
    minutes, seconds = divmod(max(round(found.seconds), 1), 60)
    time = f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
    past = f"the last {found.deployments} deployments" if found.deployments > 1 else "the last deployment"
    return f"  time: about {time} once all is sent, by {past}"


def _step_line(step: Step) -> str:
    if step.roles:
        return f"{step.name} (on {'the first of ' if step.on == 'once' else ''}{_roles(step)})"
    return f"{step.name}{' (on the first host)' if step.on == 'once' else ''}"


def _backup_lines(target: Target) -> list[str]:
    if not target.backup or not any(step.is_migration for step in target.steps):
        return []
    when = {"contract": " removes something, or has an unknown effect"}.get(str(target.backup), " is pending")
    return [
        f"  backup: of each database for which a migration{when}, ahead of it; {target.keep_backups} are kept"
    ]


def _counted(process: Process) -> str:
    name = f"{process.name} ({process.instances})" if process.instances > 1 else process.name
    return f"{name} on {_roles(process)}" if process.roles else name


def _roles(what: Process | Step) -> str:
    return " and ".join(what.roles)
