from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest

from django_deploy.host import history
from django_deploy.host.layout import FAILED, LIVE, RETIRED, Layout
from django_deploy.host.pruning import prune
from django_deploy.host.store import YOUNG, Store
from tests.release_record import RECORD


@pytest.fixture
def site(tmp_path):
    return Layout(str(tmp_path / "site"))


def add(layout, hour, state, **record):
    layout.create()
    release = layout.release(f"20261122T{hour:02}0000Z-3f9c2a1")
    release.path.mkdir()
    release.mark(state)
    (release.path / "release.json").write_text(json.dumps({**RECORD, "tools": {}, "wheels": [], **record}))
    if state == LIVE:
        layout.point(layout.current, f"releases/{release.id}")
    return release.id


def kept(layout):
    return [release.id for release in layout.all_releases()]


def test_the_newest_successful_releases_stay(site):
    ids = [add(site, hour, RETIRED) for hour in range(6)] + [add(site, 6, LIVE)]

    removed = prune(site, Store(site), 3)

    assert removed == ids[:4]
    assert kept(site) == ids[4:]


def test_failed_releases_push_nothing_out(site):
    good = [add(site, hour, RETIRED) for hour in range(3)]
    failed = [add(site, hour, FAILED) for hour in range(3, 12)]
    live = add(site, 12, LIVE)

    prune(site, Store(site), 5)

    assert kept(site) == [*good, *failed[-2:], live]


def test_the_live_release_and_its_predecessor_stay_after_a_rollback(site):
    ids = [add(site, hour, LIVE if hour == 2 else RETIRED) for hour in range(8)]

    prune(site, Store(site), 2)

    assert kept(site) == [ids[1], ids[2], ids[6], ids[7]]


def test_releases_that_somebody_went_back_from_push_nothing_out(site):
    first = add(site, 0, RETIRED)
    bad = []
    for hour in (1, 2, 3):
        bad.append(add(site, hour, RETIRED))
        history.append(site, {"action": "deploy", "release": bad[-1], "previous": first})
        history.append(site, {"action": "rollback", "release": first, "previous": bad[-1]})
    live = add(site, 4, LIVE)
    history.append(site, {"action": "deploy", "release": live, "previous": first})

    prune(site, Store(site), 2)

    assert kept(site) == [first, bad[-1], live]


def test_a_restart_makes_no_release_newer(site):
    """The first was restarted after the second had been live, which was so again before the last."""
    first, second = (add(site, hour, RETIRED) for hour in (0, 1))
    add(site, 2, RETIRED, same_as=first)
    last = add(site, 3, LIVE)

    prune(site, Store(site), 1)

    assert kept(site) == [second, last]


def test_changes_of_the_environment_push_no_other_code_out(site):
    older, old, changed = (add(site, hour, RETIRED) for hour in range(3))
    for hour in range(3, 7):
        last = changed
        changed = add(site, hour, RETIRED, made_of=last)
    live = add(site, 7, LIVE, made_of=changed)

    prune(site, Store(site), 2)

    assert kept(site) == [old, changed, live]
    assert older not in kept(site)


def test_one_release_to_keep_is_two(site):
    ids = [add(site, hour, RETIRED) for hour in range(3)] + [add(site, 3, LIVE)]

    prune(site, Store(site), 1)

    assert kept(site) == ids[2:]


@pytest.mark.parametrize("state", [RETIRED, FAILED])
def test_a_release_that_a_program_runs_in_stays(site, state):
    ids = [add(site, hour, state) for hour in range(5)] + [add(site, 5, LIVE)]
    in_folder = subprocess.Popen(["sleep", "60"], cwd=site.release(ids[0]).path)
    argv = [sys.executable, "-c", "print(flush=True); input()", f"{site.release(ids[1]).path}/manage.py"]
    by_name = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    by_name.stdout.readline()  # it runs under its own name

    removed = prune(site, Store(site), 1)

    for process in (in_folder, by_name):
        process.kill()
        process.communicate()
    assert set(ids[:3]) - set(removed) == set(ids[:2])
    assert set(prune(site, Store(site), 1)) == set(ids[:2])


def test_a_tool_stays_while_a_release_was_installed_with_it(site):
    add(site, 0, LIVE, tools={"uv": "/srv/site/.deploy/tools/" + "a" * 64})
    tools = site.private / "tools"
    for name in ("a" * 64, "b" * 64, "c" * 64 + "/supervisor"):
        (tools / name).mkdir(parents=True)
    age(tools)

    prune(site, Store(site), 5)

    assert sorted(path.name for path in tools.iterdir()) == ["a" * 64, "c" * 64]


def age(tools):
    then = time.time() - 2 * YOUNG
    for tool in tools.iterdir():
        os.utime(tool, (then, then))


def test_a_tool_stays_that_somebody_may_just_be_about_to_use(site):
    """A rehearsal has no lock, and no release here."""
    tools = site.private / "tools"
    cut_off = tools / f".{'a' * 64}.4242"
    cut_off.mkdir(parents=True)
    age(tools)
    for name in (f".{'b' * 64}.4242", "b" * 64):
        (tools / name).mkdir()

    prune(site, Store(site), 5)

    assert sorted(path.name for path in tools.iterdir()) == [f".{'b' * 64}.4242", "b" * 64]


def test_a_damaged_record_stops_nothing(site):
    id = add(site, 0, LIVE)
    (site.release(id).path / "release.json").write_text("{")

    assert prune(site, Store(site), 5) == []


def stored(site, sha256):
    path = site.private / "store" / sha256 / "shop-1.0-py3-none-any.whl"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x")
    return path


def test_a_wheel_goes_with_the_last_release_that_has_it(site):
    wheels = {name: {"name": "shop", "sha256": name * 64} for name in "abc"}
    add(site, 1, RETIRED, wheels=[wheels["a"], wheels["b"]])
    add(site, 2, RETIRED, wheels=[wheels["b"]])
    add(site, 3, LIVE, wheels=[wheels["c"]])
    files = {name: stored(site, name * 64) for name in "abcd"}  # d was sent by one that failed

    prune(site, Store(site), 2)

    assert [name for name, file in files.items() if file.exists()] == ["b", "c", "d"]
