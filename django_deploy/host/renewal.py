"""Makes a release once more under another id, of links: nothing is built, and no network is needed."""

from __future__ import annotations

import os
import shutil

from .layout import Release

#: A program of this size is no script, in bytes.
LARGE = 1 << 20


def copy_release(old: Release, new: Release) -> None:
    """The same files, and the new id wherever a file names the folder that it lies in.

    Both ids have the same length, so nothing moves within a file. Installed files are links: nobody
    writes to them. What a plain project has beside its ``manage.py`` may be written to, and is copied.
    """
    for folder, folders, names in os.walk(old.path):
        inner = os.path.relpath(folder, old.path)
        os.makedirs(os.path.join(new.path, inner), exist_ok=True)
        shutil.copystat(folder, os.path.join(new.path, inner))
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        for name in (*names, *links):
            path, to = os.path.join(folder, name), os.path.join(new.path, inner, name)
            if os.path.islink(path):
                os.symlink(os.readlink(path).replace(old.id, new.id), to)
            elif _names_its_place(inner, name):
                _rewrite(path, to, old.id, new.id)
            elif inner.split(os.sep)[:2] == ["venv", "app"]:
                shutil.copy2(path, to)
            else:
                _link(path, to)


def _names_its_place(inner: str, name: str) -> bool:
    """Our own files, and of the virtualenv its scripts (their first line), its configuration, its paths."""
    in_place = {".", "venv", os.path.join("venv", "bin")}
    return inner in in_place or (name.endswith(".pth") and "site-packages" in inner)


def _rewrite(path: str, to: str, old: str, new: str) -> None:
    with open(path, "rb") as source:
        content = source.read()
    if old.encode() not in content and os.path.getsize(path) > LARGE:
        return _link(path, to)
    with open(to, "wb") as file:
        file.write(content.replace(old.encode(), new.encode()))
    return shutil.copystat(path, to)


def _link(path: str, to: str) -> None:
    try:
        os.link(path, to)
    except OSError:  # of another user, or with too many links already
        shutil.copy2(path, to)
