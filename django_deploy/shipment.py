"""What each host gets, and the room that it takes: what it installs, tools, wheels as differences."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from .bundle.cache import default_cache
from .bundle.delta import find_deltas, remember_wheels
from .bundle.fitting import HostBundle, fit
from .bundle.index.sources import read_sources
from .bundle.manifest import Manifest, Wheel
from .bundle.platforms import HostPlatform, fits
from .bundle.room import NO_ROOM, UNKNOWN, Room, in_store, of_installed, of_wheel
from .bundle.tools import fetch_tool
from .bundle.vendor import vendor
from .exceptions import BundleError, HostError, RolloutFailed
from .host.protocol import Event, Report
from .plan.fitness import platform_of, tools_needed
from .plan.making import Shipment
from .plan.model import HostPlan, Plan
from .plan.releases import find_release
from .target import Host, Target
from .transport.session import HostSession

#: Seconds between two events about an upload.
PROGRESS_INTERVAL = 0.1


def make_shipments(
    target: Target, manifest: Manifest, facts: Mapping[Host, Mapping[str, Any]], report: Report
) -> dict[Host, Shipment]:
    """What each host would get, by what it has said of itself.

    Raises ``RolloutFailed`` with every host that can install none of it, and ``BundleError``.
    """
    bundles = fit_bundles(target, manifest, facts, report)
    tools = {host: fetch_tools(target, host, facts[host], manifest.stock) for host in target.hosts}
    return {
        host: Shipment(
            facts[host],
            bundles[host],
            tools[host],
            measure_room(manifest, bundles[host], tools[host], facts[host]),
        )
        for host in target.hosts
    }


def fit_bundles(
    target: Target, manifest: Manifest, facts: Mapping[Host, Mapping[str, Any]], report: Report
) -> dict[Host, HostBundle]:
    """What each host installs, by its interpreter; hosts of one kind share the work."""
    found: dict[HostPlatform, HostBundle] = {}
    bundles, errors = {}, []
    for host in target.hosts:
        if "error" in facts[host]["python"]:
            bundles[host] = HostBundle(manifest.pins, manifest.wheels)
            continue  # make_plan says so, with all other hosts' troubles
        platform = platform_of(host, facts[host])
        try:
            if platform not in found:
                found[platform] = fit_bundle(target, manifest, platform, report)
        except BundleError as error:
            errors.append(HostError(host.name, error.message, remedy=error.remedy))
        else:
            bundles[host] = found[platform]
    if errors:
        raise RolloutFailed("Nothing was changed.", errors=errors)
    return bundles


def fit_bundle(target: Target, manifest: Manifest, platform: HostPlatform, report: Report) -> HostBundle:
    """What hosts with this interpreter install; with VENDOR as wheels only."""
    sources, cache = read_sources(target.index_url), default_cache()
    bundle = fit(manifest, platform, sources, cache=cache, is_strict=target.strict_environment)
    if not target.vendor or bundle.refused:  # the plan will say so, and better
        return bundle
    stock = manifest.vendored
    wheels = vendor(bundle.pins, platform, sources, cache=cache, report=report, stock=stock)
    return replace(bundle, pins=(), wheels=(*bundle.wheels, *wheels))


def fetch_tools(
    target: Target, host: Host, facts: Mapping[str, Any], stock: Iterable[Wheel] = ()
) -> dict[str, Wheel]:
    """What a host lacks to install and run a release; ``stock`` are wheels that need no fetching."""
    if "error" in facts["python"]:
        return {}  # make_plan says so, with all other hosts' troubles
    platform = platform_of(host, facts)
    at_hand = {wheel.name: wheel for wheel in stock if fits(wheel, platform)}
    found: dict[str, Wheel] = {}
    for name in tools_needed(target.for_host(host), facts):
        if name in at_hand:
            found[name] = at_hand[name]
            continue
        try:
            found[name] = fetch_tool(name, platform, index_url=target.index_url)
        except BundleError:
            if name != "uv" or target.installer is not None:
                raise
            found["pip"] = fetch_tool("pip", platform, index_url=target.index_url)  # no uv for that machine
    return found


def measure_room(
    manifest: Manifest, bundle: HostBundle, tools: Mapping[str, Wheel], facts: Mapping[str, Any]
) -> Room:
    """What the release would take under ROOT, beyond what is there.

    uv shares the files of the live release; pip writes all of them anew, and keeps what it downloads.
    """
    is_shared, live = "pip" not in tools, find_release(facts, facts["live"])
    versions, wheels = dict(live.get("distributions") or {}), {w["sha256"] for w in live.get("wheels") or ()}
    folders = {(name, version): folder for name, version, folder in manifest.installed}
    room = in_store(
        wheel for wheel in (*bundle.wheels, *tools.values()) if wheel.sha256 not in facts["store"]
    )
    for tool in tools.values():
        if tool.sha256 not in facts["tools"]:
            room += of_wheel(tool.path).whole
    for wheel in bundle.wheels:
        extent = of_wheel(wheel.path)
        room += extent.own if is_shared and wheel.sha256 in wheels else extent.whole
    for pin in bundle.pins:
        folder = folders.get((pin.name, pin.version))
        extent = of_installed(folder) if folder else UNKNOWN
        room += extent.own if is_shared and versions.get(pin.name) == pin.version else extent.whole
        room += NO_ROOM if is_shared else extent.download
    return room


def shorten(plan: Plan, facts: Mapping[Host, Mapping[str, Any]]) -> Plan:
    """Send wheels as their differences to those that the hosts have, where that is less."""
    cache = default_cache()
    for host in plan.hosts:
        remember_wheels(host.bundle.wheels, cache)
    if plan.is_empty:
        return plan
    hosts = (
        replace(host, deltas=find_deltas(host.send, facts[host.host], cache=cache)) for host in plan.hosts
    )
    return replace(plan, hosts=tuple(hosts))


def telling_of_upload(host: Host, total: int, report: Report) -> Callable[[int], None]:
    """Is called with bytes as they leave, and tells of them as events; ``total`` may turn out too small."""
    done, told = 0, 0.0

    def progress(size: int) -> None:
        nonlocal total, done, told
        done += size
        total = max(total, done)
        if done == total or time.monotonic() - told > PROGRESS_INTERVAL:
            told = time.monotonic()
            report(Event("upload.progress", host.name, fields={"done": done, "total": total}))

    return progress


def file_of(wheel: Wheel) -> dict[str, str]:
    """As requests name a file of the store."""
    return {"sha256": wheel.sha256, "name": wheel.path.name}


def send_files(session: HostSession, host: HostPlan, report: Report) -> None:
    """Send what the host's store lacks; progress is told now and then, and at the end.

    It may be more than was planned: a difference that the host cannot use is followed by the whole wheel.
    """
    progress = telling_of_upload(session.host, host.bytes_to_send, report)
    for wheel in host.needed:
        if wheel not in host.send:
            session.offer_file(wheel.path, wheel.sha256, wheel.path.name, progress)
    for wheel in host.send:
        delta = host.deltas.get(wheel.sha256)
        if delta is None:
            session.send_file(wheel.path, wheel.sha256, wheel.path.name, progress)
        else:
            session.send_delta(delta, wheel.path, wheel.sha256, wheel.path.name, progress)
