"""Deletes what no release needs any more."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from . import cache, history
from .layout import FAILED, LIVE, RELEASE_ID, RENEWED, RETIRED, Layout, Release
from .store import YOUNG, Store

#: Failed releases that are kept for inspection.
KEEP_FAILED = 2

#: A path in a release.
IN_RELEASE = re.compile(rf"/releases/({RELEASE_ID.pattern})\b")


def prune(layout: Layout, store: Store, keep: int) -> list[str]:
    """Discard old releases; gives the ids that went.

    ``keep`` counts the releases that were live once; neither failed ones nor those that somebody went back
    from push others out, nor do changes of the environment push out other code. The live one, the one to
    which ``deploy_rollback`` would go back, and those that any program still runs in, stay.
    """
    doomed = _doomed(layout, keep)
    ids = [release.id for release in doomed]
    kept = [release for release in layout.all_releases() if release.id not in ids]
    unshared = cache.distributions(doomed) - cache.distributions(kept) if doomed else set()
    wheels = _wheels(doomed)
    for release in doomed:
        release.discard()
    tools = {Path(path).name for release in kept for path in release.known_record.get("tools", {}).values()}
    _prune_tools(layout, tools)
    store.prune(tools | _wheels(kept), wheels)
    cache.forget(layout, ids, unshared)
    return ids


def _doomed(layout: Layout, keep: int) -> list[Release]:
    releases, live = layout.all_releases(), layout.live() or ""
    good = [release for release in releases if release.state in (LIVE, RETIRED)]
    failed = [release for release in releases if release.state == FAILED]
    renewed = [release for release in releases if release.state == RENEWED]
    given_up = history.given_up(layout)
    sound = [release.id for release in good if release.id not in given_up]
    # A restart makes a release no newer than what it has made once more.
    codes = {release.id: release.known_record.get("same_as") or release.id for release in good}
    before_live = sorted(
        (name for name in sound if codes[name] < codes.get(live, live)), key=lambda name: (codes[name], name)
    )
    records = {release.id: release.known_record for release in good}
    newest_of = {_origin(records, name): name for name in sound}  # of each code, by age
    newest_codes = sorted(newest_of.values())[-keep:]
    newest = [*sound[-keep:], *newest_codes, *(release.id for release in good[-keep:])]
    needed = {live, *before_live[-1:], *newest} | in_use()
    return [release for release in good + renewed + failed[:-KEEP_FAILED] if release.id not in needed]


def _origin(records: Mapping[str, Mapping[str, Any]], name: str) -> str:
    """The release that was deployed, of one that a restart or a change of the environment made of it."""
    record = records.get(name, {})
    before = record.get("made_of") or record.get("same_as") or name
    return _origin(records, before) if before < name else name


def in_use() -> set[str]:
    """The releases that a program of this host runs in: a worker at its last job, somebody's cron job.

    Programs may change their command line, and few their folder.
    """
    found: set[str] = set()
    for folder in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError), open(f"/proc/{folder}/cmdline", errors="replace") as file:
            found.update(IN_RELEASE.findall(file.read()))
            found.update(IN_RELEASE.findall(os.readlink(f"/proc/{folder}/cwd")))
    return found


def _wheels(releases: Iterable[Release]) -> set[str]:
    return {wheel["sha256"] for release in releases for wheel in release.known_record.get("wheels", ())}


def _prune_tools(layout: Layout, wanted: set[str]) -> None:
    folder = layout.private / "tools"
    for tool in folder.iterdir() if folder.is_dir() else ():
        with suppress(FileNotFoundError):  # it has just been unpacked, and got its name
            # Who asks what would change unpacks some, too, and has no lock.
            is_young = abs(time.time() - tool.stat().st_mtime) < YOUNG
            # A supervisord runs for as long as the host does, and from the folder that it was started in.
            if tool.name not in wanted and not is_young and not (tool / "supervisor").is_dir():
                shutil.rmtree(tool)


def note_cleanup(layout: Layout, hindrance: str) -> None:
    """For the next deployment to warn of: the deployer of this one has left, or waits for no such thing."""
    notice = layout.private / "cleanup-failed"
    with suppress(OSError):
        if hindrance:
            notice.write_text(f"old releases could not be removed: {hindrance}\n")
        else:
            notice.unlink(missing_ok=True)
