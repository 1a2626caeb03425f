"""Writes what a deployment would take to the hosts into a file."""

from __future__ import annotations

from pathlib import Path

from .bundle.alterations import refuse_alterations
from .bundle.file.archive import with_vendored, write_bundle
from .bundle.file.sbom import write_sbom
from .bundle.file.signing import SigningKey, load_signing_key, sign_file
from .bundle.index.sources import read_sources, redact
from .bundle.manifest import Manifest
from .clock import Clock, interruptible
from .host.protocol import Event, Report, ignore
from .origins import Origin
from .plan.fitness import platform_of
from .shipment import fetch_tools, fit_bundle
from .target import Target
from .transport.fleet import Fleet
from .transport.ssh import Prompts, no_prompts


def pack(
    target: Target,
    origin: Origin,
    file: Path | None,
    sbom: Path | None = None,
    *,
    report: Report = ignore,
    prompts: Prompts = no_prompts,
) -> Manifest:
    """Write what ``deploy`` would take to the hosts into a file, and its bill of materials into another.

    With VENDOR it holds the wheels for the hosts that there are: they are asked for their interpreters,
    and for nothing else.
    """
    clock = Clock(report)
    with interruptible(clock), clock.phase("bundle"):
        key = _signing_key(target, prompts) if file is not None else None
        manifest = origin(report)
        refuse_alterations(manifest.installed, target.allow_altered)
        if target.vendor:
            manifest = _with_vendored(target, manifest, clock, prompts)
    for warning in manifest.warnings:
        report(Event("warning", fields={"message": warning, "remedy": ""}))
    if sbom is not None:
        index_urls = map(redact, read_sources(target.index_url).index_urls)
        count = write_sbom(manifest, sbom, index_url=next(index_urls, ""))
        report(Event("sbom.written", fields={"file": str(sbom), "components": count}))
    if file is not None:
        written = write_bundle(manifest, file)
        if key is not None:
            sign_file(file, key)
        fields = {"file": str(file), "bytes": written.size, "sha256": written.sha256}
        report(Event("bundle.written", fields={**fields, "key": key.fingerprint if key else ""}))
    return manifest


def _signing_key(target: Target, prompts: Prompts) -> SigningKey | None:
    return load_signing_key(target.signing_key, prompts.passphrase) if target.signing_key else None


def _with_vendored(target: Target, manifest: Manifest, clock: Clock, prompts: Prompts) -> Manifest:
    """The manifest with all wheels that any of the target's hosts would be sent."""
    with Fleet(target, report=clock.report, prompts=prompts) as fleet:
        facts = {session.host: session.facts for session in fleet.sessions()}
    platforms = dict.fromkeys(platform_of(host, facts[host]) for host in target.hosts)
    fitted = {platform: fit_bundle(target, manifest, platform, clock.report) for platform in platforms}
    tools = [
        wheel
        for host in target.hosts
        for wheel in fetch_tools(target, host, facts[host], manifest.stock).values()
    ]
    return with_vendored(manifest, fitted, tools)
