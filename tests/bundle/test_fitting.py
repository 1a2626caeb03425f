"""What hosts with other interpreters install, and what is found for them on a real index server."""

from __future__ import annotations

import platform
import sys
from dataclasses import replace

import pytest

from django_deploy.bundle.cache import sha256_of
from django_deploy.bundle.fitting import (
    HostBundle,
    fit,
    marker_variables,
    missing_on_host,
    refused_on_host,
    superfluous_on_host,
)
from django_deploy.bundle.index.sources import Sources
from django_deploy.bundle.manifest import Manifest, Pin, Wheel
from django_deploy.bundle.platforms import HostPlatform
from django_deploy.exceptions import BundleError
from tests.bundle.archives import make_wheel

OLD = HostPlatform((3, 11, 2), machine="x86_64", glibc="2.36")
REDIS = Pin("redis", "8.1.0", ("a" * 64,))


def manifest_of(**requirements: str) -> Manifest:
    requires = tuple((name, tuple(filter(None, text.split("|")))) for name, text in requirements.items())
    return Manifest("site", "1.0", "3.11.7", (), (), 0.0, "", requires=requires, extras=("cache",))


def test_python_of_a_host_may_be_refused():
    wanted = (("new", ">=3.11.5"), ("old", "<3.11"), ("any", ""), ("odd", "3.x or so"), ("site", ">=3.10"))
    manifest = Manifest("site", "1.0", "3.11.7", (), (), 0.0, "", requires_python=wanted)

    assert refused_on_host(manifest, "3.11.7") == (("old", "<3.11"),)
    assert refused_on_host(manifest, "3.11.2") == (("new", ">=3.11.5"), ("old", "<3.11"))
    assert refused_on_host(manifest, "3.13.0rc1") == (("old", "<3.11"),)


def test_older_python_on_a_host_may_need_more():
    manifest = manifest_of(
        site='redis[fast]; extra == "cache"|gone',
        redis='timeout; python_full_version < "3.9.3"|on-arm; extra == "fast" and platform_machine == "arm"',
    )

    new = HostPlatform((3, 9, 7), machine="x86_64")
    old = HostPlatform((3, 9, 2), machine="arm")

    assert missing_on_host(manifest, new.markers()) == ()
    assert missing_on_host(manifest, old.markers()) == (("redis", "timeout"), ("redis[fast]", "on-arm"))


def test_younger_python_on_a_host_may_need_less():
    manifest = manifest_of(site="django", django='tomli; python_version < "3.11"', tomli="", gunicorn="")
    old, new = HostPlatform((3, 10, 1)).markers(), HostPlatform((3, 13, 1)).markers()

    assert superfluous_on_host(replace(manifest, markers=tuple(old.items())), new) == ("tomli",)


@pytest.fixture
def served(index, tmp_path):
    """An index that has real wheels, with what they require."""

    def serve(name: str, version: str, *requires: str) -> str:
        wheel = make_wheel(tmp_path / "served", name, version, requires=requires)
        sha256 = sha256_of(wheel)
        index.pages[f"/files/{wheel.name}"] = (200, "application/octet-stream", wheel.read_bytes())
        index.add(name, {wheel.name: sha256})
        return sha256

    return serve


def redis(**more) -> Manifest:
    requires = (("redis", ('async-timeout>=4; python_full_version < "3.11.3"',)), ("site", ("redis",)))
    fields = {"requires": requires, "pins": (REDIS,), "wheels": (), **more}
    return Manifest("site", "1.0", "3.11.7", created=0.0, created_by="", **fields)


@pytest.mark.parametrize("resolver", ["uv", "pip-tools"])
def test_what_is_missing_there_is_found_and_locked(index, served, tmp_path, monkeypatch, resolver):
    sha, more = served("async-timeout", "5.0.1", "patience>=1"), served("patience", "1.1")
    if resolver == "pip-tools":
        monkeypatch.setattr("django_deploy.bundle.wheels.backend.find_uv", lambda: None)
        monkeypatch.setenv("PIP_TRUSTED_HOST", "127.0.0.1")

    found = fit(redis(), OLD, Sources(index_url=index.url), cache=tmp_path / "cache")

    assert found.missing == (("redis", "async-timeout"),)
    assert found.added == (Pin("async-timeout", "5.0.1", (sha,)), Pin("patience", "1.1", (more,)))
    assert found.pins == (REDIS, *found.added)


def test_the_same_question_gets_the_same_answer(index, served, tmp_path):
    served("async-timeout", "5.0.1")
    before = fit(redis(), OLD, Sources(index_url=index.url), cache=tmp_path / "cache")
    served("async-timeout", "5.1")

    assert fit(redis(), OLD, Sources(index_url=index.url), cache=tmp_path / "cache") == before


def test_pins_of_a_file_are_judged_by_their_own_markers(tmp_path):
    timeout = Pin("async-timeout", "4.0", ("b" * 64,), 'python_full_version < "3.11.3"')
    redis_there = replace(REDIS, version="7.0", marker='python_full_version < "3.11.3"')
    redis_here = replace(REDIS, marker='python_full_version >= "3.11.3"')
    manifest = redis(pins=(timeout, redis_there, redis_here))
    requires = (*manifest.requires, ("async-timeout", ()))
    manifest = replace(manifest, requires=requires, requires_python=(("async-timeout", "<3.11.5"),))

    old = fit(manifest, OLD, Sources(index_url=""), cache=tmp_path)
    new = fit(manifest, replace(OLD, version=(3, 11, 9)), Sources(index_url=""), cache=tmp_path)

    assert (old.pins, old.missing, old.idle, old.refused) == ((timeout, redis_there), (), (), ())
    assert (new.pins, new.missing, new.idle, new.refused) == ((redis_here,), (), (), ())


def test_what_a_file_leaves_out_there_and_is_needed_is_missing(tmp_path):
    pin = replace(REDIS, marker='python_full_version >= "3.11.3"')
    manifest = redis(pins=(pin,), markers=tuple(replace(OLD, version=(3, 11, 7)).markers().items()))

    found = fit(manifest, OLD, Sources(index_url=""), cache=tmp_path, is_strict=True)

    assert (found.pins, found.missing) == ((), (("site", "redis"),))


def test_strictly_nothing_is_added(tmp_path):
    found = fit(redis(), OLD, Sources(index_url=""), cache=tmp_path, is_strict=True)

    assert (found.missing, found.added, found.pins) == ((("redis", "async-timeout"),), (), (REDIS,))


def test_what_cannot_be_found_is_named(index, tmp_path):
    with pytest.raises(BundleError) as caught:
        fit(redis(), OLD, Sources(index_url=index.url), cache=tmp_path)

    assert caught.value.message.startswith(
        "Python 3.11.2 needs async-timeout>=4 in addition to what is installed here,"
        " and no version of it is found:\n"
    )
    assert caught.value.remedy == ("Deploy from Python 3.11.2, or install it here and name it in INCLUDE.")


def test_what_cannot_run_there_and_is_not_needed_is_left_out(tmp_path):
    tomli = Pin("tomli", "2.0", ("b" * 64,))
    manifest = redis(
        pins=(tomli,),
        requires=(("site", ('tomli; sys_platform != "haiku"',)), ("tomli", ())),
        requires_python=(("tomli", "<3.11"), ("site", ">=3.12")),
    )

    found = fit(manifest, HostPlatform((3, 11, 2), system="haiku"), Sources(index_url=""), cache=tmp_path)

    assert (found.left_out, found.idle, found.pins) == (("tomli",), (), ())
    assert found.refused == (("site", ">=3.12"),)


def test_pins_with_markers_are_for_the_hosts_that_they_name(tmp_path):
    colour = Pin("colorama", "1.0", ("c" * 64,), marker='sys_platform == "haiku"')
    manifest = redis(pins=(colour,), requires=())

    there = fit(manifest, HostPlatform((3, 11, 2), system="haiku"), Sources(), cache=tmp_path)

    assert (there.pins, fit(manifest, OLD, Sources(), cache=tmp_path).pins) == ((colour,), ())


def test_the_lock_has_pins_and_the_places_of_wheels(tmp_path):
    wheel = Wheel("shop", "1.0", tmp_path / "shop.whl", "d" * 64, 1)

    lock = HostBundle((REDIS,), (wheel,)).lock({"d" * 64: "file:///store/shop.whl"})

    assert lock == (
        f"redis==8.1.0 --hash=sha256:{'a' * 64}\nshop @ file:///store/shop.whl --hash=sha256:{'d' * 64}\n"
    )


def test_a_host_like_this_machine_installs_the_bundle_as_it_is(tmp_path):
    here = tuple(marker_variables().items())
    version = tuple(map(int, platform.python_version_tuple()))
    there = HostPlatform(version, sys.implementation.name, platform.machine(), system=sys.platform)

    assert fit(redis(markers=here), there, Sources(index_url=""), cache=tmp_path) == HostBundle((REDIS,), ())
