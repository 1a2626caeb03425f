"""Copies of a site's databases that somebody fetches: ``shared/backups/copies/``.

A copy is made for one fetch, and goes when that is done. One that breaks off leaves it for a day, so that it
can go on. Nobody's lock is taken: a deployment that is about to change a database ends the making of a copy.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Optional

from .backups import COPY, DESCRIBE_TIMEOUT, Backups, refuse_to_serve, require_room, seal
from .layout import Layout, write_atomically
from .link import Link
from .lock import Lock, describe
from .protocol import Failure, ProtocolError
from .shape import check
from .steps import StepProcess
from .store import read_piece

#: Seconds that a copy stays for a fetch that broke off, after the last piece that was taken of it.
KEPT = 24 * 3600.0

#: Seconds that a copy waits until another one is made: that of a deployer who was lost ends within them.
PATIENCE = 20.0

#: Seconds between two looks at whether a deployment is under way.
LOOK_INTERVAL = 1.0

#: What a deployment does when it changes databases, as its lock says it; the last two in earlier versions.
CHANGES_DATABASE = re.compile(r"running .*migrat|restoring|reversing|reverting|putting back|taking back")


class Copies:
    """Those of one ROOT."""

    def __init__(self, layout: Layout, link: Link) -> None:
        self._layout = layout
        self._link = link
        self._backups = Backups(layout, link)
        self.folder = self._backups.folder / "copies"

    def find(self, name: str) -> Optional[dict[str, Any]]:
        """None where there is no such copy any more."""
        with suppress(OSError, ValueError, ProtocolError):
            copy = json.loads((self.folder / f"{name}.json").read_text())
            check(copy, COPY, name)
            if copy["name"] == name and self._file(copy).stat().st_size == copy["size"]:
                return dict(copy)
        return None

    def _file(self, copy: dict[str, Any]) -> Path:
        return self.folder / f"{copy['name']}{Path(copy['suffix']).name}"

    def read(self, name: str, offset: int) -> dict[str, Any]:
        """A piece of a copy, which stays for as long as pieces of it are taken."""
        copy = self.find(name)
        if copy is None:
            raise Failure("CopyFailed", f"the copy {name} is not there any more", "Fetch the database again.")
        os.utime(self.folder / f"{name}.json")
        return read_piece(self._file(copy), offset)

    def drop(self, name: str) -> None:
        if copy := self.find(name):
            (self.folder / f"{name}.json").unlink(missing_ok=True)
            self._file(copy).unlink(missing_ok=True)

    # Making one

    def make(self, database: str, backup: Optional[str], anonymize: Optional[str]) -> dict[str, Any]:
        """Of a database as it is now, or of a backup; ``anonymize`` names what changes it first.

        Raises ``Failure``: then nothing is left of it.
        """
        with self._alone() as lock:
            source = None
            if backup is not None:
                source = self._backups.find(backup)
                self._backups.verify(source)
            if source is not None and anonymize is None:
                return self._take_backup(source)
            with Site(self._layout, self._link, lock) as site:
                alias = database if source is None else source["alias"]
                copy = self._make(site, alias, source, anonymize)
            if self._link.lost.is_set():  # nobody hears its name any more
                self.drop(copy["name"])
            return copy

    def _take_backup(self, backup: dict[str, Any]) -> dict[str, Any]:
        """The same file under another name, which no deployment takes away meanwhile."""
        file = self._backups.file(backup)
        copy = {name: backup[name] for name in ("place", "size", "sha256", "at")}
        copy.update(name=self._new_name(backup["alias"]), database=backup["alias"])
        copy["suffix"] = file.name[len(backup["name"]) :]
        try:
            os.link(file, self._file(copy))
        except OSError:  # a file system that knows no such links
            require_room(self.folder, backup["size"], backup["place"])
            _make_empty(self._file(copy))
            shutil.copyfile(file, self._file(copy))
        return self._write(copy)

    def _new_name(self, database: str) -> str:
        return self._backups.new_name(database, taken={file.stem for file in self.folder.glob("*.json")})

    def _make(
        self, site: Site, database: str, source: Optional[dict[str, Any]], anonymize: Optional[str]
    ) -> dict[str, Any]:
        started = time.monotonic()
        if anonymize is not None:
            self._check(site.ask({"do": "check_anonymizer", "database": database, "callable": anonymize}))
        made = self._check(site.ask({"do": "describe_database", "database": database}, DESCRIBE_TIMEOUT))
        made = made["database"]
        if source is not None and source["engine"] != made["engine"]:
            message = f"the backup is one of {source['engine']}, and {database!r} is {made['place']} now"
            raise Failure("CopyFailed", message, "Fetch it without --anonymize, or take another one.")
        refuse_to_serve(self.folder, made["served"], "CopyFailed")
        # A copy is anonymized in another one, of which a third one is made.
        require_room(self.folder, made["estimate"] * (1 if anonymize is None else 3), made["place"])
        told = {"database": database, "place": made["place"]}
        self._link.report("copy.started", **told, bytes=made["estimate"])
        name, suffix = self._new_name(database), made["suffix"]
        with self._workplace(name) as work:
            whole = work / f"whole{suffix}" if source is None else self._backups.file(source)
            if source is None:
                _make_empty(whole)
                dump = {"do": "dump", "database": database, "file": str(whole)}
                self._check(site.ask(dump, gives_way=True))
            if anonymize is not None:
                whole = self._anonymize(site, database, whole, work / f"changed{suffix}", anonymize)
            copy = {"name": name, **told, "suffix": suffix, "size": whole.stat().st_size}
            copy.update(sha256=seal(whole), at=round(time.time(), 3))
            os.replace(whole, self._file(copy))
        self._write(copy)
        seconds = round(time.monotonic() - started, 3)
        self._link.report("copy.finished", **told, bytes=copy["size"], seconds=seconds)
        return copy

    def _anonymize(self, site: Site, database: str, whole: Path, file: Path, anonymize: str) -> Path:
        """Real data is only in the source, in a second database meanwhile, and never in what is made."""
        started = time.monotonic()
        told = {"database": database, "callable": anonymize}
        self._link.report("anonymize.started", **told)
        _make_empty(file)
        paths = {"source": str(whole), "work": str(file.parent), "file": str(file)}
        self._check(site.ask({"do": "anonymize", **told, "name": self._second_name(), **paths}))
        seconds = round(time.monotonic() - started, 3)
        self._link.report("anonymize.finished", **told, seconds=seconds)
        return file

    def _second_name(self) -> str:
        """Of the database that is anonymized, always the same: whatever was left of one, the next removes."""
        whose = f"{os.uname().nodename} {self._layout.root}"
        return f"django_deploy_copy_{hashlib.sha256(whose.encode()).hexdigest()[:12]}"

    def _write(self, copy: dict[str, Any]) -> dict[str, Any]:
        write_atomically(self.folder / f"{copy['name']}.json", json.dumps(copy), 0o600)
        return copy

    def _check(self, reply: dict[str, Any]) -> dict[str, Any]:
        if reply["ok"]:
            return reply
        error, remedy = str(reply["error"]), str(reply.get("remedy") or "")
        if error.startswith("A request does one of "):
            error = "the live release has a django-deploy that cannot do this yet"
            remedy = "Deploy once with the one that you have here."
        lines = error.splitlines() or [""]
        raise Failure(
            "CopyFailed",
            f"no copy of the database could be made: {lines[0]}",
            remedy or "Fix it, and run the command again.",
            lines=lines[1:] or reply.get("written", []),
        )

    # One at a time

    @contextmanager
    def _alone(self) -> Iterator[int]:
        """Gives the descriptor of a lock of our own, which has nothing to do with that of deployments."""
        if self._layout.live() is None:
            raise Failure("NoSuchRelease", "no release is live there", "Deploy first.")
        self._backups.create_folder("CopyFailed")
        self.folder.mkdir(mode=0o700, exist_ok=True)
        descriptor = self._open_lock()
        try:
            self._wait_for(descriptor)
            self._sweep()
            yield descriptor
        finally:
            os.close(descriptor)

    def _open_lock(self) -> int:
        return os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def forget_old(self) -> None:
        """What nobody has come back for, unless one is made just now: then whoever makes it does that."""
        if not self.folder.is_dir():
            return
        descriptor = self._open_lock()
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._sweep()
        except BlockingIOError:
            pass
        finally:
            os.close(descriptor)

    def _wait_for(self, descriptor: int) -> None:
        give_up = time.monotonic() + PATIENCE
        while True:
            try:
                return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._link.stop_if_lost()
            if time.monotonic() > give_up:
                message = "somebody else is fetching a database there now"
                raise Failure("CopyFailed", message, "Run the command again when that copy is made.")
            time.sleep(0.1)

    def _sweep(self) -> None:
        """What was killed has left, and what nobody has come back for."""
        now = time.time()
        for file in self.folder.glob("*.json"):
            if abs(now - file.stat().st_mtime) > KEPT:
                file.unlink(missing_ok=True)
        kept = {file.stem for file in self.folder.glob("*.json")}
        for path in self.folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            elif path.name != ".lock" and not any(path.name.startswith(f"{name}.") for name in kept):
                path.unlink(missing_ok=True)

    @contextmanager
    def _workplace(self, name: str) -> Iterator[Path]:
        folder = self.folder / f".{name}"
        folder.mkdir(mode=0o700)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


class Site:
    """The live release's Django, which is asked without the lock of deployments; it ends with the block."""

    def __init__(self, layout: Layout, link: Link, keep_open: int) -> None:
        self._link = link
        self._stop = _Stop(layout, link)
        self._steps = StepProcess(layout.release(str(layout.live())), keep_open, self._pass_on)

    def __enter__(self) -> Site:
        return self

    def __exit__(self, *error: object) -> None:
        self._steps.close()

    def _pass_on(self, stream: str, line: str) -> None:
        self._link.report("step.output", step="copy", stream=stream, line=line)

    def ask(
        self, request: dict[str, Any], timeout: Optional[float] = None, *, gives_way: bool = False
    ) -> dict[str, Any]:
        """As ``StepProcess.ask``; raises a ``Failure`` that says why it was stopped.

        With ``gives_way``, a deployment that changes the database ends it as well.
        """
        stop = self._stop if gives_way else self._link.lost
        try:
            reply = self._steps.ask(request, timeout, stop)
        except Failure as failure:
            if failure.type != "Aborted":
                raise
            self._link.stop_if_lost()
            raise self._stop.failure() from None
        return reply if reply["ok"] else {**reply, "written": self._steps.last_lines()}


class _Stop(threading.Event):
    """Is set once the deployer is lost, or a deployment changes the database, or is about to."""

    def __init__(self, layout: Layout, link: Link) -> None:
        super().__init__()
        self._link = link
        self._path = layout.private / "lock"
        self._looked = 0.0
        self._holder: Optional[dict[str, Any]] = None

    def is_set(self) -> bool:
        now = time.monotonic()
        if self._holder is None and now - self._looked > LOOK_INTERVAL:
            self._looked = now
            self._holder = self._find_holder()
        return self._holder is not None or self._link.lost.is_set()

    def _find_holder(self) -> Optional[dict[str, Any]]:
        """To look is to have the lock for a moment: not where nobody says that he has it."""
        with suppress(OSError):
            if self._path.stat().st_size:
                holder = Lock(self._path).holder() or {}
                return holder if CHANGES_DATABASE.match(holder.get("phase", "")) else None
        return None

    def failure(self) -> Failure:
        return Failure(
            "CopyFailed",
            f"the copy was stopped because the database is needed: {describe(self._holder or {})}",
            "Run the command again when that is done; or fetch a backup, which needs nothing of the"
            " database: --backup.",
        )


def _make_empty(file: Path) -> None:
    os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
