"""What a distribution consists of, by its own RECORD: one digest that is the same wherever it is installed.

Both sides use this. Left out of a RECORD (PEP 376, PEP 627) is what installers write or change, as they do
with scripts; and all metadata but the entry points, for who builds the same sources with another back end
gets the same code. Data files outside of site-packages belong to it.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Optional

#: Rows that are left out, by their path.
_LEFT_OUT = re.compile(
    r'"?(?:/'  # not below the virtualenv
    r"|[^/]+\.dist-info/(?!entry_points\.txt)"
    r"|\.\./(?!\.\./\.\./(?!\.\./|bin/|include/|lib|Scripts/))"  # scripts, headers, lib beside site-packages
    r"|(?:[^,]*/)?__pycache__/)"
)


def digest_of_record(record: str) -> str:
    """The digest of a RECORD's rows: 128 bits, as hex."""
    rows = sorted(filter(None, (_row(line) for line in record.split("\n") if not _LEFT_OUT.match(line))))
    return hashlib.sha256("\n".join(rows).encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _row(line: str) -> str:
    """Path and hash, the same for every writer of CSV; empty where there is no hash."""
    path, _, digest = line.rpartition(",")[0].rpartition(",")
    if path.startswith('"'):
        path = path[1:-1].replace('""', '"')
    if path.endswith(".dist-info/entry_points.txt"):
        path = "entry_points.txt"  # back ends spell the folder's name in different ways
    digest = digest.strip('"').rstrip("=")
    return f"{path},{digest}" if digest else ""


def digest_of(metadata: Path) -> str:
    """The digest of an installed distribution, by its ``.dist-info`` folder; empty where it has no RECORD."""
    record = _read(metadata / "RECORD")
    return "" if record is None else digest_of_record(record)


def tags_of(metadata: Path) -> str:
    """What its wheel was made for: ``py3-none-any``; empty where it was no wheel."""
    return tags_of_wheel(_read(metadata / "WHEEL") or "")


def tags_of_wheel(text: str) -> str:
    """The tags in a WHEEL file's text, in order."""
    return " ".join(sorted(line[4:].strip() for line in text.splitlines() if line.startswith("Tag:")))


def _read(path: Path) -> Optional[str]:
    try:
        return path.read_bytes().decode("utf-8", "surrogateescape")
    except OSError:
        return None
