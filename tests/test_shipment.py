"""What a host would install, where it is decided between connecting and planning."""

from __future__ import annotations

from dataclasses import replace
from zipfile import ZipFile

import pytest

from django_deploy.bundle.fitting import HostBundle
from django_deploy.bundle.manifest import Manifest, Pin, Wheel
from django_deploy.bundle.platforms import HostPlatform
from django_deploy.bundle.room import BLOCK, UNKNOWN, Room, in_store, whole_blocks
from django_deploy.host.protocol import ignore
from django_deploy.reading.keys import read_target
from django_deploy.shipment import fit_bundle, measure_room
from tests.bundle.index_server import FakeIndex


@pytest.fixture
def index():
    server = FakeIndex()
    yield server
    server.close()


def test_what_the_interpreter_refuses_is_not_looked_for(index, tmp_path, monkeypatch):
    """The plan names all of it, and better than a list of files that are not there."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    entry = {"HOSTS": ["web1"], "ROOT": "/srv/shop", "VENDOR": True, "INDEX_URL": index.url}
    target = read_target("staging", entry, settings_module="shop.settings")
    manifest = Manifest(
        project="shop",
        version="1.0",
        python="3.12.1",
        wheels=(),
        pins=(Pin("acme-x", "1.0", ("a" * 64,)),),
        created=0.0,
        created_by="anna@laptop",
        requires=(("acme-x", ()), ("shop", ("acme-x",))),
        requires_python=(("acme-x", ">=3.12"),),
    )

    bundle = fit_bundle(target, manifest, HostPlatform((3, 11, 2), glibc="2.36"), ignore)

    assert bundle.refused == (("acme-x", ">=3.12"),)
    assert index.requests == []


# The room that it takes


#: Of one distribution without packages: a folder in uv's cache, and one in the release.
FOLDERS = 2


def distribution(folder, name, size):
    """Installed here: what its RECORD says."""
    metadata = folder / f"{name}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "RECORD").write_text(f"{name}.txt,sha256=x,{size}\n")
    return (name, "1.0", metadata)


def wheel(folder, name, size):
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.txt", b"x" * size)
    return Wheel(name, "1.0", path, sha256=name[0] * 64, size=path.stat().st_size)


@pytest.fixture
def shop(tmp_path):
    """A bundle of one wheel of 10 blocks, and one pin that has 100 blocks here."""
    pins = (Pin("django", "1.0", ("f" * 64,)),)
    return Manifest(
        project="shop",
        version="1.0",
        python="3.11.2",
        wheels=(wheel(tmp_path, "shop", 10 * BLOCK),),
        pins=pins,
        created=0.0,
        created_by="anna@laptop",
        installed=(distribution(tmp_path, "django", 100 * BLOCK),),
    )


NOTHING = {"live": None, "releases": [], "store": [], "tools": []}


def room(manifest, facts, **tools):
    return measure_room(manifest, HostBundle(manifest.pins, manifest.wheels), tools, {**NOTHING, **facts})


def serving(manifest):
    record = manifest.as_dict()
    release = {"id": "r", "distributions": record["distributions"], "wheels": record["wheels"]}
    return {"live": "r", "releases": [release], "store": [wheel.sha256 for wheel in manifest.wheels]}


def test_a_first_release_takes_all_of_it(shop):
    sent = whole_blocks(shop.wheels[0].size) + 2 * BLOCK

    assert room(shop, {}) == Room(sent + (10 + FOLDERS + 100 + FOLDERS) * BLOCK, 2 + 2 * (1 + FOLDERS))


def test_a_release_shares_what_the_live_one_has(shop):
    assert room(shop, serving(shop)) == Room(2 * BLOCK, 2)  # the folders in the release


def test_a_changed_wheel_comes_anew(shop):
    before = serving(shop)
    before["releases"][0]["wheels"][0]["sha256"] = "0" * 64

    assert room(shop, before) == Room((10 + FOLDERS) * BLOCK, 1 + FOLDERS) + Room(BLOCK, 1)


def test_pip_writes_everything_anew_and_keeps_what_it_downloads(shop, tmp_path):
    pip = wheel(tmp_path, "pip", BLOCK)
    unpacked = {"tools": [pip.sha256], "store": [pip.sha256, shop.wheels[0].sha256]}

    with_pip = room(shop, {**serving(shop), **unpacked}, pip=pip)

    written = Room((10 + FOLDERS + 100 + FOLDERS) * BLOCK, 2 * (1 + FOLDERS))
    assert with_pip == written + Room(whole_blocks(101 * BLOCK // 3), 3)


def test_a_tool_is_stored_and_unpacked(shop, tmp_path):
    uv = wheel(tmp_path, "uv", 5 * BLOCK)

    more = room(shop, serving(shop), uv=uv)

    assert more == Room(2 * BLOCK, 2) + in_store([uv]) + Room((5 + FOLDERS) * BLOCK, 1 + FOLDERS)


def test_what_is_not_known_here_counts_as_something(shop):
    assert room(replace(shop, installed=()), {}).bytes > UNKNOWN.shared.bytes
