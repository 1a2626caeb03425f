from __future__ import annotations

import calendar
import time
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from django_deploy.bundle.delta import Delta
from django_deploy.bundle.fitting import HostBundle
from django_deploy.bundle.manifest import Manifest, Pin, Revision, Wheel
from django_deploy.bundle.plain.contents import Contents, File
from django_deploy.bundle.platforms import HostPlatform
from django_deploy.bundle.room import NO_ROOM, Room
from django_deploy.bundle.wheels.revision import Commits
from django_deploy.exceptions import HostError, RolloutFailed
from django_deploy.plan.fitness import platform_of, tools_needed
from django_deploy.plan.making import Shipment, make_plan
from django_deploy.plan.releases import fingerprint
from django_deploy.target import Batch, Host, Process, Step, Target

NOW = calendar.timegm((2026, 11, 22, 17, 45, 0))
ONE, TWO = Host("one.example.com", user="deploy"), Host("two.example.com")
TARGET = Target(
    name="staging",
    hosts=(ONE,),
    root=PurePosixPath("/srv/my site"),
    settings_module="shop.settings",
    processes=(Process("web", ("gunicorn", "shop.wsgi", "--bind", "unix:{socket}")),),
)
SHOP = Wheel("shop", "1.0", Path("/cache/shop-1.0-py3-none-any.whl"), "a" * 64, 2_000_000)
UV = Wheel("uv", "0.13.9", Path("/cache/uv-0.13.9-py3-none-manylinux_2_17_x86_64.whl"), "b" * 64, 18_000_000)
MANIFEST = Manifest(
    project="shop",
    version="1.0",
    python="3.11.7",
    wheels=(SHOP,),
    pins=(Pin("django", "5.2.19", ("c" * 64, "d" * 64)),),
    created=NOW,
    created_by="ann@laptop",
    revision=Revision("git", "3f9c2a1" + "0" * 33, "main", is_dirty=True),
)
PYTHON = {
    "version": [3, 11, 2],
    "implementation": "cpython",
    "machine": "x86_64",
    "system": "linux",
    "glibc": "2.36",
    "musl": None,
    "soabi": "cpython-311-x86_64-linux-gnu",
    "free_threaded": False,
}
BARE = {
    "user": "deploy",
    "python": PYTHON,
    "uv": False,
    "supervisor": False,
    "manager": "systemd",
    "systemd": True,
    "lingers": True,
    "live": None,
    "releases": [],
    "store": [],
    "processes": [],
    "free_bytes": 10**10,
    "obstacle": None,
    "free_inodes": 10**6,
    "unfinished": False,
    "linked": True,
    "cleanup_failed": "",
    "deferred": [],
    "durations": [],
}


def plan(
    target=TARGET,
    manifest=MANIFEST,
    now=NOW,
    tools=None,
    bundle=None,
    room=NO_ROOM,
    inventory=None,
    **facts,
):
    bundle = bundle or HostBundle(manifest.pins, manifest.wheels)
    shipment = Shipment({**BARE, **facts}, bundle, tools or {}, room)
    return make_plan(
        target, manifest, dict.fromkeys(target.hosts, shipment), inventory=inventory or {}, now=now
    )


def live(found, **changes):
    """The facts of a host that serves what ``found`` planned."""
    release = {"id": found.release, "state": "live", **found.record(found.hosts[0]), **changes}
    processes = [{"name": "web", "release": found.release, "state": "running", "since": 1.0, "pid": 7}]
    return {
        "live": found.release,
        "releases": [release],
        "store": [wheel.sha256 for wheel in found.manifest.wheels],
        "processes": processes,
    }


def test_a_first_release():
    found = plan(tools={"uv": UV})

    assert found.release == f"20261122T174500Z-{found.fingerprint[:7]}"
    assert not found.is_empty
    assert found.lines() == [
        "shop 1.0, git 3f9c2a100000 (main) with uncommitted changes: 2 distributions",
        f"Release {found.release} on staging:",
        "  deploy@one.example.com: first release, 20.0 MB to send, installed with uv",
        "  steps: collectstatic --noinput, migrate --noinput (on the first host), fix_permissions,"
        " compress --force",
        "  processes: web",
    ]


def test_a_plain_project_says_what_it_is_made_of():
    files = (File("manage.py", "/code/manage.py", 1_200_000, "f" * 64, is_executable=True),)
    left_out = ("db.sqlite3", *(f"{number}.log" for number in range(20)))

    found = plan(manifest=replace(MANIFEST, contents=Contents(files, left_out)))

    names = ", ".join(left_out[:12])
    assert found.lines()[1] == f"  shop is no package: 1 files, 1.2 MB; left out: {names}, and 9 more"
    assert found.as_dict()["contents"] == {"files": 1, "bytes": 1_200_000, "left_out": list(left_out)}


def test_nothing_changed():
    before = plan()

    found = plan(**live(before))

    assert found.is_empty
    assert found.lines()[1:] == [f"Nothing would change: {before.release} is live on every host."]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"env": {"SECRET_KEY": "new"}}, id="environment"),
        pytest.param({"steps": ()}, id="steps"),
        pytest.param({"processes": ()}, id="processes"),
        pytest.param({"settings_module": "shop.other"}, id="settings module"),
        pytest.param({"python": "python3.12"}, id="python"),
        pytest.param({"health_check": None}, id="health check"),
        pytest.param({"restart": (("sudo", "systemctl", "restart", "shop"),)}, id="restart"),
    ],
)
def test_a_change_of_the_target_is_a_change(change):
    changed = replace(TARGET, **change)

    assert not plan(changed, **live(plan())).is_empty


def test_where_hosts_install_from_is_no_change():
    elsewhere = replace(TARGET, index_url="https://index.example.com/simple", keep_releases=9, batch=Batch(1))

    assert fingerprint(elsewhere, MANIFEST) == fingerprint(TARGET, MANIFEST)


def test_instances_of_a_process():
    worker = Process("worker", ("celery", "worker", "-n", "{instance}@shop"), instances=3)
    found = plan(replace(TARGET, processes=(*TARGET.processes, worker)))

    assert found.lines()[-1] == "  processes: web, worker (3)"
    record = found.record(found.hosts[0])
    assert [(process["name"], process["command"][-1]) for process in record["processes"]] == [
        ("web", "unix:{socket}"),
        ("worker", "1@shop"),
        ("worker.2", "2@shop"),
        ("worker.3", "3@shop"),
    ]


def test_a_live_release_whose_process_is_down_is_not_current():
    facts = live(plan())
    facts["processes"][0]["state"] = "restarting"

    found = plan(**facts)

    assert not found.is_empty
    assert found.warnings == ("deploy@one.example.com: process 'web' of the live release is restarting.",)


def test_a_transaction_that_was_left_open_is_not_current():
    assert not plan(**live(plan()), unfinished=True).is_empty


def test_a_live_release_that_is_not_linked_is_not_current():
    assert not plan(**live(plan()), linked=False).is_empty


def test_distributions_that_change_are_named():
    before = live(plan(), distributions={"django": "5.2.18", "shop": "1.0", "six": "1.17.0"})
    new = replace(SHOP, sha256="e" * 64)
    added = Pin("redis", "8.1.0", ("f" * 64,))

    found = plan(manifest=replace(MANIFEST, wheels=(new,), pins=(*MANIFEST.pins, added)), **before)

    assert [str(change) for change in found.hosts[0].changes] == [
        "~ django 5.2.18 -> 5.2.19",
        "+ redis 8.1.0",
        "~ shop 1.0 (other content)",
        "- six 1.17.0",
    ]
    assert found.hosts[0].send == (new,)
    assert found.hosts[0].same_pins is False


def test_what_is_live_in_the_same_version_with_other_files_is_not_what_is_here():
    key, tags = ("django", "5.2.19"), "py3-none-any"
    before = live(plan(inventory={key: (tags, "1" * 32)}))

    assert plan(inventory={key: (tags, "1" * 32)}, **before).is_empty
    assert plan(inventory={key: ("cp311-cp311-macosx", "2" * 32)}, **before).is_empty
    assert plan(**before).is_empty
    found = plan(inventory={key: (tags, "2" * 32)}, **before)
    assert [str(change) for change in found.hosts[0].changes] == ["~ django 5.2.19 (other content)"]
    assert found.release != before["live"]
    assert found.hosts[0].same_pins is False


def test_only_what_the_store_lacks_is_sent():
    found = plan(tools={"uv": UV}, store=[UV.sha256])

    assert found.hosts[0].send == (SHOP,)
    assert found.hosts[0].bytes_to_send == 2_000_000


def test_a_difference_counts_with_its_own_size():
    (host,) = plan(tools={"uv": UV}).hosts
    delta = Delta("9" * 64, Path("recipe"), 79_000)

    shorter = replace(host, deltas={SHOP.sha256: delta})

    assert shorter.bytes_to_send == UV.size + 79_000
    found = replace(plan(), hosts=(replace(shorter, send=(SHOP,)),))
    assert found.lines()[2] == (
        "  deploy@one.example.com: first release, 79 kB to send instead of 2.0 MB, installed with uv"
    )
    assert found.as_dict()["hosts"][0]["deltas"] == [SHOP.path.name]


def test_the_lock_names_the_wheels_in_the_store_with_their_hashes():
    store = "file:///srv/my%20site/.deploy/store"

    found = plan()

    assert found.lock(found.hosts[0]) == (
        f"django==5.2.19 --hash=sha256:{'c' * 64} --hash=sha256:{'d' * 64}\n"
        f"shop @ {store}/{'a' * 64}/shop-1.0-py3-none-any.whl --hash=sha256:{'a' * 64}\n"
    )


def test_the_record_holds_no_secret():
    secret = replace(
        TARGET, env={"SECRET_KEY": "hunter2"}, index_url="https://ann:hunter2@index.example.com/"
    )

    found = plan(secret)

    assert "hunter2" not in repr(found.record(found.hosts[0]))
    assert "hunter2" not in repr(found.as_dict())
    assert "hunter2" not in repr(secret)


def test_release_ids_sort_in_the_order_of_deployment():
    """Also where this machine's clock is behind that of whoever deployed before."""
    facts = live(plan(now=NOW + 3600))

    found = plan(manifest=replace(MANIFEST, wheels=()), **facts)

    assert found.release > facts["live"]
    assert time.strptime(found.release[:16], "%Y%m%dT%H%M%SZ")[:6] == (2026, 11, 22, 18, 45, 1)


def test_two_hosts_get_the_same_release():
    found = plan(replace(TARGET, hosts=(ONE, TWO)))

    assert [host.host.name for host in found.hosts] == ["deploy@one.example.com", "two.example.com"]
    assert {found.record(host)["id"] for host in found.hosts} == {found.release}


def test_hosts_on_which_the_same_would_happen_are_told_together():
    fleet = tuple(replace(TWO, address=f"web{number}") for number in range(1, 65))

    pair = plan(replace(TARGET, hosts=(ONE, TWO))).lines()
    many = plan(replace(TARGET, hosts=fleet)).lines()

    assert pair[2:4] == [
        "  deploy@one.example.com, two.example.com:",
        "    first release, 2.0 MB to send, installed with uv",
    ]
    assert many[2] == "  web1, web2, web3, web4, web5, web6, web7, web8 and 56 more:"
    assert [line for line in many if "first release" in line] == [pair[3]]


PAIR = replace(TARGET, hosts=(ONE, TWO))


def plan_for_pair(first, second, manifest=MANIFEST):
    bundle = HostBundle(manifest.pins, manifest.wheels)
    shipments = {
        host: Shipment({**BARE, **facts}, bundle, {"uv": UV}, NO_ROOM)
        for host, facts in ((ONE, first), (TWO, second))
    }
    return make_plan(PAIR, manifest, shipments, inventory={}, now=NOW + 3600)


def test_a_host_that_is_behind_is_brought_up_to_the_release_of_the_others():
    served = plan()

    found = plan_for_pair({}, live(served))

    assert found.release == served.release
    assert (found.changing, found.installing, found.is_empty) == ((ONE,), (ONE,), False)
    assert [host.bytes_to_send for host in found.hosts] == [20_000_000, 0]
    assert found.lines()[1:4] == [
        f"Release {served.release} on staging:",
        "  deploy@one.example.com: first release, 20.0 MB to send, installed with uv",
        "  two.example.com: serves it already",
    ]


def test_all_hosts_get_a_new_release_where_none_serves_this_one():
    served = live(plan())

    found = plan_for_pair(served, {}, replace(MANIFEST, wheels=(replace(SHOP, sha256="e" * 64),)))

    assert found.release > served["live"]
    assert found.changing == found.installing == (ONE, TWO)


def test_a_host_that_was_restarted_serves_the_same():
    served, renewed = live(plan()), live(plan(now=NOW + 60), same_as=plan().release)

    found = plan_for_pair(served, renewed)

    assert found.is_empty
    assert found.changing == ()


def test_the_same_release_under_two_names_becomes_one():
    older, newer = live(plan()), live(plan(now=NOW + 60))

    found = plan_for_pair(newer, older)

    assert found.release == newer["live"]
    assert found.changing == (TWO,)


def test_a_release_that_the_host_still_has_is_made_live_again():
    served = plan()
    other = {**live(served)["releases"][0], "id": "20261122T160000Z-1111111", "fingerprint": "1" * 64}
    kept = {**live(served)["releases"][0], "state": "retired"}

    found = plan_for_pair(live(served), {"releases": [other, kept], "live": other["id"]})

    assert found.release == served.release
    assert (found.changing, found.installing) == ((TWO,), ())
    assert found.hosts[1].bytes_to_send == 0
    assert found.lines()[2:] == [
        "  deploy@one.example.com: serves it already",
        "  two.example.com: 20261122T160000Z-1111111, has it from before: it is made live again",
        "  processes: web",
    ]


@pytest.mark.parametrize("state", ["failed", "preparing"])
def test_a_release_that_failed_on_the_host_is_made_once_more(state):
    served = plan()
    failed = {"id": served.release, "state": state, "fingerprint": None}

    found = plan_for_pair(live(served), {"releases": [failed]})

    assert (found.release, found.installing) == (served.release, (TWO,))


def test_a_host_that_serves_it_badly_gets_a_new_release_with_all_others():
    ill = live(plan())
    ill["processes"] = [{**ill["processes"][0], "state": "stopped"}]

    found = plan_for_pair(live(plan()), ill)

    assert found.release > ill["live"]
    assert found.installing == (ONE, TWO)


def test_another_release_of_the_same_name_is_left_alone():
    served = plan()
    other = {**live(served)["releases"][0], "state": "retired", "fingerprint": "1" * 64}

    found = plan_for_pair(live(served), {"releases": [other]})

    assert found.release > served.release
    assert found.installing == (ONE, TWO)


WEB, JOBS = replace(ONE, roles=("web",)), replace(TWO, roles=("jobs",))
DIVIDED = replace(
    TARGET,
    hosts=(WEB, JOBS),
    processes=(
        replace(TARGET.processes[0], roles=("web",)),
        Process("worker", ("celery", "worker"), roles=("jobs",)),
    ),
    steps=(
        Step(("migrate",), on="once", roles=("jobs",)),
        Step(("compress",), roles=("web",)),
        Step(("warm_cache",)),
    ),
)


def test_each_host_gets_the_processes_of_its_roles():
    found = plan(DIVIDED)

    names = [[process["name"] for process in found.record(host)["processes"]] for host in found.hosts]
    assert names == [["web"], ["worker"]]
    assert found.lines()[-2:] == [
        "  steps: migrate (on the first of jobs), compress (on web), warm_cache",
        "  processes: web on web, worker on jobs",
    ]


def test_a_changed_process_of_one_role_is_a_new_release_for_all():
    before = plan(DIVIDED)
    facts = {host.host: {**BARE, **live(before, **before.record(host))} for host in before.hosts}
    for host, name in ((WEB, "web"), (JOBS, "worker")):
        facts[host]["processes"][0]["name"] = name
    changed = replace(
        DIVIDED, processes=(DIVIDED.processes[0], replace(DIVIDED.processes[1], command=("celery", "beat")))
    )

    def changing(target):
        bundle = HostBundle(MANIFEST.pins, MANIFEST.wheels)
        shipments = {host: Shipment(facts[host], bundle, {}, NO_ROOM) for host in target.hosts}
        return make_plan(target, MANIFEST, shipments, inventory={}, now=NOW + 60).changing

    assert changing(DIVIDED) == ()
    assert changing(changed) == (WEB, JOBS)


@pytest.mark.parametrize(
    ("env", "warnings"),
    [
        ({"SECRET_KEY": "s3cret"}, ()),
        ({"SECRET_KEY": ""}, ("ENV: SECRET_KEY is empty. Is what it is made of set here?",)),
        (
            {"SECRET_KEY": "", "COLOUR": "red", "TOKEN": ""},
            ("ENV: SECRET_KEY, TOKEN are empty. Is what it is made of set here?",),
        ),
    ],
)
def test_variables_that_are_empty_are_told(env, warnings):
    assert plan(replace(TARGET, env=env)).warnings == warnings


def test_what_runs_on_none_of_the_chosen_hosts_is_said():
    found = plan(DIVIDED.limited_to("one.example.com"))

    assert found.warnings == (
        "migrate runs on none of these hosts: it is for jobs.",
        "worker runs on none of these hosts: it is for jobs.",
    )


def test_every_unfit_host_is_named():
    target = replace(TARGET, hosts=(ONE, TWO))

    with pytest.raises(RolloutFailed) as caught:
        plan(target, python={"error": "there is no python3.14 on the host"})

    assert str(caught.value) == (
        "deploy@one.example.com: there is no python3.14 on the host.\n"
        "Install it there, or name another in the target's PYTHON.\n"
        "two.example.com: there is no python3.14 on the host.\n"
        "Install it there, or name another in the target's PYTHON.\n"
        "Nothing was changed."
    )


def test_a_host_without_a_user_manager_is_unfit_for_systemd():
    with pytest.raises(RolloutFailed) as caught:
        plan(systemd=False)

    (error,) = caught.value.errors
    assert error.message == "no systemd user manager runs for deploy."
    assert error.remedy == (
        "On the host, as root: loginctl enable-linger deploy. Or set PROCESS_MANAGER to 'supervisor'."
    )


def test_a_wheel_for_another_machine_is_refused():
    wheel = replace(SHOP, path=Path("/cache/shop-1.0-cp311-cp311-macosx_11_0_arm64.whl"))

    with pytest.raises(RolloutFailed) as caught:
        plan(manifest=replace(MANIFEST, wheels=(wheel,)))

    (error,) = caught.value.errors
    assert error.message == "cannot run shop-1.0-cp311-cp311-macosx_11_0_arm64.whl."
    assert error.remedy == (
        "Deploy from a machine like the host: compiled code is built where you deploy from. "
        "Or set BUILD_ON_HOST, where the host has a compiler."
    )


def test_a_wheel_for_a_newer_glibc_is_refused():
    wheel = replace(SHOP, path=Path("/cache/shop-1.0-cp311-cp311-linux_x86_64.whl"))
    bundle = HostBundle(MANIFEST.pins, (wheel,), lacking=((wheel.path.name, "2.38"),))

    with pytest.raises(RolloutFailed) as caught:
        plan(bundle=bundle)

    (error,) = caught.value.errors
    assert error.message == (
        "cannot run shop-1.0-cp311-cp311-linux_x86_64.whl (needs glibc 2.38): its glibc is 2.36."
    )


def test_what_a_host_builds_itself_is_said():
    sdist = replace(SHOP, path=Path("/cache/shop-1.0.tar.gz"))

    found = plan(bundle=HostBundle(MANIFEST.pins, (sdist,), built_there=("shop",)))

    assert "    built there, from its sdist: shop" in found.lines()
    assert "shop @ file:///srv/my%20site/.deploy/store/" in found.lock(found.hosts[0])


def test_a_compiled_wheel_for_this_machine_is_sent():
    wheel = replace(SHOP, path=Path("/cache/shop-1.0-cp311-cp311-linux_x86_64.whl"))

    assert plan(manifest=replace(MANIFEST, wheels=(wheel,))).hosts[0].send == (wheel,)


def test_a_long_list_of_changes_says_how_many_are_left_out():
    before = {f"package-{number:03}": "1.0" for number in range(70)} | {"django": "5.2.19", "shop": "1.0"}
    first = plan()

    found = plan(**live(first, distributions=before, fingerprint="other"))

    lines = found.lines()
    assert "    - package-059 1.0" in lines
    assert lines[lines.index("    - package-059 1.0") + 1] == "    and 10 more"


def test_a_host_whose_python_is_too_old_is_refused():
    bundle = HostBundle(MANIFEST.pins, MANIFEST.wheels, refused=(("shop", ">=3.11.5,<4"),))

    with pytest.raises(RolloutFailed) as caught:
        plan(bundle=bundle)

    (error,) = caught.value.errors
    assert error.message == "Python 3.11.2 on the host does not fit shop 1.0: >=3.11.5,<4."
    assert error.remedy == (
        "Name another interpreter in PYTHON, or install versions here that this one can run."
    )


def test_what_the_hosts_python_makes_different_is_told():
    timeout, typing = Pin("async-timeout", "5.0.1", ("f" * 64,)), Pin("typing-extensions", "4.15.0", ())
    bundle = HostBundle(
        (*MANIFEST.pins, timeout, typing),
        MANIFEST.wheels,
        missing=(("redis", "async-timeout"),),
        added=(timeout, typing),
        left_out=("backports-x",),
        idle=("tomli", "zipp"),
    )

    found = plan(bundle=bundle, tools={"uv": UV})

    assert found.lines()[3:7] == [
        "    added for its Python: async-timeout 5.0.1, which redis needs",
        "    added for its Python: typing-extensions 4.15.0",
        "    left out, as its Python cannot run it: backports-x",
        "    not needed with its Python: tomli, zipp",
    ]
    host = found.as_dict()["hosts"][0]
    assert host["added"] == {"async-timeout": "5.0.1", "typing-extensions": "4.15.0"}
    assert (host["left_out"], host["idle"]) == (["backports-x"], ["tomli", "zipp"])
    assert found.record(found.hosts[0])["distributions"]["async-timeout"] == "5.0.1"
    assert "async-timeout==5.0.1 --hash=sha256:" + "f" * 64 in found.lock(found.hosts[0])
    assert found.hosts[0].fingerprint != found.fingerprint


def test_what_is_missing_is_refused_when_nothing_was_added():
    bundle = HostBundle(MANIFEST.pins, MANIFEST.wheels, missing=(("redis", "async-timeout"),))

    with pytest.raises(RolloutFailed) as caught:
        plan(bundle=bundle)

    (error,) = caught.value.errors
    assert error.message == "Python 3.11.2 there needs async-timeout (for redis), not installed here."
    assert error.remedy == "Install them here and name them in INCLUDE, or unset STRICT_ENVIRONMENT."


def test_a_root_that_cannot_be_written_to_is_refused():
    obstacle = {"message": "cannot create /srv/shop: Permission denied", "remedy": "Ask root."}

    with pytest.raises(RolloutFailed) as caught:
        plan(obstacle=obstacle)

    assert str(caught.value) == (
        "deploy@one.example.com: cannot create /srv/shop: Permission denied\nAsk root.\nNothing was changed."
    )


def test_a_disk_that_is_too_full_is_refused_with_what_it_takes():
    with pytest.raises(RolloutFailed) as caught:
        plan(room=Room(34_000_000, 5000), free_bytes=83_000_000, free_inodes=5999)

    assert [str(error) for error in caught.value.errors] == [
        "deploy@one.example.com: 83.0 MB are free under /srv/my site, and this takes up to 84.0 MB.\n"
        "Make room there. What takes it: du -xhd1 '/srv/my site'."
        " KEEP_RELEASES says how many releases stay.",
        "deploy@one.example.com: 5999 inodes are free under /srv/my site, and this takes up to 6000.\n"
        "Make room there. What takes it: du -xd1 --inodes '/srv/my site'."
        " KEEP_RELEASES says how many releases stay.",
    ]


def test_a_disk_with_just_enough_room():
    found = plan(room=Room(34_000_000, 5000), free_bytes=84_000_000, free_inodes=6000)

    assert found.hosts[0].room == Room(34_000_000, 5000)
    wanted = "  deploy@one.example.com: first release, 2.0 MB to send, 34.0 MB on disk, installed with uv"
    assert wanted in found.lines()
    assert found.as_dict()["hosts"][0]["room"] == {"bytes": 34_000_000, "inodes": 5000}


def test_a_host_that_does_not_say_what_is_free_is_trusted():
    assert plan(room=Room(34_000_000, 5000), free_bytes=None, free_inodes=None).changing


def test_a_full_disk_is_no_hindrance_where_nothing_is_installed():
    found = plan(room=Room(34_000_000, 5000), free_bytes=0, free_inodes=0, **live(plan()))

    assert found.is_empty
    assert found.hosts[0].room == NO_ROOM


def test_all_that_is_wrong_with_all_hosts_is_told_at_once():
    facts = {
        ONE: {**BARE, "python": {"error": "there is no python3.13 on the host"}},
        TWO: {**BARE, "free_bytes": 1},
    }
    bundle = HostBundle(MANIFEST.pins, MANIFEST.wheels)
    shipments = {host: Shipment(facts[host], bundle, {}, NO_ROOM) for host in facts}

    with pytest.raises(RolloutFailed) as caught:
        make_plan(replace(TARGET, hosts=(ONE, TWO)), MANIFEST, shipments, inventory={}, now=NOW)

    assert [(error.host, error.message.split(".")[0]) for error in caught.value.errors] == [
        (ONE.name, "there is no python3"),
        (TWO.name, "1 B are free under /srv/my site, and this takes up to 50"),
    ]


def test_migrations_that_did_not_get_their_turn_are_said():
    made = plan(**live(plan()), deferred=["shop.0007_drop"])

    assert (made.is_empty, made.deferring) == (True, (ONE,))
    assert f"  {ONE.name}: serves it already; still to be migrated: shop.0007_drop" in made.lines()


def test_warnings():
    found = plan(
        python={**PYTHON, "version": [3, 12, 1]},
        lingers=False,
        cleanup_failed="old releases could not be removed",
    )

    assert found.warnings == (
        "deploy@one.example.com runs Python 3.12.1, this environment 3.11.7.",
        "deploy@one.example.com: processes end with the last login of deploy;"
        " on the host, as root: loginctl enable-linger deploy.",
        "deploy@one.example.com: old releases could not be removed",
    )


@pytest.mark.parametrize(
    ("facts", "installer", "needed"),
    [
        ({}, None, ("uv",)),
        ({"uv": True}, None, ()),
        ({"uv": True}, "pip", ("pip",)),
        ({"manager": "supervisor"}, None, ("uv", "supervisor")),
        ({"manager": "supervisor", "supervisor": True, "uv": True}, None, ()),
    ],
)
def test_tools_that_the_host_needs(facts, installer, needed):
    assert tools_needed(replace(TARGET, installer=installer), {**BARE, **facts}) == needed


def test_pip_installs_where_no_uv_fits():
    assert plan(tools={"pip": replace(UV, name="pip")}).hosts[0].installer == "pip"


def test_the_platform_of_a_host():
    platform = platform_of(ONE, BARE)

    assert platform.version == (3, 11, 2)
    assert platform.glibc == "2.36"
    with pytest.raises(HostError, match="there is no python3 on the host"):
        platform_of(ONE, {"python": {"error": "there is no python3 on the host"}})


def test_a_bundle_for_one_interpreter_only():
    same = HostPlatform((3, 11, 2), glibc="2.36")
    assert plan(manifest=replace(MANIFEST, only_for=same)).release

    for other in (
        replace(same, version=(3, 11, 4)),
        replace(same, glibc="2.31"),
        replace(same, machine="aarch64"),
        replace(same, is_free_threaded=True),
    ):
        with pytest.raises(RolloutFailed) as caught:
            plan(manifest=replace(MANIFEST, only_for=other))
        (error,) = caught.value.errors
        assert error.message == (
            f"Python 3.11.2 on x86_64 (glibc 2.36) is there, and the bundle was live with {other}."
        )
        assert error.remedy == "What was tested runs on the same interpreter only."


def test_where_a_bundle_comes_from_is_told():
    found = plan(manifest=replace(MANIFEST, origin="as shop.bundle has it: sha256 00"))

    assert found.lines()[1] == "  as shop.bundle has it: sha256 00"
    assert found.as_dict()["origin"] == "as shop.bundle has it: sha256 00"


def test_processes_that_differ():
    before = plan()
    facts = live(before)
    facts["releases"][0]["processes"] = [
        {**facts["releases"][0]["processes"][0], "command": ["gunicorn", "shop"]},
        {"name": "beat", "command": ["celery", "beat"], "singleton": True, "stop_timeout": 30.0},
    ]
    worker = Process("worker", ("celery", "worker"))

    found = plan(target=replace(TARGET, processes=(*TARGET.processes, worker)), **facts)

    changes = ("- process beat", "~ process web", "+ process worker")
    assert found.hosts[0].processes == changes
    assert found.as_dict()["hosts"][0]["processes"] == list(changes)
    for change in changes:
        assert f"    {change}" in found.lines()


def test_commits_since_the_live_release():
    before = plan()
    found = plan(manifest=replace(MANIFEST, pins=()), **live(before))

    found = replace(found, commits=Commits(("3f9c2a1 Basket", "1234567 Prices"), lost=1))

    start = found.lines().index("  commits since the live release: 2")
    assert found.lines()[start + 1 : start + 5] == [
        "    3f9c2a1 Basket",
        "    1234567 Prices",
        "  commits of the live release that are not in it: 1",
        f"Release {found.release} on staging:",
    ]
    assert found.as_dict()["commits"] == {"new": ("3f9c2a1 Basket", "1234567 Prices"), "lost": 1}
