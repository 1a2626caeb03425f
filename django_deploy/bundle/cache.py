"""What is kept between deployments: small records by key, and files by name, written atomically."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django_deploy.exceptions import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator


def default_cache() -> Path:
    """The user's cache folder of django-deploy, which is made; ``ConfigError`` where it cannot be."""
    from platformdirs import user_cache_path

    folder = user_cache_path("django-deploy")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"The cache folder {folder} cannot be made: {error.strerror}.",
            remedy="Name one that you may write to in the variable XDG_CACHE_HOME.",
        ) from None
    return folder


def digest(*parts: object) -> str:
    """A key of several parts: sha256, as hex."""
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()


def read_record(file: Path) -> Any:
    """The value that ``write_record`` has put there; None when there is none or it is damaged."""
    try:
        return json.loads(file.read_bytes())
    except (OSError, ValueError):
        return None


def write_record(file: Path, value: object) -> None:
    """Puts a JSON value into a file: readers see the old or the new one, never a part."""
    with write_aside(file) as aside:
        aside.write_text(json.dumps(value), encoding="utf-8")


@contextmanager
def write_aside(file: Path) -> Iterator[Path]:
    """A temporary name beside ``file`` that replaces it when the block ends well."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name[:40]}.")
    os.close(handle)
    aside = Path(name)
    try:
        yield aside
        aside.replace(file)
    finally:
        aside.unlink(missing_ok=True)


def prune(folder: Path, record: str, *, unused_for: float) -> None:
    """Removes the subfolders whose ``record`` nobody has touched for so many seconds."""
    for file in folder.glob(f"*/{record}"):
        with suppress(OSError):  # another deployment may do the same
            if file.stat().st_mtime < time.time() - unused_for:
                shutil.rmtree(file.parent)


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Holds an exclusive lock, so that two deployments at once do not make the same thing twice."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def sha256_of(file: Path) -> str:
    """The digest of a file's contents, as hex."""
    digest = hashlib.sha256()
    with file.open("rb") as handle:
        while block := handle.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
