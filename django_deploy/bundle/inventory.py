"""What hosts must find in the distributions that they install: the files that these have here."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile, ZipFile

from django_deploy.host.inventory import digest_of, digest_of_record, tags_of, tags_of_wheel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django_deploy.bundle.manifest import Manifest

#: Who installs the files of an index as they are; conda for one makes packages of its own.
INSTALLERS = frozenset(("pip", "poetry", "uv"))

#: Where the files of a wheel's ``.data`` folder go to, seen from site-packages (binary distribution format).
PLACES = {"purelib": "", "platlib": "", "data": "../../../", "scripts": "../../../bin/", "headers": "/"}

_DATA = re.compile(rf'^("?)[^/,\n]+\.data/({"|".join(PLACES)})/', re.MULTILINE)

#: Such data come to lie in site-packages, where the Python has the right version.
_DATA_IN_LIB = re.compile(r'^"?[^/,\n]+\.data/data/lib', re.MULTILINE)

_METADATA = re.compile(r"[^/]+\.dist-info/WHEEL")


#: Tags and digest by name and version.
Inventory = dict[tuple[str, str], tuple[str, str]]


def take_inventory(manifest: Manifest) -> Inventory:
    """Tags and digest (``host/inventory.py``) of each distribution that can be compared.

    Of what is sent it is what the wheel holds, of anything else what is installed here. What each
    machine builds from sources can differ.
    """
    built = {(pin.name, pin.version) for pin in manifest.pins if pin.is_source}
    installed = {
        (name, version): of_installed(folder)
        for name, version, folder in manifest.installed
        if (name, version) not in built
    }
    wheels = {(wheel.name, wheel.version): of_wheel(wheel.path) for wheel in manifest.wheels}
    return {key: item for found in (installed, wheels) for key, item in found.items() if item}


def digests_of(distributions: Mapping[str, str], inventory: Inventory) -> dict[str, str]:
    """Tags and digest as one text, of those of the ``distributions`` (name to version) that have them."""
    found = {name: inventory.get((name, version)) for name, version in sorted(distributions.items())}
    return {name: " ".join(item) for name, item in found.items() if item}


def other_digests(
    digests: Mapping[str, str], distributions: Mapping[str, str], inventory: Inventory
) -> set[str]:
    """Those of the ``distributions`` that had other ``digests`` elsewhere, where both can be compared.

    What was made for other machines has other files by right.
    """
    here = digests_of(distributions, inventory)
    return {
        name
        for name, text in here.items()
        if name in digests
        and digests[name] != text
        and digests[name].rpartition(" ")[0] == text.rpartition(" ")[0]
    }


def of_installed(metadata: Path) -> tuple[str, str] | None:
    """By the ``.dist-info`` folder; None where it says too little: apt and conda write no such RECORD."""
    return _comparable(tags_of(metadata), digest_of(metadata)) if has_known_installer(metadata) else None


def has_known_installer(metadata: Path) -> bool:
    """Whether one of ``INSTALLERS`` has put the distribution there, which then has a RECORD."""
    try:
        installer = (metadata / "INSTALLER").read_text(encoding="utf-8", errors="replace").lower().split()
    except OSError:
        return False
    return bool(INSTALLERS.intersection(installer))


def of_wheel(path: Path) -> tuple[str, str] | None:
    """By the wheel's own RECORD, as if it were installed."""
    try:
        with ZipFile(path) as archive:
            name = next(filter(_METADATA.fullmatch, archive.namelist()))
            text, record = (
                archive.read(found).decode("utf-8", "surrogateescape")
                for found in (name, f"{name.removesuffix('WHEEL')}RECORD")
            )
    except (OSError, BadZipFile, KeyError, StopIteration):
        return None
    if _DATA_IN_LIB.search(record):
        return None
    installed = _DATA.sub(lambda row: f"{row[1]}{PLACES[row[2]]}", record)
    return _comparable(tags_of_wheel(text), digest_of_record(installed))


def _comparable(tags: str, digest: str) -> tuple[str, str] | None:
    """Not what was compiled where it is used: each machine has its own, and no index (PEP 513)."""
    return (tags, digest) if tags and digest and "-linux_" not in tags else None
