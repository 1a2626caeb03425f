"""uv's cache under ROOT: what only deleted releases had goes with them.

uv unpacks a wheel once, into ``archive-v*/<id>``, and links its files into each virtualenv: they are the same
inodes. Links lead there from the other folders of the cache, with files of the same name beside them. What it
has found out about an interpreter, it keeps by its path: one file for each virtualenv.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from .layout import Layout, Release

Inode = tuple[int, int]


def distributions(releases: Iterable[Release]) -> set[Inode]:
    """What tells which unpacked wheels these releases share: the files with their metadata."""
    folders = (site for release in releases for site in release.venv.glob("lib/python*/site-packages"))
    return {inode for folder in folders for inode in _metadata(folder)}


def forget(layout: Layout, releases: Iterable[str], gone: set[Inode]) -> None:
    """Delete what is known of these releases' interpreters, and the unpacked wheels with this metadata."""
    cache = layout.private / "cache" / "uv"
    places = [os.fsencode(f"{layout.releases}/{release}/") for release in releases]
    for file in cache.glob("interpreter-v*/*/*.msgpack"):
        content = file.read_bytes()
        if any(place in content for place in places):
            file.unlink()
    _forget_wheels(cache, gone)


def _forget_wheels(cache: Path, gone: set[Inode]) -> None:
    """With the links to them."""
    doomed = {archive.name for archive in cache.glob("archive-v*/*") if gone.intersection(_metadata(archive))}
    for link in _links(cache) if doomed else ():
        if os.path.basename(os.readlink(link)) in doomed:
            _delete_link(link, cache)
    for archive in cache.glob("archive-v*/*"):
        if archive.name in doomed:
            shutil.rmtree(archive)


def _metadata(folder: Path) -> Iterator[Inode]:
    for file in folder.glob("*.dist-info/METADATA"):
        with suppress(OSError):
            found = file.stat()
            yield found.st_dev, found.st_ino


def _links(cache: Path) -> list[Path]:
    """Those that lead to unpacked wheels."""
    found = []
    for folder, folders, files in os.walk(cache):
        if Path(folder) == cache:
            folders[:] = [name for name in folders if not name.startswith("archive-v")]
        found += [path for name in folders + files if (path := Path(folder, name)).is_symlink()]
    return found


def _delete_link(link: Path, cache: Path) -> None:
    """With its like-named neighbours, and the folders that are empty then."""
    for neighbour in link.parent.iterdir():
        if neighbour == link or neighbour.name in {
            link.name + end for end in (".rev", ".http", ".lock", ".msgpack")
        }:
            neighbour.unlink()
    folder = link.parent
    while folder != cache and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent
