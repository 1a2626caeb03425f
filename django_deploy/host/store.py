"""The content-addressed store: ``.deploy/store/<sha256>/<file name>``."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any

from .layout import Layout
from .link import BlobReader
from .protocol import Failure

SHA256 = re.compile(r"[0-9a-f]{64}")
#: Seconds for which a received file stays, wanted or not: a deployment that failed is soon tried again.
YOUNG = 24 * 3600.0

#: Seconds between two orders to write to the disk what has been received.
SYNC_INTERVAL = 0.2

FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]*")


class Store:
    """Files by the hash of their content; what is in it is whole."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.folder = layout.private / "store"
        self.refused: dict[str, Failure] = {}

    def receive(self, header: dict[str, Any], blob: BlobReader) -> None:
        """Take a blob; a failure is kept for ``path`` to raise, and the bytes are read away."""
        sha256 = str(header["blob"])
        try:
            self._write(sha256, str(header.get("name")), blob)
            self.refused.pop(sha256, None)
        except Failure as failure:
            self.refused[sha256] = failure
        except OSError as error:
            self.refused[sha256] = Failure(
                "NoSpace", f"cannot store {header.get('name')}: {error.strerror}", _space_remedy(self.folder)
            )
        blob.drain()

    def _write(self, sha256: str, name: str, blob: BlobReader) -> None:
        if not SHA256.fullmatch(sha256) or not FILE_NAME.fullmatch(name):
            raise Failure("BadRequest", f"not an artifact: {sha256!r} {name!r}")
        folder = self.layout.inside(".deploy", "store", sha256)
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f".part-{os.getpid()}"
        digest = hashlib.sha256()
        try:
            with part.open("wb", buffering=0) as file, _on_disk(file.fileno()):
                for piece in blob.pieces():
                    digest.update(piece)
                    _write_all(file, piece)
            if digest.hexdigest() != sha256:
                raise Failure("StoreCorrupt", f"{name} arrived damaged", "Deploy again.")
            os.replace(part, folder / name)
        finally:
            part.unlink(missing_ok=True)

    def path(self, sha256: str, name: str) -> Path:
        """The file, checked against its hash; raises what went wrong when it was received."""
        if sha256 in self.refused:
            raise self.refused[sha256]
        path = self.layout.inside(".deploy", "store", sha256, name)
        try:
            digest = _sha256(path)
        except OSError as error:
            raise Failure(
                "StoreCorrupt", f"{name} is not in the store: {error.strerror}", "Deploy again."
            ) from None
        if digest != sha256:
            shutil.rmtree(path.parent, ignore_errors=True)
            raise Failure(
                "StoreCorrupt", f"{name} was damaged on the host's disk and removed", "Deploy again."
            )
        return path

    def names(self) -> list[str]:
        """The sha256 of every file that is whole."""
        if not self.folder.is_dir():
            return []
        return [
            entry.name
            for entry in os.scandir(self.folder)
            if SHA256.fullmatch(entry.name)
            and any(not n.startswith(".part-") for n in os.listdir(entry.path))
        ]

    def prune(self, wanted: Iterable[str]) -> None:
        """Delete what no release needs, but nothing young: another deployment may be sending it just now."""
        kept = set(wanted)
        for sha256 in self.names():
            folder = self.layout.inside(".deploy", "store", sha256)
            if sha256 not in kept and abs(time.time() - folder.stat().st_mtime) > YOUNG:
                shutil.rmtree(folder)


def _write_all(file: FileIO, data: memoryview) -> None:
    while data:
        data = data[file.write(data) :]


@contextmanager
def _on_disk(descriptor: int) -> Iterator[None]:
    """What is written in the block is on the disk after it; the disk works while more is coming."""
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
    os.fsync(descriptor)


def _sha256(path: Path) -> str:
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
