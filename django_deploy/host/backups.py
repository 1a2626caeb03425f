"""The backups of a site's databases on this host: ``shared/backups/``.

A backup is two files of one name: what the database's own tool wrote, and ``NAME.json``, which says what that
is. It is there when both are: the dump gets its name last, when it is whole. The site's side, which knows the
databases, is ``django_deploy/site/backups.py``.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any, Callable, Optional

from .databases import find_database
from .layout import RELEASE_ID, SHA256, Layout, write_atomically
from .link import Link
from .protocol import Failure, ProtocolError
from .shape import Shape, check
from .store import sha256_of

#: Seconds that a database gets to say what it has, and how large it is.
DESCRIBE_TIMEOUT = 600.0

#: Bytes that a backup leaves free on the host's disk, for what steps and the site write.
LEFT_FREE = 100_000_000

#: Backups that are listed at once: the newest.
MAX_LISTED = 500

#: What is told of a backup; and how much of it, lest a site of very many tables says more than is taken.
MAX_TABLES = 2000

#: A backup's name: when it was made, and of which database.
NAME = re.compile(r"[12]\d{7}T\d{6}Z-[\w.-]{1,60}", re.ASCII)

_SUFFIX = re.compile(r"(\.[a-z0-9]{1,10}){1,2}")

#: When a backup is made: ahead of every migration, or of those that take something away or do what nobody
#: can look into.
ALWAYS, CONTRACT = WHEN = ("always", "contract")

#: What a target says of its backups; None: there are to be none.
WANTED: Shape = (None, {"when": re.compile("|".join(WHEN)), "keep": range(1, 10_000)})

TABLES: Shape = {
    str: {"rows": int, "is_estimate": bool, "key": (None, str), "last": (None, int)},
}

#: What the site says of a database that is to be dumped.
DESCRIPTION: Shape = {
    **dict.fromkeys(("alias", "engine", "place", "tool"), str),
    "migrations": [str],
    "tables": TABLES,
}
DATABASE: Shape = {**DESCRIPTION, "suffix": _SUFFIX, "estimate": int, "served": [str]}

#: What the site says has happened since a dump.
SINCE: Shape = {
    **dict.fromkeys(("engine", "place"), str),
    "owners": [{**dict.fromkeys(("target", "root", "host"), str), "at": float}],
    "newer": [str],
    "older": [str],
    "tables": [{"table": str, **dict.fromkeys(("before", "now", "newer"), (None, int)), "is_estimate": bool}],
}

#: What lies beside a dump. ``release`` was live when it was made, which was before ``before``.
BACKUP: Shape = {
    **DESCRIPTION,
    "name": NAME,
    "file": str,
    "before": str,
    "release": (None, RELEASE_ID),
    "target": str,
    "at": float,
    "seconds": float,
    "size": int,
    "sha256": SHA256,
}

#: What lies beside a copy that somebody fetches, see ``copies.py``.
COPY: Shape = {
    **dict.fromkeys(("database", "place"), str),
    "name": NAME,
    "suffix": _SUFFIX,
    "size": range(1 << 50),
    "sha256": SHA256,
    "at": float,
}

#: What may anonymize one: a dotted path to a callable.
CALLABLE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")

#: Asks the release's Django; the second argument is the time that it gets, in seconds, None for any.
Ask = Callable[[dict[str, Any], Optional[float]], dict[str, Any]]


class _Damaged(Exception):
    """A backup was made, and is none any more."""


class Backups:
    """Those of one ROOT."""

    def __init__(self, layout: Layout, link: Link) -> None:
        self._layout = layout
        self._link = link
        self.folder = layout.inside("shared", "backups")

    def all(self) -> list[dict[str, Any]]:
        """What each backup is, oldest first. What is damaged or half there is none."""
        return self.look()[0]

    def look(self) -> tuple[list[dict[str, Any]], dict[str, str]]:
        """The same, and by the names of backups that are damaged, why they are none any more."""
        found, damaged = [], {}
        for file in sorted(self.folder.glob("*.json")) if self.folder.is_dir() else ():
            try:
                found.append(self._read(file))
            except _Damaged as damage:
                if NAME.fullmatch(file.stem) and not [*self.folder.glob(f".{file.stem}.*.part")]:
                    damaged[file.stem] = str(damage)
        return found, damaged

    def _read(self, file: Path) -> dict[str, Any]:
        try:
            backup: dict[str, Any] = json.loads(file.read_text())
            check(backup, BACKUP, file.name)
        except (OSError, ValueError, ProtocolError):
            raise _Damaged(f"{file.name} cannot be read") from None
        if backup["name"] != file.stem:
            raise _Damaged(f"{file.name} tells of another one, {backup['name']}")
        dump = self.file(backup)
        try:
            size = dump.stat().st_size
        except OSError:
            raise _Damaged(f"its dump {dump.name} is not there") from None
        if size != backup["size"]:
            raise _Damaged(f"its dump {dump.name} has {size} bytes, and had {backup['size']}")
        return backup

    def find(self, name: str) -> dict[str, Any]:
        """Raises ``Failure`` where there is no backup of that name."""
        found, damaged = self.look()
        for backup in found:
            if backup["name"] == name:
                return backup
        message = f"there is no backup {name!r} on the host"
        if name in damaged:
            message = f"the backup {name} is damaged: {damaged[name]}"
        raise Failure("NoSuchBackup", message, "deploy_restore lists them.")

    def file(self, backup: dict[str, Any]) -> Path:
        return self.folder / Path(backup["file"]).name

    # Making one

    def make(
        self, ask: Ask, database: str, *, before: str, target: str, keep: int, spared: str = ""
    ) -> Optional[str]:
        """Dump a database; gives the backup's name, None where there is nothing in it yet.

        ``before`` says what is to happen to it.
        Of the same database ``keep`` stay, and ``spared``. Raises ``Failure``: then nothing is left of it.
        """
        started = time.monotonic()
        made = _described(ask({"do": "describe_database", "database": database}, DESCRIBE_TIMEOUT))
        if not made["tables"] and not made["migrations"]:
            return None
        refuse_to_serve(self.folder, made.pop("served"), "BackupFailed")
        self._clear()
        name = self.new_name(database)
        estimate = made.pop("estimate")
        told = {"database": database, "place": made["place"], "name": name}
        self._link.report("backup.started", **told, bytes=estimate)
        require_room(self.folder, estimate, made["place"])
        file = self.folder / f"{name}{made.pop('suffix')}"
        part = self.folder / f".{file.name}.part"
        try:
            os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            _check(ask({"do": "dump", "database": database, "file": str(part)}, None), made["place"])
            if not part.stat().st_size:
                message = f"{made['place']} was not backed up: {made['tool']} wrote nothing"
                raise Failure("BackupFailed", message, "Try it there by hand.")
            digest = seal(part)
            made.update(name=name, file=file.name, before=before, release=self._layout.live(), target=target)
            made.update(at=round(time.time(), 3), size=part.stat().st_size, sha256=digest)
            made["seconds"] = round(time.monotonic() - started, 3)
            write_atomically(self.folder / f"{name}.json", json.dumps(made, indent=1), 0o600)
            os.replace(part, file)
        finally:
            part.unlink(missing_ok=True)
        self._link.report("backup.finished", **told, bytes=made["size"], seconds=made["seconds"])
        self.prune(database, keep, spared)
        return name

    def _clear(self) -> None:
        """Make the folder, and take away what a killed program has left in it: we have the lock."""
        self.create_folder("BackupFailed")
        for part in self.folder.glob(".*.part*"):
            part.unlink(missing_ok=True)
        names = {backup["name"] for backup in self.all()}
        for file in self.folder.glob("*.json"):
            if NAME.fullmatch(file.stem) and file.stem not in names and not self._has_dump(file.stem):
                file.unlink(missing_ok=True)

    def create_folder(self, type: str) -> None:
        """Raises a ``Failure`` of that type where something else is in its place."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except FileExistsError:
            why = f"no backup is possible: {self.folder} is not a folder"
            raise Failure(type, why, "Move away what is there.") from None

    def _has_dump(self, name: str) -> bool:
        return any(not path.name.endswith(".json") for path in self.folder.glob(f"{name}.*"))

    def new_name(self, database: str, taken: Collection[str] = ()) -> str:
        """No two are of one second, so that names sort as they were made."""
        alias = re.sub(r"[^\w.-]", "_", database, flags=re.ASCII)[:60]
        taken = {*taken, *(backup["name"] for backup in self.all())}
        at = time.time()
        while (name := f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(at))}-{alias}") in taken:
            at += 1
        return name

    def prune(self, database: str, keep: int, spared: str = "") -> None:
        """Delete the oldest of this database, all but ``keep``. Without its dump a backup is none."""
        ours = [backup for backup in self.all() if backup["alias"] == database]
        for backup in ours[:-keep]:
            if backup["name"] != spared:
                with suppress(OSError):
                    self.file(backup).unlink(missing_ok=True)
                    (self.folder / f"{backup['name']}.json").unlink(missing_ok=True)

    # The way back

    def restore(self, ask: Ask, backup: dict[str, Any]) -> None:
        """Make the database what it was.

        Raises ``Failure``; with ``damaged`` the database is half the one and half the other.
        """
        started = time.monotonic()
        found = find_database(
            lambda request: ask(request, DESCRIBE_TIMEOUT), backup["alias"], backup["place"]
        )
        told = {"database": backup["alias"], "place": found.place, "name": backup["name"]}
        self._link.report("restore.started", **told, bytes=backup["size"])
        reply = ask({"do": "restore", "database": backup["alias"], "file": str(self.file(backup))}, None)
        _check(reply, found.place, "RestoreFailed")
        self._link.report("restore.finished", **told, seconds=round(time.monotonic() - started, 3))

    def compare(self, ask: Ask, backup: dict[str, Any]) -> dict[str, Any]:
        """What has happened to the database since: what would be lost."""
        request = {"do": "compare", "database": backup["alias"]}
        reply = ask(
            {**request, **{name: backup[name] for name in ("migrations", "tables")}}, DESCRIBE_TIMEOUT
        )
        if not reply["ok"]:
            remedy = "The live release has to be one of this django-deploy, whose settings have the database."
            raise Failure("RestoreFailed", f"the live release cannot look: {reply['error']}", remedy)
        since: dict[str, Any] = reply["since"]
        if since["engine"] != backup["engine"]:
            raise Failure(
                "RestoreFailed",
                f"the backup is one of {backup['engine']}, and {backup['alias']!r} is {since['place']} now",
                "Take another one: deploy_restore lists them.",
            )
        return since

    def verify(self, backup: dict[str, Any]) -> None:
        """Raises ``Failure`` where the dump is not what was written once."""
        if sha256_of(self.file(backup)) != backup["sha256"]:
            raise Failure(
                "NoSuchBackup",
                f"the backup {backup['name']} is damaged: its sha256 is another than when it was made",
                "Take another one: deploy_restore lists them.",
            )


def refuse_to_serve(folder: Path, served: list[str], type: str) -> None:
    """A dump has all that the site knows: it does not lie where web servers hand out files."""
    for other in served:
        if Path(os.path.realpath(other)) in Path(os.path.realpath(folder)).parents:
            raise Failure(
                type,
                f"no backup is possible: {folder} is inside of {other}, whose files visitors may read",
                "Give MEDIA_ROOT and STATIC_ROOT folders of their own, such as shared/media.",
            )


def require_room(folder: Path, estimate: int, place: str) -> None:
    """Raises a ``Failure`` where the disk has less than ``estimate`` bytes, and what is left free."""
    found = os.statvfs(folder)
    free = found.f_bavail * found.f_frsize
    if free < estimate + LEFT_FREE:
        raise Failure(
            "NoSpace",
            f"the backup of {place} may take {_megabytes(estimate)}, and {folder} has"
            f" {_megabytes(free)} free, of which {_megabytes(LEFT_FREE)} are left free",
            "Make room there, keep fewer (KEEP_BACKUPS), or let the folder be a link to a larger disk.",
        )


def _described(reply: dict[str, Any]) -> dict[str, Any]:
    if not reply["ok"]:
        raise Failure("BackupFailed", f"no backup is possible: {reply['error']}", _remedy(reply))
    database: dict[str, Any] = reply["database"]
    tables = sorted(database["tables"].items(), key=lambda item: -item[1]["rows"])
    return {**database, "tables": dict(tables[:MAX_TABLES])}


def _check(reply: dict[str, Any], place: str, type: str = "BackupFailed") -> None:
    if reply["ok"]:
        return
    what = "the backup" if type == "BackupFailed" else "the restore"
    lines = str(reply["error"]).splitlines()
    raise Failure(
        type,
        f"{what} of {place} failed: {lines[0] if lines else ''}",
        _remedy(reply),
        lines=lines[1:],
        damaged=reply.get("damaged", False),
    )


def _remedy(reply: dict[str, Any]) -> str:
    return reply.get("remedy") or "Fix it and deploy again."


def seal(file: Path) -> str:
    """Have it outlive a power cut; gives its sha256."""
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return sha256_of(file)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
