"""Source distributions, for hosts that build their wheels themselves."""

from __future__ import annotations

import gzip
import tarfile
from contextlib import ExitStack
from typing import TYPE_CHECKING

from django_deploy.bundle.cache import write_aside
from django_deploy.bundle.wheels.audit import HEAD, is_secret
from django_deploy.exceptions import BundleError

if TYPE_CHECKING:
    from pathlib import Path


def normalise_sdist(archive: Path, epoch: int) -> None:
    """Gives all members of a ``.tar.gz`` the same time and owner: the same files are the same bytes."""
    with ExitStack() as stack:
        old = stack.enter_context(tarfile.open(archive))
        aside = stack.enter_context(write_aside(archive))
        file = stack.enter_context(aside.open("wb"))
        packed = stack.enter_context(gzip.GzipFile("", "wb", fileobj=file, mtime=epoch))
        new = stack.enter_context(tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT))
        for member in sorted(old.getmembers(), key=lambda member: member.name):
            member.mode = 0o755 if member.isdir() or member.mode & 0o111 else 0o644
            member.mtime, member.pax_headers = epoch, {}
            member.uid = member.gid = 0
            member.uname = member.gname = ""
            new.addfile(member, old.extractfile(member) if member.isreg() else None)


def check_sdist(archive: Path) -> None:
    """``BundleError`` when an sdist holds what should not travel: secrets, databases."""
    with tarfile.open(archive) as file:
        members = [member for member in file.getmembers() if member.isreg()]
        unwanted = [member.name for member in members if _is_unwanted(file, member)]
    if unwanted:
        raise BundleError(
            f"{archive.name} would carry {', '.join(unwanted)} to the servers that build it.",
            remedy="Exclude such files in the project's build settings.",
        )


def _is_unwanted(file: tarfile.TarFile, member: tarfile.TarInfo) -> bool:
    content = file.extractfile(member)
    return is_secret(member.name, content.read(HEAD) if content is not None else b"")
