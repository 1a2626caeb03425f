"""Whether a host can have the release: what forbids it, and what is to be known."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from django_deploy.bundle.fitting import HostBundle
from django_deploy.bundle.manifest import Manifest
from django_deploy.bundle.platforms import HostPlatform, fits
from django_deploy.bundle.room import Room
from django_deploy.bundle.tools import Tool
from django_deploy.exceptions import DeployError, HostError
from django_deploy.target import Host, Process, Step, Target
from django_deploy.wording import size_text

from .model import HostPlan
from .releases import UP

#: What a deployment leaves free on a host, for what steps and the site write.
RESERVED_BYTES = 50_000_000

RESERVED_INODES = 1000

#: What to do about code that was compiled here and does not run there.
COMPILED_REMEDY = (
    "Deploy from a machine like the host: compiled code is built where you deploy from. "
    "Or set BUILD_ON_HOST, where the host has a compiler."
)


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


def problems_of(
    host: Host, manifest: Manifest, bundle: HostBundle, facts: Mapping[str, Any]
) -> list[DeployError]:
    """Why the host cannot have the release; empty when it can."""
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
        return [HostError(host.name, f"Python {version} on the host does not fit {needs}.", remedy=remedy)]
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


def lacks_room(target: Target, plan: HostPlan, facts: Mapping[str, Any]) -> list[DeployError]:
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


def warnings_of(host: Host, manifest: Manifest, facts: Mapping[str, Any]) -> list[str]:
    """What forbids nothing on the host, and should be known before."""
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


def empty(target: Target) -> list[str]:
    """A shell that is not the usual one has not set what ENV reads."""
    names = [name for name, value in target.env.items() if not value]
    are = "is" if len(names) == 1 else "are"
    return [f"ENV: {', '.join(names)} {are} empty. Is what it is made of set here?"] if names else []


def idle(target: Target) -> list[str]:
    """Where some hosts are left out: what none of the others has the role for."""
    everything: list[Step | Process] = [*target.steps, *target.processes]
    return [
        f"{what.name} runs on none of these hosts: it is for {' and '.join(what.roles)}."
        for what in everything
        if not any(host.is_for(what.roles) for host in target.hosts)
    ]


def _enable_linger(facts: Mapping[str, Any]) -> str:
    return shlex.join(["loginctl", "enable-linger", facts["user"]])


def _python_version(facts: Mapping[str, Any]) -> str:
    return ".".join(str(part) for part in facts["python"]["version"])
