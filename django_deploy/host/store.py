"""The content-addressed store: ``.deploy/store/<sha256>/<file name>``."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import threading
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Any, Union

from .delta import DeltaError, rebuild
from .layout import SHA256, Layout
from .link import BlobReader
from .protocol import Failure

#: Seconds for which a received file stays, wanted or not: a deployment that failed is soon tried again.
YOUNG = 24 * 3600.0

#: Seconds between two orders to write to the disk what has been received.
SYNC_INTERVAL = 1.0

#: Seconds between two looks whether the link is lost.
WAKE_INTERVAL = 0.2

#: Bytes of a file that one reply carries: a third less than its line, which is bounded.
FETCHED = 1 << 20

FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]*")


class Store:
    """Files by the hash of their content; what has its name there is whole.

    A file that arrives has a temporary name until it is asked for: then its content is hashed, once.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.folder = layout.private / "store"
        self.refused: dict[str, Failure] = {}
        self._arrived: dict[str, str] = {}  # sha256 to name
        self._hashed: set[str] = set()
        self._sound: set[str] = set()
        self._awaited: set[str] = set()
        self._change = threading.Condition()

    def receive(self, header: dict[str, Any], blob: BlobReader) -> str:
        """Take a blob, or make a file from a recipe; a failure is kept for ``path`` to raise.

        The bytes that are not used are read away. Gives why the whole file must be sent instead of the
        recipe, empty when all is well; ``wait`` waits for it.
        """
        sha256, name, why = str(header["blob"]), str(header.get("name")), ""
        self.refused.pop(sha256, None)
        try:
            self._write(sha256, name, self._rebuilt(header, blob) if "base" in header else blob.pieces())
            self._arrived[sha256] = name
        except DeltaError as error:
            why = str(error)
        except Failure as failure:
            self.refused[sha256] = failure
        except OSError as error:
            self.refused[sha256] = self._not_stored(name, error)
        blob.drain()
        with self._change:
            (self._awaited.add if why else self._awaited.discard)(sha256)
            self._change.notify_all()
        return why

    def miss(self, sha256: str, name: str) -> str:
        """Why a file that should be here must come again, empty when it is whole; ``wait`` waits for it."""
        if sha256 in self.refused or sha256 in self._awaited:
            return ""
        try:
            self.path(sha256, name)
        except Failure as failure:
            if failure.type != "StoreCorrupt":
                raise
            with self._change:
                self._awaited.add(sha256)
            return failure.message
        return ""

    def wait(self, lost: threading.Event) -> None:
        """Until every file that must come as a whole has come; raises ``Failure`` once the link is lost."""
        with self._change:
            while self._awaited:
                if lost.is_set():
                    raise Failure("Aborted", "the link was lost before all files had come")
                self._change.wait(WAKE_INTERVAL)

    def _write(self, sha256: str, name: str, pieces: Iterator[Union[bytes, memoryview]]) -> None:
        if not SHA256.fullmatch(sha256) or not FILE_NAME.fullmatch(name):
            raise Failure("BadRequest", f"not an artifact: {sha256!r} {name!r}")
        part = self._part(sha256)
        part.parent.mkdir(parents=True, exist_ok=True)
        self._hashed.discard(sha256)
        try:
            with part.open("wb", buffering=0) as file, _busy_disk(file.fileno()):
                for piece in pieces:
                    _write_all(file, memoryview(piece))
        except BaseException:
            part.unlink(missing_ok=True)
            raise

    def _rebuilt(self, header: dict[str, Any], blob: BlobReader) -> Iterator[bytes]:
        """The file that a recipe makes of its base; raises ``DeltaError`` when it is another one."""
        sha256, base = str(header["blob"]), str(header["base"])
        digest = hashlib.sha256()
        with self._open(base) as file:
            for piece in rebuild(file, blob.pieces(), int(header["whole"])):
                digest.update(piece)
                yield piece
                blob.seen()  # what takes long is our disk, and not the deployer
        if digest.hexdigest() != sha256:
            self._remove_damaged(base)
            raise DeltaError("what came out is not the file")
        self._hashed.add(sha256)

    def _open(self, sha256: str) -> FileIO:
        """The file of that hash, as far as its name says; raises ``DeltaError``."""
        try:
            return self._file(sha256).open("rb", buffering=0)
        except OSError as error:
            raise DeltaError(f"the base cannot be read: {error.strerror}") from None

    def _file(self, sha256: str) -> Path:
        folder = self.folder / sha256
        names = os.listdir(folder) if SHA256.fullmatch(sha256) and folder.is_dir() else []
        for name in names:
            if not name.startswith(".part-"):
                return folder / name
        raise DeltaError("the base is not in the store")

    def _remove_damaged(self, sha256: str) -> None:
        path = self._file(sha256)
        try:
            is_whole = sha256_of(path) == sha256
        except OSError:
            is_whole = False
        if not is_whole:
            shutil.rmtree(path.parent, ignore_errors=True)
            raise DeltaError("the base was damaged on the host's disk and removed")

    def _part(self, sha256: str) -> Path:
        return self.layout.inside(".deploy", "store", sha256, f".part-{os.getpid()}")

    def path(self, sha256: str, name: str) -> Path:
        """The file, checked against its hash; raises what went wrong when it was received."""
        if sha256 in self.refused:
            raise self.refused[sha256]
        path = self.layout.inside(".deploy", "store", sha256, name)
        if self._arrived.pop(sha256, None):
            self._admit(sha256, path)
            self._sound.add(sha256)
        if sha256 in self._sound:
            return path
        try:
            digest = sha256_of(path)
        except OSError as error:
            message = f"{name} cannot be read in the host's store: {error.strerror}"
            raise Failure("StoreCorrupt", message, "Deploy again.") from None
        if digest != sha256:
            shutil.rmtree(path.parent, ignore_errors=True)
            raise Failure(
                "StoreCorrupt", f"{name} was damaged on the host's disk and removed", "Deploy again."
            )
        self._sound.add(sha256)
        return path

    def _admit(self, sha256: str, path: Path) -> None:
        """Give a file its name, once it is what was announced and on the disk."""
        part = self._part(sha256)
        try:
            if sha256 not in self._hashed and sha256_of(part) != sha256:
                raise Failure("StoreCorrupt", f"{path.name} arrived damaged", "Deploy again.")
            with part.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(part, path)
        except OSError as error:
            raise self._not_stored(path.name, error) from None
        finally:
            part.unlink(missing_ok=True)

    def keep_arrived(self) -> None:
        """Keep what nobody asked for: a deployment that failed is soon tried again."""
        for sha256, name in [*self._arrived.items()]:
            with suppress(Failure):
                self.path(sha256, name)

    def _not_stored(self, name: str, error: OSError) -> Failure:
        return Failure("NoSpace", f"cannot store {name}: {error.strerror}", _space_remedy(self.folder))

    def fetch(self, sha256: str, name: str, offset: int) -> dict[str, Any]:
        """A piece of a stored file; whoever asks for it checks its hash."""
        if not SHA256.fullmatch(sha256) or not FILE_NAME.fullmatch(name):
            raise Failure("BadRequest", f"not an artifact: {sha256!r} {name!r}")
        return read_piece(self.layout.inside(".deploy", "store", sha256, name), offset)

    def names(self) -> list[str]:
        """The sha256 of every file that is whole."""
        return [
            folder.name
            for folder in self._folders()
            if any(not name.startswith(".part-") for name in os.listdir(folder))
        ]

    def prune(self, wanted: Iterable[str], dropped: Collection[str] = ()) -> None:
        """Delete what no release needs: what was ``dropped`` with its release at once, the rest when old.

        What no release had yet, a deployment has sent that failed, or does so just now.
        """
        kept = set(wanted)
        for folder in self._folders():
            is_old = folder.name in dropped or abs(time.time() - folder.stat().st_mtime) > YOUNG
            if folder.name not in kept and is_old:
                shutil.rmtree(folder)

    def _folders(self) -> list[Path]:
        names = os.listdir(self.folder) if self.folder.is_dir() else []
        return [self.layout.inside(".deploy", "store", name) for name in names if SHA256.fullmatch(name)]


def _write_all(file: FileIO, data: memoryview) -> None:
    while data:
        data = data[file.write(data) :]


@contextmanager
def _busy_disk(descriptor: int) -> Iterator[None]:
    """The disk works on what is written in the block while more of it comes."""
    ended = threading.Event()
    errors: list[OSError] = []

    def sync() -> None:
        try:
            while not ended.wait(SYNC_INTERVAL):
                os.fsync(descriptor)
        except OSError as error:
            errors.append(error)  # the kernel reports it only once

    syncing = threading.Thread(target=sync, daemon=True)
    syncing.start()
    try:
        yield
    finally:
        ended.set()
        syncing.join()
    if errors:
        raise errors[0]


def read_piece(path: Path, offset: int) -> dict[str, Any]:
    """As much of a file from ``offset`` on as one message carries, and the size of all of it."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        file.seek(offset)
        return {"size": size, "data": base64.b64encode(file.read(FETCHED)).decode()}


def sha256_of(path: Path) -> str:
    """Of the whole file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for data in iter(lambda: file.read(1 << 20), b""):
            digest.update(data)
    return digest.hexdigest()


def _space_remedy(folder: Path) -> str:
    try:
        free = shutil.disk_usage(folder.parent).free
    except OSError:
        return "Look at the host's disk."
    return f"{free // (1 << 20)} MB are free there; make room and deploy again."
