"""Wheels of the tools that a host may lack: uv, pip, supervisor."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from packaging.utils import canonicalize_name, parse_wheel_filename

from django_deploy.bundle.cache import default_cache, digest, read_record, write_record
from django_deploy.bundle.index.sources import Sources, read_sources
from django_deploy.bundle.manifest import Wheel
from django_deploy.bundle.platforms import HostPlatform, choose_wheel
from django_deploy.exceptions import BundleError

if TYPE_CHECKING:
    pass

Tool = Literal["uv", "pip", "supervisor"]

#: Seconds after which the index is asked for a newer version.
GOOD_FOR = 30 * 24 * 3600


def fetch_tool(
    name: Tool, platform: HostPlatform, *, index_url: str | None = None, cache: Path | None = None
) -> Wheel:
    """The wheel of the newest stable version that fits the host.

    It is kept, and good for 30 days without asking the index; when the index cannot be asked, for
    longer. Raises ``BundleError`` when there is none.
    """
    folder = (cache or default_cache()) / "tools"
    sources = read_sources(index_url)
    record_file = folder / f"{name}-{digest(repr(platform), *sources.identity)[:16]}.json"
    record = read_record(record_file)
    kept = _kept_wheel(record, folder)
    if kept is not None and time.time() - record["checked"] < GOOD_FOR:
        return kept
    try:
        wheel = _download_newest(name, platform, sources, folder)
    except BundleError:
        if kept is None:
            raise
        return kept
    fields = {"file": str(wheel.path.relative_to(folder)), "sha256": wheel.sha256, "size": wheel.size}
    write_record(record_file, {**fields, "name": name, "version": wheel.version, "checked": time.time()})
    return wheel


def _kept_wheel(record: Any, folder: Path) -> Wheel | None:
    if record is None:
        return None
    path = folder / record["file"]
    if not path.is_file() or path.stat().st_size != record["size"]:
        return None
    return Wheel(record["name"], record["version"], path, record["sha256"], record["size"])


def _download_newest(name: Tool, platform: HostPlatform, sources: Sources, folder: Path) -> Wheel:
    from django_deploy.bundle.index.client import IndexFailure
    from django_deploy.bundle.index.pages import Index

    index = Index(sources)
    try:
        file = choose_wheel(index.files(canonicalize_name(name)), platform)
        if file is None:
            raise BundleError(
                f"No index has a wheel of {name} for Python {'.'.join(map(str, platform.version))} "
                f"on {platform.machine}.",
                remedy=f"Install {name} on the host.",
            )
        path = index.fetch(file, folder)
    except IndexFailure as error:
        raise BundleError(
            f"{name} cannot be fetched: {error}.",
            remedy=f"Install {name} on the host, or fix the connection.",
        ) from None
    finally:
        index.close()
    version = str(parse_wheel_filename(path.name)[1])
    return Wheel(name, version, path, path.parent.name, path.stat().st_size)
