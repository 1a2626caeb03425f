"""What each host gets: what its interpreter installs, the tools that it lacks, wheels as differences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from .bundle.cache import default_cache
from .bundle.delta import find_deltas, remember_wheels
from .bundle.fitting import HostBundle, fit
from .bundle.index.sources import read_sources
from .bundle.manifest import Manifest, Wheel
from .bundle.tools import HostPlatform, fetch_tool, fits
from .bundle.vendor import vendor
from .exceptions import BundleError, HostError, RolloutFailed
from .host.protocol import Report
from .plan import Plan, platform_of, tools_needed
from .target import Host, Target


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


def fetch_tools(target: Target, host: Host, facts: Mapping[str, Any], manifest: Manifest) -> dict[str, Wheel]:
    """What a host lacks to install and run a release; a bundle file may bring it along."""
    if "error" in facts["python"]:
        return {}  # make_plan says so, with all other hosts' troubles
    platform = platform_of(host, facts)
    at_hand = {wheel.name: wheel for wheel in (*manifest.vendored, *manifest.tools) if fits(wheel, platform)}
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
