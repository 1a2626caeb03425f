"""Where a deployment's bundle comes from.

Each function here gives one that makes the manifest when it is called, while the connections open.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .bundle.assembly import build_bundle
from .bundle.manifest import Manifest
from .host.protocol import Report
from .target import Target

#: Makes the manifest, and reports what it does meanwhile.
Origin = Callable[[Report], Manifest]


def from_environment(target: Target, revision: str | None = None) -> Origin:
    """This environment; with a ``revision``, the project and its repository as they were at that."""

    def make(report: Report) -> Manifest:
        folders = [Path(folder) for folder in target.data_folders]
        return build_bundle(target, report=report, ignored_folders=folders, revision=revision)

    return make
