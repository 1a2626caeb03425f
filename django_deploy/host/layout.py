"""What lives under ROOT, and the only functions that write, link or delete there."""

from __future__ import annotations

import errno
import json
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

from .protocol import Failure, ProtocolError
from .shape import Shape, check
from .users import user_name

#: The states of a release, in the order of its life. A restart makes a release once more; what was live
#: before it is ``renewed`` then, and nothing to go back to.
PREPARING, READY, LIVE, RETIRED, RENEWED, FAILED = STATES = (
    *("preparing", "ready", "live", "retired", "renewed", "failed"),
)

#: What is kept free for undoing: so many files of so many bytes.
RESERVED_FILES, RESERVED_BYTES = 8, 16384

#: What to do about a disk that Linux does not write to any more.
READ_ONLY_REMEDY = "The host's disk is mounted read-only, as after an error of the disk: have it checked."

#: A release id: UTC time chosen by the deployer, and the start of the release's fingerprint.
RELEASE_ID = re.compile(
    r"[12]\d{3}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])T(?:[01]\d|2[0-3])[0-5]\d[0-5]\dZ-[0-9a-f]{7}"
)

#: The sha256 of a file.
SHA256 = re.compile(r"[0-9a-f]{64}")

#: What ``release.json`` tells whoever plans and lists; all of it may be missing.
DESCRIPTION: Shape = {
    **{f"{name}?": (None, str) for name in ("project", "version", "created_by", "fingerprint", "manager")},
    "created?": (None, float),
    "given_up?": (None, bool),
    **{f"{name}?": (None, RELEASE_ID) for name in ("renews", "same_as", "made_of")},
    "revision?": (None, {str: (None, str, bool)}),
    "distributions?": (None, {str: str}),
    "wheels?": (None, [{"name": str, "sha256": SHA256}]),
    "digests?": (None, {str: str}),
    "processes?": (
        None,
        [{"name": str, "command": [str], "singleton": bool, "stop_timeout": float}],
    ),
}

#: What the host itself needs to know beside that.
RECORD: Shape = {
    **DESCRIPTION,
    "settings_module": str,
    "processes": DESCRIPTION["processes?"][1],
    "manager": str,
    "restart": [[str]],
    "health": (
        None,
        {
            "path": str,
            "host": (None, str),
            "status": (None, int),
            "timeout": float,
            "headers": {str: str},
        },
    ),
    "tools?": {str: str},
}


class Layout:
    """The folders of one ROOT."""

    def __init__(self, root: str) -> None:
        if not os.path.isabs(root):
            raise Failure("BadRequest", f"ROOT must be an absolute path, not {root!r}")
        self.root = Path(os.path.normpath(root))
        self.releases = self.root / "releases"
        self.shared = self.root / "shared"
        self.run = self.root / "run"
        self.private = self.root / ".deploy"
        self.current = self.root / "current"

    def create(self) -> None:
        """Make the folders; existing ones keep their modes, so that a user may change them."""
        try:
            for folder in (self.root, self.releases, self.shared, self.run):
                folder.mkdir(mode=0o755, parents=folder == self.root, exist_ok=True)
            self.private.mkdir(mode=0o700, exist_ok=True)
            self._keep_reserve()
        except OSError as error:
            raise self._unfit("cannot create", Path(error.filename), error.strerror) from None

    def obstacle(self) -> Failure | None:
        """Why a deployment could not write here, as far as one sees without trying."""
        for folder in (self.root, self.releases, self.run, self.private):
            there = folder
            while not os.path.exists(there):
                there = there.parent
            if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
                what = "cannot write to" if there == folder else "cannot create"
                return self._unfit(what, folder, _why_not_writable(there))
        return self._foreign_entry()

    def _foreign_entry(self) -> Failure | None:
        """What lies in our own folder and is somebody else's: root has been there, say."""
        with suppress(OSError):
            for path in sorted(self.private.iterdir()):
                if os.geteuid() not in (0, path.lstat().st_uid):
                    command = shlex.join(["chown", "-R", f"{user_name()}:", os.path.realpath(self.private)])
                    message = f"{path} belongs to somebody else"
                    return Failure("HostUnfit", message, f"On the host, as root: {command}")
        return None

    def _unfit(self, what: str, path: Path, why: str | None) -> Failure:
        remedy = READ_ONLY_REMEDY if why == os.strerror(errno.EROFS) else self._remedy(path)
        return Failure("HostUnfit", f"{what} {path}: {why}", remedy)

    def _remedy(self, path: Path) -> str:
        """The command that lets us use ``path``: of ROOT itself, or of what is in the way below it."""
        while not os.path.exists(path):
            path = path.parent
        if path != self.root and self.root not in path.parents:
            command = shlex.join(["install", "-d", "-o", user_name(), str(self.root)])
            return f"On the host, as root: {command}"
        if not path.is_dir():
            return "Move it out of the way: " + shlex.join(["mv", str(path), f"{path}.old"])
        folder = os.path.realpath(path)
        if os.stat(folder).st_uid == os.geteuid():
            return "On the host: " + shlex.join(["chmod", "u+rwx", folder])
        return "On the host, as root: " + shlex.join(["chown", f"{user_name()}:", folder])

    def _keep_reserve(self) -> None:
        """Some blocks and inodes to give up: so that a deployment can be undone on a disk that is full."""
        folder = self.private / "reserve"
        folder.mkdir(exist_ok=True)
        with suppress(OSError):
            for number in range(RESERVED_FILES):
                path = folder / str(number)
                if not path.exists():
                    path.write_bytes(os.urandom(RESERVED_BYTES))

    def give_up_reserve(self) -> None:
        """Until the next ``create``."""
        shutil.rmtree(self.private / "reserve", ignore_errors=True)

    def inside(self, *parts: str) -> Path:
        """The one function that joins names from elsewhere to ROOT; refuses to leave it."""
        path = Path(os.path.normpath(self.root.joinpath(*parts)))
        if self.root not in path.parents:
            raise Failure("BadRequest", f"{os.path.join(*parts)!r} is not inside {self.root}")
        return path

    def release(self, id: str) -> Release:
        if not RELEASE_ID.fullmatch(id):
            raise Failure("BadRequest", f"{id!r} is not a release id")
        return Release(self.inside("releases", id))

    def all_releases(self) -> list[Release]:
        """Every release, oldest first; whatever else lies in the folder is left alone."""
        if not self.releases.is_dir():
            return []
        names = sorted(entry.name for entry in self.releases.iterdir() if entry.is_dir())
        return [Release(self.releases / name) for name in names if RELEASE_ID.fullmatch(name)]

    def live(self) -> str | None:
        """The id of the release that ``current`` points to; where somebody has removed or replaced that link,
        of the one that was marked as live.
        """
        try:
            name = Path(os.readlink(self.current)).name
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOENT):
                raise self._unfit("cannot read", self.current, error.strerror) from None
            marked = [release.id for release in self.all_releases() if release.state == LIVE]
            if not marked and error.errno == errno.EINVAL:
                raise Failure(
                    "HostUnfit",
                    f"{self.current} is not a symbolic link",
                    "Move it out of the way: " + shlex.join(["mv", str(self.current), f"{self.current}.old"]),
                ) from None
            return marked[-1] if marked else None
        return name if RELEASE_ID.fullmatch(name) else None

    def links_to(self, release: str | None) -> bool:
        """Whether ``current`` is as we make it for that release."""
        if release is None:
            return not os.path.lexists(self.current)
        return self.current.is_symlink() and os.readlink(self.current) == f"releases/{release}"

    def put_aside(self, path: Path) -> Path | None:
        """Rename a file or folder that is where a link of ours belongs, and give its new name.

        None where there is no such thing. It is somebody's: it is never deleted.
        """
        if path.is_symlink() or not (path.is_dir() or path.is_file()):
            return None
        names = (path.with_name(f"{path.name}.aside-{number}") for number in count(1))
        aside = next(name for name in names if not os.path.lexists(name))
        os.rename(path, aside)
        return aside

    def point(self, link: Path, to: str | None) -> None:
        """Switch ``link`` in one step (rename(2)), unless it is so already; None removes it."""
        if to is None:
            link.unlink(missing_ok=True)
            return
        if link.is_symlink() and os.readlink(link) == to:
            return
        fresh = link.with_name(f".{link.name}.new")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(to)
        os.replace(fresh, link)

    def delete_discarded(self) -> str:
        """Delete what was discarded, as far as it goes; others may do so, too. Gives what hindered it."""
        hindrance = ""
        for folder in self.releases.glob(".*.deleted"):
            try:
                shutil.rmtree(folder)
            except FileNotFoundError:
                shutil.rmtree(folder, ignore_errors=True)
            except OSError as error:
                shutil.rmtree(folder, ignore_errors=True)
                hindrance = f"{error.strerror}; on the host, as root: rm -r {shlex.quote(str(folder))}"
        return hindrance

    def socket_link(self, process: str) -> Path:
        return self.inside("run", f"{process}.sock")

    def socket(self, process: str, release: str) -> Path:
        return self.inside("run", f"{process}.{release}.sock")


class Release:
    """One folder under ``releases/``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.id = path.name
        self.venv = path / "venv"
        self.python = self.venv / "bin" / "python"

    @property
    def state(self) -> str:
        """One of ``STATES``; a folder without a readable state is ``failed``."""
        written = self._written_state()
        return written if written in STATES else FAILED

    @property
    def has_known_state(self) -> bool:
        return self._written_state() in STATES

    def _written_state(self) -> str:
        try:
            return (self.path / "state").read_text(errors="replace").strip()
        except OSError:
            return ""

    def mark(self, state: str) -> None:
        """Nothing is written where it is so already, or where somebody has removed the release."""
        if self.path.is_dir() and self._written_state() != state:
            write_atomically(self.path / "state", state + "\n")

    @property
    def record(self) -> dict[str, Any]:
        """What ``release.json`` says; raises ``Failure`` when it cannot be read."""
        try:
            record = json.loads((self.path / "release.json").read_text())
        except (OSError, ValueError) as error:
            raise Failure("NoSuchRelease", f"release {self.id} is damaged: {error}") from None
        try:
            check(record, RECORD, "release.json")
        except ProtocolError as error:
            raise Failure("NoSuchRelease", f"release {self.id} is damaged: {error}") from None
        assert isinstance(record, dict)
        return record

    @property
    def known_record(self) -> dict[str, Any]:
        """The same, but empty where the release is gone or damaged."""
        try:
            return self.record
        except Failure:
            return {}

    @property
    def site(self) -> dict[str, Any]:
        """What the site said of itself in its preflight; empty when it never came so far."""
        try:
            site = json.loads((self.path / "site.json").read_text())
        except (OSError, ValueError):
            return {}
        return site if isinstance(site, dict) else {}

    @property
    def deferred(self) -> list[dict[str, Any]]:
        """The steps whose ``migrations`` wait until the release is confirmed, or that failed then."""
        try:
            steps = json.loads((self.path / "deferred.json").read_text())
        except (OSError, ValueError):
            return []
        return steps if isinstance(steps, list) else []

    def defer(self, step: dict[str, Any] | None) -> None:
        """Let one more step wait; None: all were run."""
        file = self.path / "deferred.json"
        if step is None:
            file.unlink(missing_ok=True)
        else:
            write_atomically(file, json.dumps([*self.deferred, step]))

    def tear(self, names: Sequence[str]) -> None:
        """Note of what waits still that a part of these may have been applied."""
        steps = [
            {**step, "begun": [name for name in step["migrations"] if name in names]}
            for step in self.deferred
        ]
        write_atomically(self.path / "deferred.json", json.dumps(steps))

    @property
    def begun(self) -> list[str]:
        """The migrations of which a part may have been applied after it was confirmed."""
        return [name for step in self.deferred for name in step.get("begun", ())]

    def discard(self) -> None:
        """Take it away in one step; what is left of it is deleted at leisure, and at the next chance."""
        os.replace(self.path, self.path.with_name(f".{self.id}.deleted"))


def write_atomically(path: Path, text: str, mode: int = 0o644) -> None:
    """Write beside, sync, rename: readers see the old or the new file, also after a crash."""
    descriptor, name = tempfile.mkstemp(dir=str(path.parent), prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape") as file:
            os.fchmod(file.fileno(), mode)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def _why_not_writable(path: Path) -> str:
    if not path.is_dir():
        return os.strerror(errno.ENOTDIR)
    is_read_only = os.statvfs(path).f_flag & os.ST_RDONLY
    return os.strerror(errno.EROFS if is_read_only else errno.EACCES)
