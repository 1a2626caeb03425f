"""What a deployment would change: computed before it changes anything, printed, compared, executed."""

from __future__ import annotations

import calendar
import hashlib
import json
import shlex
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import quote

from .bundle.delta import Delta
from .bundle.fitting import HostBundle
from .bundle.manifest import Manifest, Pin, Wheel, size_text
from .bundle.room import NO_ROOM, Room
from .bundle.tools import HostPlatform, Tool, fits
from .bundle.wheels.revision import Commits
from .exceptions import DeployError, HostError, RolloutFailed
from .target import Host, Process, Step, Target

#: What a deployment leaves free on a host, for what steps and the site write.
RESERVED_BYTES = 50_000_000
RESERVED_INODES = 1000

#: How many changes of a host's distributions are listed for people.
CHANGES_SHOWN = 60

#: What to do about code that was compiled here and does not run there.
COMPILED_REMEDY = (
    "Deploy from a machine like the host: compiled code is built where you deploy from. "
    "Or set BUILD_ON_HOST, where the host has a compiler."
)

#: The states in which a live release's process needs no help.
UP = ("running", "starting")

#: Static files of a kind that are named.
STATIC_SHOWN = 5

#: The states in which a release that a host has is of no use: it is made once more.
REPLACED = ("failed", "preparing")


@dataclass(frozen=True)
class Change:
    """One distribution that differs: ``before`` or ``after`` is None when it is added or removed."""

    name: str
    before: str | None
    after: str | None

    def __str__(self) -> str:
        if self.before is None:
            return f"+ {self.name} {self.after}"
        if self.after is None:
            return f"- {self.name} {self.before}"
        if self.before == self.after:
            return f"~ {self.name} {self.after} (other content)"
        return f"~ {self.name} {self.before} -> {self.after}"


@dataclass(frozen=True)
class HostPlan:
    """What would happen on one host. ``send`` are wheels and tools that its store lacks.

    Nothing happens where the release ``is_current``, unless migrations of it are ``deferred`` still; one that
    ``is_installed`` is only made live.

    Those whose sha256 is in ``deltas`` are sent as their difference to what it has. ``room`` is what it
    takes of the host's disk. ``processes`` are those that differ from the live release's, ``rehearsal``
    is what the host itself found to change (``host/rehearsal.py``), None where it was not asked.
    """

    host: Host
    bundle: HostBundle
    fingerprint: str
    live: str | None
    is_current: bool
    installer: str
    manager: str
    tools: Mapping[str, Wheel]
    send: tuple[Wheel, ...]
    changes: tuple[Change, ...]
    same_pins: bool
    deltas: Mapping[str, Delta] = field(default_factory=dict)
    is_installed: bool = False
    deferred: tuple[str, ...] = ()
    room: Room = NO_ROOM
    processes: tuple[str, ...] = ()
    rehearsal: Mapping[str, Any] | None = None

    @property
    def needed(self) -> tuple[Wheel, ...]:
        """The wheels and tools that its store must have to make the release."""
        return (*self.bundle.wheels, *self.tools.values())

    @property
    def bytes_to_send(self) -> int:
        return sum(self.deltas.get(wheel.sha256, wheel).size for wheel in self.send)


@dataclass(frozen=True)
class Plan:
    """A release and what it takes on each host; empty when every host runs it already.

    Where some hosts run it, it is theirs, and the others are brought up to it.

    A host whose interpreter needs more, or less, has a ``fingerprint`` of its own; the release is one.
    ``commits`` lie between the live release and this one, where that is known. ``refusals`` are what hosts
    that were asked would refuse it for.
    """

    target: Target
    manifest: Manifest
    release: str
    fingerprint: str
    hosts: tuple[HostPlan, ...]
    warnings: tuple[str, ...] = ()
    commits: Commits | None = None
    refusals: tuple[DeployError, ...] = ()

    @property
    def is_empty(self) -> bool:
        return all(host.is_current for host in self.hosts)

    @property
    def changing(self) -> tuple[Host, ...]:
        """The hosts on which the release becomes live."""
        return tuple(host.host for host in self.hosts if not host.is_current)

    @property
    def installing(self) -> tuple[Host, ...]:
        """Those of them on which it is made first."""
        return tuple(host.host for host in self.hosts if not (host.is_current or host.is_installed))

    @property
    def deferring(self) -> tuple[Host, ...]:
        """The hosts that serve the release, and where migrations wait that were to follow its confirm."""
        return tuple(host.host for host in self.hosts if host.is_current and host.deferred)

    def host(self, name: str) -> HostPlan:
        return next(plan for plan in self.hosts if plan.host.name == name)

    def lock(self, host: HostPlan) -> str:
        """The host's requirements file, with the wheels' places in its store."""
        store = f"file://{quote(str(self.target.root))}/.deploy/store"
        wheels = host.bundle.wheels
        return host.bundle.lock(
            {wheel.sha256: f"{store}/{wheel.sha256}/{quote(wheel.path.name)}" for wheel in wheels}
        )

    def record(self, host: HostPlan) -> dict[str, Any]:
        """``release.json``: all that the host needs to start, check, list and go back to this release."""
        target = self.target
        return {
            "id": self.release,
            **self.manifest.as_dict(),
            "fingerprint": host.fingerprint,
            "distributions": dict(sorted(host.bundle.distributions.items())),
            "wheels": [wheel.as_dict() for wheel in host.bundle.wheels],
            "target": target.name,
            "settings_module": target.settings_module,
            "processes": _processes(target.for_host(host.host)),
            "manager": host.manager,
            "restart": [list(command) for command in target.restart],
            "health": _health(target),
        }

    def as_dict(self) -> dict[str, Any]:
        return {
            "target": self.target.name,
            "release": self.release,
            "empty": self.is_empty,
            "project": self.manifest.project,
            "version": self.manifest.version,
            "revision": str(self.manifest.revision or ""),
            "origin": self.manifest.origin,
            "distributions": len(self.manifest.distributions),
            "contents": self.manifest.contents.as_dict() if self.manifest.contents else None,
            "steps": [
                {"command": step.name, "on": step.on, "roles": list(step.roles)} for step in self.target.steps
            ],
            "backup": self.target.backup,
            "processes": [process.name for process in self.target.processes],
            "commits": None if self.commits is None else asdict(self.commits),
            "hosts": [_host_dict(host) for host in self.hosts],
            "warnings": list(self.warnings),
            "refusals": [str(error) for error in self.refusals],
        }

    def lines(self) -> list[str]:
        """For people, who have been told the warnings before."""
        manifest = self.manifest
        revision = f", {manifest.revision}" if manifest.revision else ""
        lines = [
            f"{manifest.project} {manifest.version}{revision}: {len(manifest.distributions)} distributions"
        ]
        if manifest.origin:
            lines.append(f"  {manifest.origin}")
        if manifest.contents is not None:
            lines.append(f"  {manifest.project} is no package: {manifest.contents}")
        if self.is_empty and not self.deferring:
            return [*lines, f"Nothing would change: {self.hosts[0].live} is live on every host."]
        lines += _commit_lines(self.commits)
        lines.append(f"Release {self.release} on {self.target.name}:")
        for host in self.hosts:
            lines += _host_lines(host)
        if self.installing:
            lines.append(f"  steps: {', '.join(map(_step_line, self.target.steps)) or 'none'}")
            lines += _backup_lines(self.target)
        if self.target.processes:
            lines.append(f"  processes: {', '.join(map(_counted, self.target.processes))}")
        if self.target.restart:
            lines.append(f"  restart: {', '.join(' '.join(command) for command in self.target.restart)}")
        return lines


def platform_of(host: Host, facts: Mapping[str, Any]) -> HostPlatform:
    """The site's interpreter there; raises ``HostError`` when there is none that fits."""
    python = facts["python"]
    if "error" in python:
        remedy = "Install it there, or name another in the target's PYTHON."
        raise HostError(host.name, f"{python['error']}.", remedy=remedy)
    return HostPlatform(
        version=tuple(python["version"]),
        implementation=str(python["implementation"]),
        machine=str(python["machine"]),
        glibc=python["glibc"],
        musl=python["musl"],
        is_free_threaded=bool(python["free_threaded"]),
        system=str(python["system"]),
    )


def tools_needed(target: Target, facts: Mapping[str, Any]) -> tuple[Tool, ...]:
    """The tools that must be in the host's store for this target."""
    needed: list[Tool] = []
    if target.installer == "pip":
        needed.append("pip")
    elif not facts["uv"]:
        needed.append("uv")
    if target.processes and facts["manager"] == "supervisor" and not facts["supervisor"]:
        needed.append("supervisor")
    return tuple(needed)


def make_plan(
    target: Target,
    manifest: Manifest,
    facts: Mapping[Host, Mapping[str, Any]],
    bundles: Mapping[Host, HostBundle],
    tools: Mapping[Host, Mapping[str, Wheel]],
    rooms: Mapping[Host, Room],
    *,
    now: float,
) -> Plan:
    """Compare the bundle with what each host said of itself; pure.

    ``facts`` are the hosts' answers to the hello, ``bundles`` what each installs (``fitting.fit``), ``tools``
    the wheels that ``tools_needed`` asked for, ``rooms`` what the release takes on each host's disk
    (``shipment.measure_room``), ``now`` is in seconds since the epoch.
    Raises ``RolloutFailed`` with every host that is unfit.
    """
    prints = {host: fingerprint(target.for_host(host), bundles[host]) for host in target.hosts}
    problems = [
        problem for host in target.hosts for problem in _problems(host, manifest, bundles[host], facts[host])
    ]
    print_ = fingerprint(target, manifest)
    release = _release_to_join(prints, facts) or new_release_id(print_, facts.values(), now)
    codes = {code_of(facts[host], release) for host in target.hosts if facts[host]["live"] == release}
    hosts = [
        _plan_host(
            *(host, bundles[host], facts[host], tools[host], rooms[host], release, prints[host], codes),
            _processes(target.for_host(host)),
        )
        for host in target.hosts
    ]
    problems += [problem for host in hosts for problem in _lacks_room(target, host, facts[host.host])]
    if problems:
        raise RolloutFailed("Nothing was changed.", errors=problems)
    warnings = [
        *manifest.warnings,
        *(w for host in target.hosts for w in _warnings(host, manifest, facts[host])),
        *_idle(target),
    ]
    return Plan(target, manifest, release, print_, tuple(hosts), tuple(warnings))


def fingerprint(target: Target, bundle: Manifest | HostBundle) -> str:
    """The sha256 of everything that makes a release what it is: code, pins, environment, processes, steps."""
    ingredients = {
        "pins": sorted((pin.name, pin.version) for pin in bundle.pins),
        "wheels": sorted(wheel.sha256 for wheel in bundle.wheels),
        "python": target.python,
        "settings": target.settings_module,
        "environment": sorted(target.env.items()),
        "processes": _processes(target),
        "manager": target.process_manager,
        "steps": [asdict(step) for step in target.steps],
        "health": _health(target),
        "restart": [list(command) for command in target.restart],
    }
    return hashlib.sha256(json.dumps(ingredients, sort_keys=True).encode()).hexdigest()


def new_release_id(print_: str, facts: Iterable[Mapping[str, Any]], now: float) -> str:
    """Its time, and the start of its fingerprint."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(_after(now, list(facts))))
    return f"{stamp}-{print_[:7]}"


def code_of(facts: Mapping[str, Any], release: str | None) -> str | None:
    """The release that this one is a restart of; by itself it is its own."""
    return find_release(facts, release).get("same_as") or release


def _after(now: float, facts: Sequence[Mapping[str, Any]] | Any) -> float:
    """A time later than that of every release there is: ids sort in the order of deployment."""
    newest = max((release["id"][:16] for fact in facts for release in fact["releases"]), default="")
    if newest and newest >= time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now)):
        return _seconds(newest) + 1
    return now


def _seconds(stamp: str) -> int:
    """Of a release id's time, which may name a day that its month does not have."""
    return calendar.timegm((*(int(stamp[slice(*part)]) for part in _TIME_PARTS), 0, 0, 0))


#: Where year, month, day, hour, minute and second stand in a release id.
_TIME_PARTS = ((0, 4), (4, 6), (6, 8), (9, 11), (11, 13), (13, 15))


def _release_to_join(prints: Mapping[Host, str], facts: Mapping[Host, Mapping[str, Any]]) -> str | None:
    """The newest release that hosts serve and that is what this plan would make; the others join them.

    None where there is none, or where a host has something else of that name, or it does not run well
    there: then a new release is for all hosts.
    """
    serving = [
        facts[host]["live"]
        for host, print_ in prints.items()
        if find_release(facts[host], facts[host]["live"]).get("fingerprint") == print_
    ]
    newest = max(serving, default=None)
    if newest is None or not all(_can_join(facts[host], newest, print_) for host, print_ in prints.items()):
        return None
    return str(newest)


def _can_join(facts: Mapping[str, Any], release: str, print_: str) -> bool:
    found = find_release(facts, release)
    if facts["live"] == release and not _is_up(facts):
        return False
    return found.get("state", "failed") in REPLACED or found["fingerprint"] == print_


def find_release(facts: Mapping[str, Any], id: str | None) -> Mapping[str, Any]:
    """What a host says of one of its releases; empty where it has none of that id."""
    return next((release for release in facts["releases"] if release["id"] == id), {})


def _plan_host(
    host: Host,
    bundle: HostBundle,
    facts: Mapping[str, Any],
    tools: Mapping[str, Wheel],
    room: Room,
    release: str,
    print_: str,
    codes: Collection[str | None],
    processes: Iterable[Mapping[str, Any]],
) -> HostPlan:
    """``codes``: what the release is a restart of, or is itself, where it is live; ``processes``: its own."""
    live = find_release(facts, facts["live"])
    is_current = code_of(facts, facts["live"]) in codes
    is_installed = not is_current and find_release(facts, release).get("state", "failed") not in REPLACED
    stored = set(facts["store"])
    # An unpacked tool stays in the host's store; both are removed together.
    needed = () if is_current or is_installed else (*bundle.wheels, *tools.values())
    before = dict(live.get("distributions") or {})
    changes = _changes(before, bundle, {wheel["sha256"] for wheel in live.get("wheels") or ()})
    return HostPlan(
        host=host,
        bundle=bundle,
        fingerprint=print_,
        live=facts["live"],
        is_current=is_current,
        is_installed=is_installed,
        installer="pip" if "pip" in tools else "uv",
        manager=facts["manager"],
        tools=tools,
        send=tuple(wheel for wheel in needed if wheel.sha256 not in stored),
        changes=changes,
        deferred=tuple(facts["deferred"]),
        same_pins=all(before.get(pin.name) == pin.version for pin in bundle.pins),
        room=room if needed else NO_ROOM,
        processes=_process_changes(live.get("processes") or (), processes),
    )


def _process_changes(
    before: Iterable[Mapping[str, Any]], after: Iterable[Mapping[str, Any]]
) -> tuple[str, ...]:
    old, new = ({str(process["name"]): process for process in processes} for processes in (before, after))
    signs = {name: "~" if name in old and name in new else "+" if name in new else "-" for name in old | new}
    return tuple(
        f"{sign} process {name}" for name, sign in sorted(signs.items()) if old.get(name) != new.get(name)
    )


def _changes(before: Mapping[str, str], bundle: HostBundle, live_wheels: set[str]) -> tuple[Change, ...]:
    after = bundle.distributions
    rebuilt = {wheel.name for wheel in bundle.wheels if wheel.sha256 not in live_wheels}
    return tuple(
        Change(name, before.get(name), after.get(name))
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name) or (name in rebuilt and name in before)
    )


def _enable_linger(facts: Mapping[str, Any]) -> str:
    return shlex.join(["loginctl", "enable-linger", facts["user"]])


def _is_up(facts: Mapping[str, Any]) -> bool:
    processes = [process for process in facts["processes"] if process["release"] == facts["live"]]
    is_whole = facts["linked"] and not facts["unfinished"]
    return is_whole and all(process["state"] in UP for process in processes)


def _problems(
    host: Host, manifest: Manifest, bundle: HostBundle, facts: Mapping[str, Any]
) -> list[DeployError]:
    try:
        platform = platform_of(host, facts)
    except HostError as error:
        return [error]
    if manifest.only_for not in (None, platform):
        message = f"{platform} is there, and the bundle was live with {manifest.only_for}."
        return [HostError(host.name, message, remedy="What was tested runs on the same interpreter only.")]
    foreign = [wheel.path.name for wheel in bundle.wheels if not fits(wheel, platform)]
    if foreign:
        return [HostError(host.name, f"cannot run {', '.join(foreign)}.", remedy=COMPILED_REMEDY)]
    if bundle.lacking:
        needs = ", ".join(f"{file} (needs glibc {version})" for file, version in bundle.lacking)
        message = f"cannot run {needs}: its glibc is {platform.glibc or 'another C library'}."
        return [HostError(host.name, message, remedy=COMPILED_REMEDY)]
    version = _python_version(facts)
    if bundle.refused:
        distributions = bundle.distributions
        needs = "; ".join(f"{name} {distributions[name]}: {wanted}" for name, wanted in bundle.refused)
        remedy = "Name another interpreter in PYTHON, or install versions here that this one can run."
        return [HostError(host.name, f"Python {version} there is not right for {needs}.", remedy=remedy)]
    if bundle.missing and not bundle.added:
        needs = ", ".join(f"{name} (for {requirer})" for requirer, name in bundle.missing)
        remedy = "Install them here and name them in INCLUDE, or unset STRICT_ENVIRONMENT."
        message = f"Python {version} there needs {needs}, not installed here."
        return [HostError(host.name, message, remedy=remedy)]
    if facts["manager"] == "systemd" and not facts["systemd"]:
        command = _enable_linger(facts)
        remedy = f"On the host, as root: {command}. Or set PROCESS_MANAGER to 'supervisor'."
        return [HostError(host.name, f"no systemd user manager runs for {facts['user']}.", remedy=remedy)]
    if obstacle := facts["obstacle"]:
        return [HostError(host.name, str(obstacle["message"]), remedy=str(obstacle["remedy"]))]
    return []


def _lacks_room(target: Target, plan: HostPlan, facts: Mapping[str, Any]) -> list[DeployError]:
    """Of bytes or inodes, where the host says how many are free. What is made live again takes none."""
    if plan.is_current or plan.is_installed:
        return []
    need, root = plan.room + Room(RESERVED_BYTES, RESERVED_INODES), str(target.root)
    found, bytes, inodes = [], facts["free_bytes"], facts["free_inodes"]
    if bytes is not None and bytes < need.bytes:
        found.append(
            (
                f"{size_text(bytes)} are free under {root}, and this takes up to {size_text(need.bytes)}.",
                "-xhd1",
            )
        )
    if inodes is not None and inodes < need.inodes:
        found.append(
            (f"{inodes} inodes are free under {root}, and this takes up to {need.inodes}.", "-xd1 --inodes")
        )
    return [
        HostError(
            plan.host.name,
            message,
            remedy=f"Make room there. What takes it: du {options} {shlex.quote(root)}."
            " KEEP_RELEASES says how many releases stay.",
        )
        for message, options in found
    ]


def _warnings(host: Host, manifest: Manifest, facts: Mapping[str, Any]) -> list[str]:
    found = []
    version = _python_version(facts)
    if version.split(".")[:2] != manifest.python.split(".")[:2]:
        found.append(f"{host.name} runs Python {version}, this environment {manifest.python}.")
    if facts["manager"] == "systemd" and not facts["lingers"]:
        found.append(
            f"{host.name}: processes end with the last login of {facts['user']};"
            f" on the host, as root: {_enable_linger(facts)}."
        )
    if facts.get("maintenance") is not None:
        found.append(f"{host.name}: the maintenance page is on, and stays on until deploy_maintenance off.")
    down = [p for p in facts["processes"] if p["release"] == facts["live"] and p["state"] not in UP]
    found += [f"{host.name}: process {p['name']!r} of the live release is {p['state']}." for p in down]
    if facts["cleanup_failed"]:
        found.append(f"{host.name}: {facts['cleanup_failed']}")
    return found


def _python_version(facts: Mapping[str, Any]) -> str:
    return ".".join(str(part) for part in facts["python"]["version"])


def _processes(target: Target) -> list[dict[str, Any]]:
    """What each host runs: an entry for each instance, with its number in the command line."""
    return [
        {
            "name": name,
            "command": [word.replace("{instance}", str(number)) for word in process.command],
            "singleton": process.singleton,
            "stop_timeout": process.stop_timeout,
        }
        for process in target.processes
        for number, name in enumerate(process.instance_names(), 1)
    ]


def _counted(process: Process) -> str:
    name = f"{process.name} ({process.instances})" if process.instances > 1 else process.name
    return f"{name} on {_roles(process)}" if process.roles else name


def _roles(what: Process | Step) -> str:
    return " and ".join(what.roles)


def _idle(target: Target) -> list[str]:
    """Where some hosts are left out: what none of the others has the role for."""
    everything: list[Step | Process] = [*target.steps, *target.processes]
    return [
        f"{what.name} runs on none of these hosts: it is for {_roles(what)}."
        for what in everything
        if not any(host.is_for(what.roles) for host in target.hosts)
    ]


def _health(target: Target) -> dict[str, Any] | None:
    check = target.health_check
    if check is None:
        return None
    return {
        "path": check.path,
        "host": check.host,
        "status": check.status,
        "timeout": check.timeout,
        "headers": dict(check.headers),
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


def _host_lines(host: HostPlan) -> list[str]:
    if host.is_current and host.deferred:
        return [f"  {host.host.name}: serves it already; still to be migrated: {', '.join(host.deferred)}"]
    if host.is_current:
        return [f"  {host.host.name}: serves it already"]
    if host.is_installed:
        return [f"  {host.host.name}: {host.live or 'nothing'}, has it from before: it is made live again"]
    size = f"{size_text(host.bytes_to_send)} to send" if host.bytes_to_send else "nothing to send"
    if host.deltas:
        size += f" instead of {size_text(sum(wheel.size for wheel in host.send))}"
    lines = [f"  {host.host.name}: {host.live or 'first release'}, {size}, installed with {host.installer}"]
    lines += _interpreter_lines(host.bundle)
    if host.live is None:
        return lines
    if not host.changes and not host.processes and host.rehearsal is None:
        lines.append("    ~ settings of the target, such as ENV, STEPS or HEALTH_CHECK")
    lines += [f"    {change}" for change in host.changes[:CHANGES_SHOWN]]
    if (more := len(host.changes) - CHANGES_SHOWN) > 0:
        lines.append(f"    and {more} more")
    lines += [f"    {change}" for change in host.processes]
    return lines if host.rehearsal is None else [*lines, *_rehearsal_lines(host.rehearsal)]


def _rehearsal_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """What the host has found to change, beside distributions and processes."""
    variables = found["environment"]
    marks = (("+", "added"), ("~", "changed"), ("-", "removed"))
    if named := [f"{mark} {name}" for mark, kind in marks for name in variables[kind]]:
        yield f"    environment: {', '.join(named)}"
    yield from (f"    setting {entry['name']}: {entry['change']}" for entry in found["settings"] or ())
    if found["settings"] is None:
        yield "    settings: not known, the live release cannot say"
    static = found["static"] or {}
    for kind in ("added", "changed", "removed"):
        if kind in static and static[kind]["count"]:
            names = static[kind]["names"][:STATIC_SHOWN]
            more = static[kind]["count"] - len(names)
            yield f"    static files {kind}: {', '.join(names)}{f' and {more} more' if more > 0 else ''}"


def _commit_lines(commits: Commits | None) -> list[str]:
    if commits is None:
        return []
    lines = [f"  commits since the live release: {len(commits.new)}"] if commits.new else []
    lines += [f"    {commit}" for commit in commits.new[:CHANGES_SHOWN]]
    if (more := len(commits.new) - CHANGES_SHOWN) > 0:
        lines.append(f"    and {more} more")
    if commits.lost:
        lines.append(f"  commits of the live release that are not in it: {commits.lost}")
    return lines


def _step_line(step: Step) -> str:
    if step.roles:
        return f"{step.name} (on {'the first of ' if step.on == 'once' else ''}{_roles(step)})"
    return f"{step.name}{' (on the first host)' if step.on == 'once' else ''}"


def _backup_lines(target: Target) -> list[str]:
    if not target.backup or not any(step.is_migration for step in target.steps):
        return []
    when = {"contract": " takes something away, or does what nobody can look into"}.get(
        str(target.backup), " is pending"
    )
    return [
        f"  backup: of each database for which a migration{when}, ahead of it; {target.keep_backups} are kept"
    ]


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
