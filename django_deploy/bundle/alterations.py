"""Files that somebody has changed by hand after they were installed: no host gets these from an index."""

from __future__ import annotations

import base64
import csv
import os
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from packaging.utils import canonicalize_name

from django_deploy.bundle.cache import sha256_of
from django_deploy.exceptions import BundleError

#: Seconds: an installer writes RECORD when the files are there, but clocks of file systems are coarse.
TOLERANCE = 2.0

#: How many files of a distribution are named.
SHOWN = 5


def refuse_alterations(installed: Iterable[tuple[str, str, Path]], allowed: Collection[str] = ()) -> None:
    """Raises ``BundleError`` that names the files of distributions which are not as they were installed.

    ``installed`` are name, version and ``.dist-info`` folder of each, ``allowed`` the names of those that may
    differ. What has another size than RECORD says, or is younger than RECORD itself, is read and compared
    with its hash there (https://packaging.python.org/en/latest/specifications/recording-installed-packages/).
    """
    passed = set(map(canonicalize_name, allowed))
    found = {
        f"{name}=={version}": sorted(_altered(metadata))
        for name, version, metadata in installed
        if canonicalize_name(name) not in passed
    }
    if altered := {name: files for name, files in found.items() if files}:
        named = "; ".join(f"{name}: {_shown(files)}" for name, files in altered.items())
        raise BundleError(
            "Files were changed here after they were installed, and hosts get them as the index has them:"
            f" {named}.",
            remedy=f"Install them again: pip install --force-reinstall --no-deps {' '.join(altered)};"
            " or deploy your own copy, installed with pip install -e."
            " What does not matter can be named in ALLOW_ALTERED.",
        )


def _shown(files: list[str]) -> str:
    more = f" and {len(files) - SHOWN} more" if len(files) > SHOWN else ""
    return f"{', '.join(files[:SHOWN])}{more}"


def _altered(metadata: Path) -> Iterator[str]:
    record = metadata / "RECORD"
    try:
        written = record.stat().st_mtime
        text = record.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return
    for row in csv.reader(text.splitlines()):
        if len(row) == 3 and row[1].startswith("sha256=") and not _is_script(row[0]):
            path = os.path.join(metadata.parent, row[0])
            if _is_suspect(path, row[2], written) and _digest(path) != row[1].removeprefix("sha256="):
                yield row[0]


def _is_script(path: str) -> bool:
    """Made by the installer for this place; those of a virtualenv that was moved are rewritten."""
    folder = os.path.dirname(path)
    return folder.startswith("..") and os.path.basename(folder) in ("bin", "Scripts")


def _is_suspect(path: str, size: str, written: float) -> bool:
    try:
        found = os.stat(path)
    except OSError:
        return True
    return str(found.st_size) != size or found.st_mtime > written + TOLERANCE


def _digest(path: str) -> str:
    """As RECORD writes it; empty where the file has gone."""
    try:
        digest = bytes.fromhex(sha256_of(Path(path)))
    except OSError:
        return ""
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
