"""Where a deployment's bundle comes from.

Each function here gives one that makes the manifest when it is called, while the connections open.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .bundle.archive import read_bundle
from .bundle.assembly import build_bundle, bundle_ready
from .bundle.audit import provides_module
from .bundle.cache import default_cache
from .bundle.manifest import Manifest
from .exceptions import BundleError
from .host.protocol import Event, Report
from .target import Target

#: Makes the manifest, and reports what it does meanwhile.
Origin = Callable[[Report], Manifest]


def from_environment(target: Target, revision: str | None = None) -> Origin:
    """This environment; with a ``revision``, the project and its repository as they were at that."""

    def make(report: Report) -> Manifest:
        folders = [Path(folder) for folder in target.data_folders]
        return build_bundle(target, report=report, ignored_folders=folders, revision=revision)

    return make


def from_file(target: Target, file: Path) -> Origin:
    """A bundle file, whoever has made it; this environment is not looked at."""

    def make(report: Report) -> Manifest:
        found = read_bundle(file, cache=default_cache())
        fields = {"file": str(file), "bytes": found.size, "sha256": found.sha256}
        report(Event("bundle.read", fields=fields))
        _check_settings_module(target, found.manifest)
        report(bundle_ready(found.manifest))
        return found.manifest

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
