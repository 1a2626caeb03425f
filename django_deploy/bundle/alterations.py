"""Files that somebody has changed by hand after they were installed: no host gets these from an index."""

from __future__ import annotations

import base64
import csv
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from django_deploy.bundle.cache import sha256_of

#: Seconds: an installer writes RECORD when the files are there, but clocks of file systems are coarse.
TOLERANCE = 2.0

#: How many files of a distribution are named.
SHOWN = 5


def find_alterations(installed: Iterable[tuple[str, str, Path]]) -> Iterator[str]:
    """A warning for each distribution (name, version, ``.dist-info`` folder) that is not as it was installed.

    What has another size than RECORD says, or is younger than RECORD itself, is read and compared with its
    hash there (https://packaging.python.org/en/latest/specifications/recording-installed-packages/).
    """
    for name, version, metadata in installed:
        if altered := sorted(_altered(metadata)):
            more = f" and {len(altered) - SHOWN} more" if len(altered) > SHOWN else ""
            yield (
                f"{name} {version} was changed here after it was installed, and hosts get it as the index has"
                f" it: {', '.join(altered[:SHOWN])}{more}."
                " Install it again, or your own copy with pip install -e."
            )


def _altered(metadata: Path) -> Iterator[str]:
    record = metadata / "RECORD"
    try:
        written = record.stat().st_mtime
        text = record.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return
    for row in csv.reader(text.splitlines()):
        if len(row) == 3 and row[1].startswith("sha256="):
            path = os.path.join(metadata.parent, row[0])
            if _is_suspect(path, row[2], written) and _digest(path) != row[1].removeprefix("sha256="):
                yield row[0]


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
