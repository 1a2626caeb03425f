"""Wheels with code that was compiled on this machine: what they need of a host.

Their tag (``linux_x86_64``) says nothing of the C library, unlike those of an index (PEP 600).
"""

from __future__ import annotations

import re
import zipfile
from typing import TYPE_CHECKING

from packaging.utils import parse_wheel_filename

if TYPE_CHECKING:
    from pathlib import Path

    from django_deploy.bundle.manifest import Wheel
    from django_deploy.bundle.platforms import HostPlatform

#: What the names of glibc's symbols end with in whatever uses them (GNU symbol versioning).
_SYMBOL = re.compile(rb"\0GLIBC_(\d+)\.(\d+)")

_ELF = b"\x7fELF"


def is_compiled_here(wheel: Path) -> bool:
    """Whether a wheel is for machines like the one that built it: its platform is plain ``linux_…``."""
    return any(tag.platform.startswith("linux_") for tag in parse_wheel_filename(wheel.name)[3])


def is_for_some_hosts(wheel: Path) -> bool:
    """Whether a wheel has code for one platform."""
    return all(tag.platform != "any" for tag in parse_wheel_filename(wheel.name)[3])


def needed_glibc(wheel: Path) -> str:
    """The oldest glibc that has all symbols that the wheel's code uses; empty where it uses none."""
    versions = set()
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            with archive.open(name) as file:
                if (start := file.read(len(_ELF))) == _ELF:
                    found = _SYMBOL.findall(start + file.read())
                    versions |= {(int(major), int(minor)) for major, minor in found}
    return "{}.{}".format(*max(versions)) if versions else ""


def lacking_glibc(wheel: Wheel, platform: HostPlatform) -> str:
    """The glibc that a host would need for a wheel and does not have; empty where it has it."""
    if not is_compiled_here(wheel.path):
        return ""
    needed = needed_glibc(wheel.path)
    is_there = platform.glibc is not None and _numbers(needed) <= _numbers(platform.glibc)
    return needed if needed and not is_there else ""


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)))
