"""Fetches a dump of a site's database, or its media files, to this machine. Nothing is locked on the host."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .clock import Clock
from .exceptions import ConfigError, ConnectionLost, DeployError, HostError, Interrupted, RequestFailed
from .host.protocol import Event, Report, ignore
from .host.store import FETCHED
from .media import MediaFile, MediaFolder, is_harmless
from .restoration import find_backup
from .target import Target
from .transport.fetching import fetch_copy, fetch_media
from .transport.fleet import Fleet
from .transport.session import HostSession, Reply
from .transport.ssh import Prompts, no_prompts
from .wording import size_text

#: Seconds between two reports of progress.
TICK = 0.2

#: Files that a host may list, and characters of their paths.
MAX_FILES = 1_000_000
MAX_LISTED_TEXT = 200_000_000

#: What dumps are called at their end.
SUFFIXES = (".pgdump", ".sql.gz", ".sqlite3")

#: Files that are named where several are meant, at most.
NAMED = 5

GO_ON = "Run the command again: it resumes where it stopped."


@dataclass(frozen=True)
class Fetched:
    """What a fetch has brought. ``size`` and ``sent`` are in bytes: ``sent`` came now, the rest before.

    ``files``, ``same`` and ``deleted`` are numbers of media files.
    """

    path: Path
    size: int
    sent: int
    suffix: str = ""
    files: int = 1
    same: int = 0
    deleted: int = 0


@dataclass
class _Progress:
    """Reports the bytes that have come. The bar never goes back: what is fetched again comes on top."""

    report: Report
    host: str
    done: int
    total: int
    sent: int = 0
    _told: float = field(default=0.0)

    def add(self, size: int) -> None:
        self.done += size
        self.sent += size
        now = time.monotonic()
        if now - self._told >= TICK:
            self._told = now
            self.tell()

    def again(self, size: int) -> None:
        """So many bytes have come for nothing."""
        self.total += size

    def tell(self) -> None:
        fields = {"done": self.done, "total": self.total}
        self.report(Event("fetch.progress", self.host, fields=fields))


# A database


@dataclass(frozen=True)
class Wish:
    """Which database is wanted, and as what. ``anonymize`` is a dotted path to a callable."""

    database: str = "default"
    backup: str | None = None
    anonymize: str | None = None


class PartFile:
    """What has come of a copy, ``NAME.part``, and what that is a part of, ``NAME.part.json``."""

    def __init__(self, path: Path) -> None:
        self.path = path.with_name(f"{path.name}.part")
        self._note = path.with_name(f"{path.name}.part.json")

    def copy(self, whose: Mapping[str, Any]) -> dict[str, Any] | None:
        """The copy that it is a part of, if that was made for ``whose``."""
        try:
            note = json.loads(self._note.read_text())
            is_ours = note["whose"] == whose and self.size <= note["copy"]["size"]
            return dict(note["copy"]) if is_ours else None
        except (OSError, ValueError, LookupError, TypeError):  # somebody else has written there
            return None

    @property
    def size(self) -> int:
        return self.path.stat().st_size

    def begin(self, whose: Mapping[str, Any], copy: Mapping[str, Any]) -> None:
        for path, text in ((self.path, ""), (self._note, json.dumps({"whose": whose, "copy": dict(copy)}))):
            path.unlink(missing_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(text)

    def empty(self) -> None:
        os.truncate(self.path, 0)

    def become(self, path: Path) -> None:
        os.replace(self.path, path)
        self._note.unlink(missing_ok=True)

    def delete(self) -> None:
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)


def fetch_database(
    target: Target,
    wish: Wish,
    output: Path,
    *,
    is_stem: bool = False,
    force: bool = False,
    report: Report = ignore,
    prompts: Prompts = no_prompts,
) -> Fetched:
    """Write a dump of a database of the target to ``output``, or with ``is_stem`` to that and a suffix.

    Without a backup, the first host makes it. Raises ``DeployError``; what has come of it by then stays in
    ``output.part``, for the next one.
    """
    _require_place(output, is_stem=is_stem, force=force)
    clock, part = Clock(report), PartFile(output)
    asked = target if wish.backup is not None else target.without(target.hosts[1:])
    with _going_on(part.path), Fleet(asked, report=report, prompts=prompts) as fleet:
        with clock.phase("connect"):
            sessions = fleet.sessions()
        session = sessions[0] if wish.backup is None else find_backup(target, sessions, wish.backup)[0]
        whose = {"target": target.name, "host": session.host.name, **vars(wish)}
        with clock.phase("copy"):
            copy = _copy_again(session, part, whose, report) or _new_copy(session, part, whose, wish)
        path = output.with_name(output.name + copy["suffix"]) if is_stem else output
        with clock.phase("fetch"):
            sent = _fetch_copy(session, copy, part, report)
        _require_place(path, is_stem=False, force=force)  # somebody may have made it meanwhile
        part.become(path)
        _drop(session, copy, report)
        fields = {"file": str(path), "bytes": copy["size"], "sent": sent}
        report(Event("fetch.finished", session.host.name, fields=fields))
        return Fetched(path, copy["size"], sent, copy["suffix"])


def _require_place(output: Path, *, is_stem: bool, force: bool) -> None:
    there = [output.with_name(output.name + suffix) for suffix in SUFFIXES] if is_stem else [output]
    taken = [path for path in there if path.exists()]
    if taken and (not force or taken[0].is_dir()):
        remedy = "Name another one with -o." if taken[0].is_dir() else "Name another one, or say --force."
        raise ConfigError(f"{taken[0]} is there already.", remedy=remedy)
    if not output.parent.is_dir() or not os.access(output.parent, os.W_OK):
        raise ConfigError(f"{output}: no file can be written there.", remedy="Name another one with -o.")


@contextmanager
def _going_on(part: Path) -> Iterator[None]:
    """Says of what breaks off that it can be gone on with."""
    try:
        yield
    except KeyboardInterrupt:
        kept = f" {GO_ON}" if part.exists() else ""
        raise Interrupted(f"Interrupted.{kept}") from None
    except ConnectionLost as error:
        error.remedy = GO_ON
        raise
    except OSError as error:
        raise DeployError(f"{error.filename or part}: {error.strerror}.", remedy=GO_ON) from None


def _copy_again(
    session: HostSession, part: PartFile, whose: Mapping[str, Any], report: Report
) -> dict[str, Any] | None:
    """The copy of which some has come already, if the host still has it."""
    begun = part.copy(whose)
    if begun is None:
        return None
    found: dict[str, Any] | None = session.request("find_copy", copy=begun["name"]).result()["copy"]
    if found is not None and (found["sha256"], found["size"]) == (begun["sha256"], begun["size"]):
        return found
    message = "The host no longer has the copy that was begun: another one is made."
    report(Event("warning", session.host.name, fields={"message": message, "remedy": ""}))
    return None


def _new_copy(session: HostSession, part: PartFile, whose: Mapping[str, Any], wish: Wish) -> dict[str, Any]:
    copy: dict[str, Any] = session.request("copy_database", **vars(wish)).result()["copy"]
    part.begin(whose, copy)
    return copy


def _fetch_copy(session: HostSession, copy: Mapping[str, Any], part: PartFile, report: Report) -> int:
    """Twice where what was there was damaged; gives how many bytes have come."""
    begun = part.size
    _require_room(part.path.parent, copy["size"] - begun)
    progress = _Progress(report, session.host.name, begun, copy["size"])
    progress.tell()
    is_whole = fetch_copy(session, copy, part.path, progress.add)
    if not is_whole and begun:
        message = f"What had been fetched of {part.path.name} was damaged: all of it is fetched again."
        report(Event("warning", session.host.name, fields={"message": message, "remedy": ""}))
        part.empty()
        progress.again(copy["size"])
        is_whole = fetch_copy(session, copy, part.path, progress.add)
    if not is_whole:
        part.delete()
        _drop(session, copy, report)
        message = "what was fetched is not what the host says it sends: its sha256 differs"
        raise HostError(session.host.name, message, remedy="Nothing was written. Run the command again.")
    progress.tell()
    return progress.sent


def _drop(session: HostSession, copy: Mapping[str, Any], report: Report) -> None:
    """Nobody needs it any more; a host that does not hear that forgets it in a day."""
    try:
        session.request("drop_copy", copy=copy["name"]).result()
    except HostError as error:
        message = f"The copy on the host was not deleted: {error.message}"
        report(Event("warning", session.host.name, fields={"message": message, "remedy": ""}))


def _require_room(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < size:
        raise DeployError(
            f"{folder.resolve()} has {size_text(free)} free, and {size_text(size)} are needed.",
            remedy="Make room there, or name another place.",
        )


# Media files


def fetch_media_files(
    target: Target,
    path: Path,
    *,
    delete: bool = False,
    report: Report = ignore,
    prompts: Prompts = no_prompts,
) -> Fetched:
    """Bring the files of MEDIA_ROOT on the first host that are new or changed into the folder ``path``.

    With ``delete``, files that the host does not have are deleted there. Raises ``DeployError``; what has
    come by then stays.
    """
    clock, folder = Clock(report), MediaFolder(path)
    first = target.without(target.hosts[1:])
    with _going_on(folder.path), Fleet(first, report=report, prompts=prompts) as fleet:
        with clock.phase("connect"):
            [session] = fleet.sessions()
        with clock.phase("compare"):
            files, is_complete = _list(session, report)
            wanted = [file for file in files if folder.lacks(file)]
        with clock.phase("fetch"):
            sent, missed = _Receiver(session, folder, report).take(wanted)
        _require_all(session, missed)
        folder.forget_parts()
        gone = _delete(folder, files, is_complete=is_complete) if delete else 0
        size = sum(file.size for file in files)
        fields = {"file": str(folder.path), "bytes": size, "sent": sent}
        report(Event("fetch.finished", session.host.name, fields=fields))
        return Fetched(
            folder.path,
            size,
            sent,
            files=len(wanted),
            same=len(files) - len(wanted),
            deleted=gone,
        )


def _list(session: HostSession, report: Report) -> tuple[list[MediaFile], bool]:
    """The host's files, and whether these are all that it has."""
    found: dict[str, MediaFile] = {}
    left_out: list[str] = []
    unreadable: list[str] = []
    more, length = True, 0
    while more:
        reply = session.request("list_media").result()
        for name, size, changed in reply["files"]:
            if not is_harmless(name) or name in found:
                message = f"it lists a file with an impossible name: {name[:100]!r}."
                remedy = "That is not what was asked for: look at who else uses the host."
                raise HostError(session.host.name, message, remedy=remedy)
            found[name] = MediaFile(name, size, changed)
            length += len(name)
        left_out = (left_out + reply["left_out"])[: NAMED + 1]
        unreadable = (unreadable + reply["unreadable"])[: NAMED + 1]
        more = reply["more"]
        if len(found) > MAX_FILES or length > MAX_LISTED_TEXT or (more and not reply["files"]):
            message = f"it lists more than {MAX_FILES} files."
            raise HostError(session.host.name, message, remedy="Fetch them with rsync or scp.")
    for names, what in ((left_out, "are no files, but links"), (unreadable, "cannot be read there")):
        if names:
            message = f"Left out, as they {what}: {_some(names)}."
            report(Event("warning", session.host.name, fields={"message": message, "remedy": ""}))
    return list(found.values()), not unreadable


def _some(names: Sequence[str]) -> str:
    return f"{', '.join(names[:NAMED])}{' and others' if len(names) > NAMED else ''}"


class _Receiver:
    """Takes in files, each piece as it comes; a file gets its name when all of it is here, and right."""

    def __init__(self, session: HostSession, folder: MediaFolder, report: Report) -> None:
        self._session = session
        self._folder = folder
        self._report = report

    def take(self, wanted: Sequence[MediaFile]) -> tuple[int, list[str]]:
        """Gives the bytes that have come, and the files that have not."""
        starts = {file.name: self._folder.have(file) for file in wanted}
        begun = sum(starts.values())
        total = sum(file.size for file in wanted)
        _require_room(self._folder.path, total - begun)
        self._progress = _Progress(self._report, self._session.host.name, begun, total)
        if total:
            self._progress.tell()
        damaged = self._take(wanted, starts)
        # What had come before may have been damaged: once more, from the start.
        again = [file for file in damaged if starts[file.name]]
        self._progress.again(sum(file.size for file in again))
        missed = [file for file in damaged if file not in again] + self._take(again, {})
        if total:
            self._progress.tell()
        return self._progress.sent, [file.name for file in missed]

    def _take(self, wanted: Sequence[MediaFile], starts: Mapping[str, int]) -> list[MediaFile]:
        """Gives those that did not come, or came damaged."""
        places = [(file.name, starts.get(file.name, 0), file.size) for file in wanted]
        pieces = fetch_media(self._session, places)
        missed = []
        for file in wanted:
            if not self._take_file(file, starts.get(file.name, 0), pieces):
                self._folder.forget(file)
                missed.append(file)
        return missed

    def _take_file(
        self, file: MediaFile, start: int, pieces: Iterator[tuple[bytes, Reply] | RequestFailed]
    ) -> bool:
        """All pieces of it are taken from the line, also of one that changes meanwhile."""
        done, is_good, sha256 = start, True, ""
        with self._folder.part(file).open("r+b" if start else "wb") as part:
            part.seek(start)
            while True:
                found = next(pieces)
                expected = min(FETCHED, file.size - done)
                if isinstance(found, RequestFailed):
                    is_good = False
                else:
                    data, reply = found
                    is_good = is_good and len(data) == expected and reply.get("size") == file.size
                    sha256 = str(reply.get("sha256"))
                    if is_good:
                        part.write(data)
                        self._progress.add(len(data))
                done += expected
                if done >= file.size:
                    break
        if not is_good or self._folder.sha256(file) != sha256:
            return False
        self._folder.finish(file)
        return True


def _delete(folder: MediaFolder, files: Sequence[MediaFile], *, is_complete: bool) -> int:
    if not files or not is_complete:
        why = "not all of the host's files can be read" if files else "the host has no file at all"
        raise DeployError(f"Nothing was deleted: {why}.", remedy="Delete by hand what is not wanted.")
    others = list(folder.others({file.name for file in files}))
    folder.delete(others)
    return len(others)


def _require_all(session: HostSession, missed: Sequence[str]) -> None:
    if missed:
        raise HostError(
            session.host.name,
            f"these were changed or deleted while they were fetched: {_some(missed)}",
            remedy="Everything else is here. Run the command again.",
        )
