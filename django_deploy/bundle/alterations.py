"""Files of what is installed that somebody has changed or added: no host gets these from an index."""

from __future__ import annotations

import base64
import csv
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import canonicalize_name

from django_deploy.bundle.cache import sha256_of
from django_deploy.bundle.inventory import has_known_installer
from django_deploy.exceptions import BundleError
from django_deploy.wording import listed

#: Seconds: an installer writes RECORD when the files are there, but clocks of file systems are coarse.
TOLERANCE = 2.0

#: How many files of a distribution are named.
SHOWN = 5


def refuse_alterations(installed: Iterable[tuple[str, str, Path]], allowed: Collection[str] = ()) -> None:
    """Raises ``BundleError`` that names the files of distributions which are not as they were installed.

    ``installed`` are name, version and ``.dist-info`` folder of each, ``allowed`` the names of those that may
    differ. What has another size than RECORD says, or is younger than RECORD itself, is read and compared
    with its hash there (https://packaging.python.org/en/latest/specifications/recording-installed-packages/).
    What lies in a distribution's folders and stands in no RECORD was added: a migration, say.
    """
    passed = set(map(canonicalize_name, allowed))
    asked = [
        (f"{name}=={version}", metadata)
        for name, version, metadata in installed
        if canonicalize_name(name) not in passed
    ]
    records = {name: record for name, metadata in asked if (record := _Record.read(metadata))}
    if lost := [name for name, metadata in asked if name not in records and has_known_installer(metadata)]:
        raise BundleError(
            f"Nobody can tell whether these were changed here, as their RECORD is gone: {', '.join(lost)}.",
            remedy=f"Install them again: pip install --ignore-installed --no-deps {' '.join(lost)}",
        )
    changed = {name: sorted(record.changed()) for name, record in records.items()}
    added = {name: sorted(record.added()) for name, record in records.items()}
    if any(added.values()):
        known = _recorded({metadata.parent for _, metadata in asked})
        added = {
            name: [path for path in paths if not _is_known(records[name].site / path, known)]
            for name, paths in added.items()
        }
    if any(changed.values()):
        raise BundleError(
            "Files were changed here after they were installed, and hosts get them as the index has them:"
            f" {_listed(changed)}.",
            remedy="Install them again: pip install --force-reinstall --no-deps"
            f" {' '.join(name for name, files in changed.items() if files)};"
            " or deploy your own copy, installed with pip install -e."
            " What does not matter can be named in ALLOW_ALTERED.",
        )
    if any(added.values()):
        raise BundleError(
            f"Files were added here to what was installed, and no host gets them: {_listed(added)}.",
            remedy="Delete them, or move them into a package of yours (migrations: see MIGRATION_MODULES);"
            " or deploy your own copy, installed with pip install -e."
            " What does not matter can be named in ALLOW_ALTERED.",
        )


def _listed(found: Mapping[str, list[str]]) -> str:
    return "; ".join(f"{name}: {listed(files, SHOWN)}" for name, files in found.items() if files)


@dataclass(frozen=True)
class _Record:
    """A RECORD: its rows (path, hash, size), the folder that they start from, and when it was written."""

    site: Path
    rows: tuple[tuple[str, str, str], ...]
    written: float

    @classmethod
    def read(cls, metadata: Path) -> _Record | None:
        """None where there is none, as with what a system's own package manager has installed."""
        record = metadata / "RECORD"
        try:
            written = record.stat().st_mtime
            text = record.read_text(encoding="utf-8", errors="surrogateescape")
        except OSError:
            return None
        rows = (row for row in csv.reader(text.splitlines()) if len(row) == 3)
        return cls(metadata.parent, tuple((path, hash_, size) for path, hash_, size in rows), written)

    def changed(self) -> Iterator[str]:
        """Files that are not what was installed, or are gone."""
        for name, hash_, size in self.rows:
            if hash_.startswith("sha256=") and not _is_script(name):
                path = os.path.join(self.site, name)
                if self._is_suspect(path, size) and _digest(path) != hash_.removeprefix("sha256="):
                    yield name

    def _is_suspect(self, path: str, size: str) -> bool:
        try:
            found = os.stat(path)
        except OSError:
            return True
        return str(found.st_size) != size or found.st_mtime > self.written + TOLERANCE

    def added(self) -> Iterator[str]:
        """What lies in the distribution's own folders and is not of it; of others perhaps, that share them.

        A folder that is no younger than RECORD has got nothing since.
        """
        files = {name for name, _, _ in self.rows}
        folders = _folders_of(files)
        for folder in folders:
            path = os.path.join(self.site, folder)
            try:
                if os.stat(path).st_mtime <= self.written + TOLERANCE:
                    continue
                names = os.listdir(path)
            except OSError:
                continue
            inner = (f"{folder}/{name}" for name in names if not _is_byproduct(name))
            yield from (name for name in inner if name not in files and name not in folders)


def _folders_of(files: Iterable[str]) -> set[str]:
    """Those above the files, but for site-packages itself, and for what an installer keeps for itself."""
    folders: set[str] = set()
    for folder in {name.rpartition("/")[0] for name in files}:
        if not folder.startswith("..") and not folder.partition("/")[0].endswith(".dist-info"):
            while folder and folder not in folders:
                folders.add(folder)
                folder = folder.rpartition("/")[0]
    return folders


def _is_byproduct(name: str) -> bool:
    """Nobody has written it: an interpreter, a file manager or a file system has."""
    return name == "__pycache__" or name.endswith((".pyc", ".pyo")) or name.startswith((".DS_Store", ".nfs"))


def _recorded(sites: Iterable[Path]) -> set[str]:
    """The files of everything that is installed there, and their folders: namespaces are shared."""
    records = (_Record.read(metadata) for site in sites for metadata in site.glob("*.dist-info"))
    files = [(record.site, {name for name, _, _ in record.rows}) for record in records if record is not None]
    return {os.path.join(site, name) for site, names in files for name in (*names, *_folders_of(names))}


def _is_known(path: Path, known: Collection[str]) -> bool:
    """Also a folder that holds nothing, or nothing but byproducts: what was uninstalled leaves them."""
    if str(path) in known:
        return True
    if path.is_symlink() or not path.is_dir():
        return False
    return not any(file for _, folders, files in os.walk(path) for file in files if not _is_byproduct(file))


def _is_script(path: str) -> bool:
    """Made by the installer for this place; those of a virtualenv that was moved are rewritten."""
    folder = os.path.dirname(path)
    return folder.startswith("..") and os.path.basename(folder) in ("bin", "Scripts")


def _digest(path: str) -> str:
    """As RECORD writes it; empty where the file has gone."""
    try:
        digest = bytes.fromhex(sha256_of(Path(path)))
    except OSError:
        return ""
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
