"""Where a deployment's bundle comes from.

Each function here gives one that makes the manifest when it is called, while the connections open.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from .bundle.assembly import build_bundle
from .bundle.cache import default_cache, digest
from .bundle.file.archive import MAX_FILE, read_bundle
from .bundle.file.document import DocumentError
from .bundle.file.promotion import digest_of, find_file, read_release
from .bundle.file.signing import verify_file
from .bundle.manifest import Manifest, Wheel, bundle_ready
from .bundle.wheels.audit import provides_module
from .deployer import deployer
from .exceptions import BundleError, DeployError, HostError, RequestFailed
from .host.protocol import Event, Report
from .plan.fitness import platform_of
from .target import Target
from .transport.fetching import fetch_file, fetch_lock
from .transport.fleet import Fleet
from .transport.session import HostSession
from .transport.ssh import Prompts, no_prompts
from .wording import size_text

#: Makes the manifest, and reports what it does meanwhile.
Origin = Callable[[Report], Manifest]


def from_environment(target: Target, revision: str | None = None) -> Origin:
    """This environment; with a ``revision``, the project and its repository as they were at that."""

    def make(report: Report) -> Manifest:
        folders = [Path(folder) for folder in target.data_folders]
        return build_bundle(
            target, report=report, ignored_folders=folders, revision=revision, modules=sys.modules
        )

    return make


def from_file(target: Target, file: Path) -> Origin:
    """A bundle file, whoever has made it, or one of TRUSTED_KEYS; this environment is not looked at."""

    def make(report: Report) -> Manifest:
        keys: list[str] = []

        def check(copy: Path) -> None:
            if target.trusted_keys:
                keys.append(verify_file(copy, file, target.trusted_keys))

        found = read_bundle(file, cache=default_cache(), check=check)
        fields = {"file": str(file), "bytes": found.size, "sha256": found.sha256, "key": "".join(keys)}
        report(Event("bundle.read", fields=fields))
        _check_settings_module(target, found.manifest)
        report(bundle_ready(found.manifest))
        return replace(found.manifest, origin=f"as {file.name} has it: sha256 {found.sha256}")

    return make


def _check_settings_module(target: Target, manifest: Manifest) -> None:
    """``BundleError`` when the project of a bundle does not have what the target's site starts with."""
    for wheel in manifest.wheels:
        if wheel.name == manifest.project and not provides_module(wheel.path, target.settings_module):
            raise BundleError(
                f"{wheel.path.name} does not hold the settings module {target.settings_module}.",
                remedy=f"The bundle was made of another project, or for another SETTINGS_MODULE than that of"
                f" {target.name!r}.",
            )


def from_target(target: Target, source: Target, *, prompts: Prompts = no_prompts) -> Origin:
    """The very bundle that is live on another target: its wheels are here, or are fetched from there.

    Making it raises ``DeployError`` when the hosts of ``source`` differ, or what they tell does not fit
    together.
    """

    def make(report: Report) -> Manifest:
        with Fleet(source, report=report, prompts=prompts) as fleet:
            sessions = fleet.sessions()
            record = _find_common_release(source, sessions)
            manifest = _promote(source, sessions[0], record, report)
        _check_settings_module(target, manifest)
        report(bundle_ready(manifest))
        return manifest

    return make


def _find_common_release(source: Target, sessions: Sequence[HostSession]) -> Mapping[str, Any]:
    """What the hosts tell of the release that is live on all of them."""
    if nothing := [session.host.name for session in sessions if not session.facts["live"]]:
        raise DeployError(
            f"Nothing is live on {source.name} ({', '.join(nothing)}).", remedy="Deploy there first."
        )
    if busy := [session.host.name for session in sessions if session.facts["unfinished"]]:
        raise DeployError(
            f"A deployment to {source.name} is running, or was interrupted ({', '.join(busy)}).",
            remedy="Wait for its end, or deploy there again.",
        )
    first, *others = sessions
    for tell in (_live_release, _interpreter, _what_is_installed):
        if other := next((other for other in others if tell(other) != tell(first)), None):
            raise DeployError(
                f"The hosts of {source.name} differ: {first.host.name} has {tell(first)}, "
                f"{other.host.name} has {tell(other)}.",
                remedy=f"Deploy to {source.name} until its hosts are alike.",
            )
    return _record(first)


def _live_release(session: HostSession) -> str:
    return f"release {session.facts['live']}"


def _interpreter(session: HostSession) -> str:
    return str(platform_of(session.host, session.facts))


def _what_is_installed(session: HostSession) -> str:
    record = _record(session)
    return f"distributions {digest(record['distributions'], record['wheels'])[:12]}"


def _record(session: HostSession) -> Mapping[str, Any]:
    """What the host tells of its live release."""
    releases: Sequence[Mapping[str, Any]] = session.facts["releases"]
    for release in releases:
        if release["id"] == session.facts["live"]:
            return release
    raise HostError(
        session.host.name,
        f"{_live_release(session)} is live there, and has gone.",
        remedy="Deploy there again, then promote.",
    )


def _promote(source: Target, session: HostSession, record: Mapping[str, Any], report: Report) -> Manifest:
    """The manifest of a host's live release, with its files here."""
    cache, release = default_cache(), str(record["id"])
    try:
        lock = fetch_lock(session, release)
        platform = platform_of(session.host, session.facts)
        manifest = read_release(record, lock, platform, lambda sha256, name: cache / "files" / sha256 / name)
    except (DocumentError, RequestFailed) as error:
        raise HostError(
            session.host.name,
            f"release {release} cannot be promoted: {error.args[0]}.",
            remedy=f"Deploy to {source.name} again, then promote.",
        ) from None
    if sum(wheel.size for wheel in manifest.wheels) > MAX_FILE:
        message = f"release {release} has more than {size_text(MAX_FILE)}, which no bundle may have."
        raise HostError(session.host.name, message, remedy=f"Deploy to {source.name} again, then promote.")
    wheels = tuple(_provide(wheel, session, cache) for wheel in manifest.wheels)
    sha256 = digest_of(manifest.pins, wheels)
    report(Event("bundle.promoted", fields={"target": source.name, "release": release, "sha256": sha256}))
    return replace(
        manifest,
        wheels=wheels,
        created=time.time(),
        created_by=deployer(),
        origin=f"as it is live on {source.name}: {release}, contents sha256 {sha256}",
    )


def _provide(wheel: Wheel, session: HostSession, cache: Path) -> Wheel:
    """The wheel with its file here: found, or fetched from the host."""
    found = find_file(wheel.sha256, wheel.path.name, cache)
    if found is not None:
        return replace(wheel, path=found, size=found.stat().st_size)
    try:
        fetch_file(session, wheel.sha256, wheel.path.name, wheel.size, wheel.path)
    except RequestFailed as error:
        raise HostError(
            session.host.name,
            f"{wheel.path.name} is neither here nor there any more: {error.message}.",
            remedy="Deploy there again, then promote.",
        ) from None
    return wheel
