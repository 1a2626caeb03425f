"""Modes and groups of the site's files; Django's own permissions and content types.

The files may be in the reach of others (uploads, a group that writes), so each is opened without
following a link and is judged, and changed, by that descriptor: what is swapped meanwhile for a link
to somewhere else is not touched.
"""

from __future__ import annotations

import errno
import os
import pwd
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib.auth.management import create_permissions
from django.contrib.contenttypes.management import create_contenttypes
from django.db import connections, router, transaction

#: Paths that a reply names at most; ``Outcome.skipped`` has them all.
NAMED = 100

# On Linux a descriptor without the right to read is enough, so that files which their owner may not
# read are fixed too; what it stands for is changed by its name under /proc. Elsewhere it must be readable.
PATH_ONLY = getattr(os, "O_PATH", 0)

#: Links (the BSDs say EMLINK) and sockets cannot be opened for reading without following them.
NO_FILES = (errno.ELOOP, errno.EMLINK, errno.ENXIO, errno.EOPNOTSUPP)


@dataclass
class Outcome:
    """What was done: ``changed`` counts files and folders; ``skipped`` maps the path of each that is
    not as it should be, and was left, to the reason; ``created`` counts permissions and content types.
    """

    changed: int = 0
    skipped: dict[str, str] = field(default_factory=dict)
    created: int = 0

    def as_dict(self) -> dict[str, Any]:
        return {
            "changed": self.changed,
            "skipped": list(self.skipped)[:NAMED],
            "created": self.created,
        }


@dataclass(frozen=True)
class Wanted:
    """What files and folders should have; ``group`` is a gid, None leaves the group."""

    file_mode: int
    folder_mode: int
    group: int | None = None

    @classmethod
    def from_settings(cls, group: int | None = None) -> Wanted:
        """Django's modes for uploads, or 0644 and 0755 where it leaves them to the umask."""
        return cls(
            file_mode=_or(settings.FILE_UPLOAD_PERMISSIONS, 0o644),
            folder_mode=_or(settings.FILE_UPLOAD_DIRECTORY_PERMISSIONS, 0o755),
            group=group,
        )

    def mode(self, status: os.stat_result) -> int:
        """A folder's set-group-id bit is someone's decision about new files, and stays."""
        if stat.S_ISDIR(status.st_mode):
            return self.folder_mode | (status.st_mode & stat.S_ISGID)
        return self.file_mode

    def is_met_by(self, status: os.stat_result) -> bool:
        right_group = self.group is None or status.st_gid == self.group
        return right_group and stat.S_IMODE(status.st_mode) == self.mode(status)


def _or(mode: int | None, default: int) -> int:
    return default if mode is None else mode


class Fixer:
    """Brings trees of files to what is wanted; a dry run only counts."""

    def __init__(self, wanted: Wanted, outcome: Outcome, *, is_dry_run: bool = False) -> None:
        self.wanted = wanted
        self.outcome = outcome
        self.is_dry_run = is_dry_run

    def fix(self, root: Path) -> None:
        """Everything under ``root``, and itself; the root alone may be a link to a folder."""
        root = root.resolve()
        with _opened(str(root)) as descriptor:
            self._fix_entry(descriptor, root)

    def _fix_entry(self, descriptor: int, path: Path) -> None:
        status = os.fstat(descriptor)
        is_folder = stat.S_ISDIR(status.st_mode)
        if not is_folder and not stat.S_ISREG(status.st_mode):
            return  # links, sockets, pipes
        if not self.wanted.is_met_by(status):
            self._change(descriptor, path, status)
        if is_folder:
            self._fix_contents(descriptor, path)

    def _change(self, descriptor: int, path: Path, status: os.stat_result) -> None:
        reason = _reason_to_leave(status)
        if not reason and not self.is_dry_run:
            reason = self._set(descriptor, status)
        if reason:
            self.outcome.skipped[str(path)] = reason
        else:
            self.outcome.changed += 1

    def _set(self, descriptor: int, status: os.stat_result) -> str:
        """Nothing when it worked, else the reason why not."""
        target = f"/proc/self/fd/{descriptor}" if PATH_ONLY else descriptor
        try:
            if self.wanted.group is not None:
                os.chown(target, -1, self.wanted.group)
            os.chmod(target, self.wanted.mode(status))  # last: a change of group may clear bits
        except OSError as error:
            return _reason(error)
        return ""

    def _fix_contents(self, descriptor: int, path: Path) -> None:
        try:
            folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=descriptor)
        except OSError as error:
            self.outcome.skipped[str(path)] = _reason(error)
            return
        try:
            for name in sorted(os.listdir(folder)):
                self._fix_name(name, path / name, folder)
        finally:
            os.close(folder)

    def _fix_name(self, name: str, path: Path, folder: int) -> None:
        try:
            with _opened(name, folder) as descriptor:
                self._fix_entry(descriptor, path)
        except FileNotFoundError:
            pass  # the site is live: uploads come and go
        except OSError as error:
            if error.errno not in NO_FILES:
                self.outcome.skipped[str(path)] = _reason(error)


@contextmanager
def _opened(name: str, folder: int | None = None) -> Iterator[int]:
    way = PATH_ONLY or os.O_RDONLY | os.O_NONBLOCK
    descriptor = os.open(name, way | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _reason_to_leave(status: os.stat_result) -> str:
    if status.st_uid != os.geteuid():
        return f"belongs to {user_name(status.st_uid)}"
    if stat.S_ISREG(status.st_mode) and status.st_nlink > 1:
        # The other name may be anything: a private key that someone has linked into the uploads.
        return "has a second name, a hard link that may lie anywhere"
    return ""


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def user_name(uid: int) -> str:
    """The name of a user for people; one without a name is called by the number."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def file_roots() -> list[Path]:
    """STATIC_ROOT and MEDIA_ROOT, those that are set and exist."""
    roots = [Path(root) for root in (settings.STATIC_ROOT, settings.MEDIA_ROOT) if root]
    return [root for root in roots if root.is_dir()]


def is_too_wide(root: Path) -> bool:
    """Whether ``root`` holds a home folder: 0644 would open its keys to all, and sshd would refuse."""
    home = Path.home().resolve()
    return root.resolve() in (home, *home.parents)


def create_permissions_and_types(*, is_dry_run: bool = False) -> int:
    """Creates what ``migrate`` would have, had it run with all of today's apps; answers how many.

    On every database whose tables of django.contrib.contenttypes and django.contrib.auth are there.
    """
    if not apps.is_installed("django.contrib.contenttypes"):
        return 0
    return sum(_create_on(alias, is_dry_run=is_dry_run) for alias in connections)


def _create_on(alias: str, *, is_dry_run: bool) -> int:
    models = _models_on(alias)
    if not models:
        return 0
    with transaction.atomic(using=alias):
        before = _rows(models, alias)
        for app in apps.get_app_configs():
            create_contenttypes(app, verbosity=0, interactive=False, using=alias)
            if len(models) == 2:
                create_permissions(app, verbosity=0, interactive=False, using=alias)
        created = _rows(models, alias) - before
        transaction.set_rollback(is_dry_run, using=alias)
    models[0]._default_manager.clear_cache()  # its entries may have been rolled back
    return created


def _models_on(alias: str) -> list[Any]:
    """ContentType and Permission, as far as the database has their tables."""
    names = ["contenttypes.ContentType"]
    if apps.is_installed("django.contrib.auth"):
        names.append("auth.Permission")
    models = [model for model in map(apps.get_model, names) if router.allow_migrate_model(alias, model)]
    if not models:
        return []
    tables = connections[alias].introspection.table_names()
    return list(takewhile(lambda model: model._meta.db_table in tables, models))


def _rows(models: list[Any], alias: str) -> int:
    return sum(model._default_manager.using(alias).count() for model in models)
