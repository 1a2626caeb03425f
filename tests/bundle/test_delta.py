from __future__ import annotations

import hashlib
import os
import random
import shutil
import time
import zipfile
from contextlib import nullcontext
from pathlib import Path

import pytest

from django_deploy.bundle.delta import find_deltas, remember_wheels, write_recipe
from django_deploy.bundle.manifest import Wheel
from django_deploy.host.delta import DeltaError, rebuild

NAME = "acme_shop-1.0-py3-none-any.whl"


def source(number):
    """A module of some 4 kB that deflates as code does."""
    words = random.Random(number)
    return "".join(f"def f{words.randrange(10**6)}(x):\n    return x * {words.random()}\n" for _ in range(80))


FILES = {f"acme_shop/part{number}/module.py": source(number) for number in range(100)}


def write_wheel(
    folder, files=FILES, *, version="1.0", date=(2020, 1, 1, 0, 0, 0), method=zipfile.ZIP_DEFLATED
):
    """As build back ends write one: in the order of the files, RECORD last."""
    info = f"acme_shop-{version}.dist-info"
    contents = {**files, f"{info}/METADATA": f"Metadata-Version: 2.1\nName: acme-shop\nVersion: {version}\n"}
    rows = (
        f"{name},sha256={hashlib.sha256(text.encode()).hexdigest()},{len(text)}\n"
        for name, text in contents.items()
    )
    contents[f"{info}/RECORD"] = "".join(rows) + f"{info}/RECORD,,\n"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / NAME.replace("1.0", version)
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, text in contents.items():
            member = zipfile.ZipInfo(name, date)
            member.compress_type = method
            archive.writestr(member, text)
    return path


def changed(**more):
    name = "acme_shop/part50/module.py"
    return {**FILES, name: FILES[name].replace("return", "return 1 +", 1), **more}


def deltas(folder, base, new, limit=10**9):
    """The recipe's size and what is made of it."""
    recipe = folder / "recipe"
    recipe.write_bytes(b"")
    assert write_recipe(base, new, recipe, limit=limit) == bool(recipe.stat().st_size)
    return recipe.stat().st_size, made(base, recipe, new.stat().st_size)


def made(base, recipe, size):
    with base.open("rb", buffering=0) as file:
        return b"".join(rebuild(file, iter([memoryview(recipe.read_bytes())]), size))


def described(path, name="acme-shop", version="1.0"):
    content = path.read_bytes()
    return Wheel(name, version, path, hashlib.sha256(content).hexdigest(), len(content))


# One wheel of another


def test_a_changed_line_takes_a_small_part(tmp_path):
    base, new = write_wheel(tmp_path / "old"), write_wheel(tmp_path / "new", changed())

    size, content = deltas(tmp_path, base, new)

    assert content == new.read_bytes()
    # The module (1.5 kB), what follows its row in RECORD (5 kB at most), and what moved in the directory.
    assert size < 9_000 < new.stat().st_size / 10


def test_data_of_another_version_are_found(tmp_path):
    """A plain project is all data, and each content is another version."""

    def files(version, contents):
        return {name.replace("acme_shop/", f"acme_shop-{version}.data/"): contents[name] for name in contents}

    base = write_wheel(tmp_path / "old", files("0+a", FILES), version="0+a")
    new = write_wheel(tmp_path / "new", files("0+b", changed()), version="0+b")

    size, content = deltas(tmp_path, base, new)

    assert content == new.read_bytes()
    # RECORD, in which each row has the version, comes whole (9 kB).
    assert size < 14_000 < new.stat().st_size / 8


def test_the_same_wheel_takes_next_to_nothing(tmp_path):
    base = write_wheel(tmp_path / "old")

    size, content = deltas(tmp_path, base, base)

    assert content == base.read_bytes()
    assert size < 40


@pytest.mark.parametrize(
    ("files", "options"),
    [
        (changed(**{"acme_shop/new.py": source(1000)}), {}),
        ({name: text for name, text in FILES.items() if "part3" not in name}, {}),
        (dict(sorted(FILES.items(), reverse=True)), {}),
        (changed(), {"version": "1.0.1"}),
        (changed(), {"date": (2026, 11, 24, 3, 0, 0)}),
        (changed(), {"method": zipfile.ZIP_STORED}),
        (changed(**{"acme_shop/größe/日本.txt": "ä" * 1000}), {}),
        (changed(**{"acme_shop/empty.py": ""}), {}),
        ({}, {}),
    ],
    ids=["added", "removed", "reversed", "version", "date", "stored", "unicode", "empty", "nothing"],
)
def test_whatever_changed_the_wheel_comes_out(tmp_path, files, options):
    base, new = write_wheel(tmp_path / "old"), write_wheel(tmp_path / "new", files, **options)

    for one, other in ((base, new), (new, base)):
        assert deltas(tmp_path, one, other)[1] == other.read_bytes()


def test_a_new_version_copies_what_it_shares(tmp_path):
    base, new = write_wheel(tmp_path / "old"), write_wheel(tmp_path / "new", changed(), version="1.0.1")

    size, _ = deltas(tmp_path, base, new)

    assert size < new.stat().st_size / 8


def test_odd_zip_files(tmp_path):
    """Bytes before and between, a name twice, data descriptors, a comment: nothing is lost of them."""
    base = write_wheel(tmp_path / "old")
    odd = tmp_path / "odd.whl"
    with odd.open("wb") as file:
        file.write(b"#!/bin/sh\n" * 50)
        with zipfile.ZipFile(Streamed(file), "w", zipfile.ZIP_DEFLATED) as archive:
            for name, text in [*changed().items(), *list(FILES.items())[40:60]]:
                with (
                    pytest.warns(UserWarning, match="Duplicate name")
                    if name in archive.namelist()
                    else nullcontext()
                ):
                    archive.writestr(name, text)
            archive.comment = b"made by hand"
    for one, other in ((base, odd), (odd, base), (odd, odd)):
        assert deltas(tmp_path, one, other)[1] == other.read_bytes()


class Streamed:
    """A file that cannot be sought in: zipfile writes sizes behind the data then."""

    def __init__(self, file):
        self.write, self.flush = file.write, file.flush


def test_a_recipe_over_the_limit_is_not_written(tmp_path):
    base, new = write_wheel(tmp_path / "old"), write_wheel(tmp_path / "new", changed())
    size, _ = deltas(tmp_path, base, new)
    recipe = tmp_path / "recipe"

    for limit in (size - 1, 100):
        recipe.write_bytes(b"")
        assert not write_recipe(base, new, recipe, limit=limit)
        assert recipe.read_bytes() == b""
    assert write_recipe(base, new, recipe, limit=size)


def test_what_is_no_zip_has_no_difference(tmp_path):
    wheel, other = write_wheel(tmp_path), tmp_path / "acme.tar.gz"
    other.write_bytes(os.urandom(10_000))

    for base, new in ((wheel, other), (other, wheel)):
        assert not write_recipe(base, new, tmp_path / "recipe", limit=10**9)


def test_any_two_wheels(tmp_path):
    """Members of all kinds, at random: what comes out is always the new wheel, or refused."""
    chance = random.Random(11)
    for round_ in range(20):
        paths = []
        for side in ("old", "new"):
            names = chance.sample(list(FILES), chance.randrange(1, 20))
            files = {name: FILES[chance.choice(list(FILES))][: chance.randrange(4000)] for name in names}
            method = chance.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
            paths.append(write_wheel(tmp_path / f"{side}{round_}", files, method=method))
        base, new = paths
        assert deltas(tmp_path, base, new)[1] == new.read_bytes()
        damaged = bytearray(base.read_bytes())
        damaged[chance.randrange(len(damaged))] ^= 1
        base.write_bytes(damaged)
        try:
            assert len(made(base, tmp_path / "recipe", new.stat().st_size)) == new.stat().st_size
        except DeltaError:
            pass


# What a host could make of what it has


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def facts(*releases, live=None, store=None):
    """A host with releases of one wheel each, oldest first; the last one is live."""
    described_ = [
        {"id": f"2026112{number}T000000Z-0000000", "wheels": [{"name": wheel.name, "sha256": wheel.sha256}]}
        for number, wheel in enumerate(releases)
    ]
    return {
        "releases": described_,
        "live": live or (described_[-1]["id"] if described_ else None),
        "store": [wheel.sha256 for wheel in releases] if store is None else store,
    }


def test_a_host_makes_a_wheel_of_the_live_releases(tmp_path, cache):
    old, new = described(write_wheel(tmp_path / "old")), described(write_wheel(tmp_path / "new", changed()))
    remember_wheels([old, new], cache)

    found = find_deltas([new], facts(old), cache=cache)

    assert [*found] == [new.sha256]
    delta = found[new.sha256]
    assert delta.base == old.sha256
    assert delta.size == delta.path.stat().st_size < new.size / 10
    assert made(old.path, delta.path, new.size) == new.path.read_bytes()


def test_the_live_release_is_the_first_base(tmp_path, cache):
    """After a rollback it is not the newest."""
    wheels = [
        described(write_wheel(tmp_path / str(n), changed(**{"acme_shop/n.py": str(n)}))) for n in range(4)
    ]
    remember_wheels(wheels, cache)
    *older, new = wheels
    host = facts(*older)

    assert find_deltas([new], host, cache=cache)[new.sha256].base == older[2].sha256
    host["live"] = host["releases"][0]["id"]
    assert find_deltas([new], host, cache=cache)[new.sha256].base == older[0].sha256
    host["store"] = [older[1].sha256]
    assert find_deltas([new], host, cache=cache)[new.sha256].base == older[1].sha256


def test_without_a_base_there_is_no_difference(tmp_path, cache):
    old, new = described(write_wheel(tmp_path / "old")), described(write_wheel(tmp_path / "new", changed()))

    assert find_deltas([new], facts(old), cache=cache) == {}  # not remembered here
    remember_wheels([old], cache)
    assert find_deltas([new], facts(), cache=cache) == {}  # a new host
    assert find_deltas([new], facts(old, store=[]), cache=cache) == {}  # pruned there
    damaged = facts(old)
    damaged["releases"][0]["wheels"] = None
    assert find_deltas([new], damaged, cache=cache) == {}
    other = described(old.path, name="acme-reviews")
    assert find_deltas([new], facts(other), cache=cache) == {}


def test_a_base_that_is_another_wheel_by_now_is_none(tmp_path, cache):
    old, new = described(write_wheel(tmp_path / "old")), described(write_wheel(tmp_path / "new", changed()))
    remember_wheels([old], cache)
    write_wheel(tmp_path / "old", changed(**{"acme_shop/other.py": source(700)}))

    assert find_deltas([new], facts(old), cache=cache) == {}


def test_a_base_that_has_gone_is_forgotten(tmp_path, cache):
    old, new = described(write_wheel(tmp_path / "old")), described(write_wheel(tmp_path / "new", changed()))
    remember_wheels([old], cache)
    shutil.rmtree(tmp_path / "old")

    assert find_deltas([new], facts(old), cache=cache) == {}
    remember_wheels([new], cache)
    assert os.listdir(cache / "by-sha256") == [new.sha256]


def test_a_difference_that_is_not_worth_it_is_not_sent(tmp_path, cache):
    other = {name: source(number + 500) for number, name in enumerate(FILES)}
    old, new = described(write_wheel(tmp_path / "old")), described(write_wheel(tmp_path / "new", other))
    remember_wheels([old], cache)

    assert find_deltas([new], facts(old), cache=cache) == {}


def test_a_small_wheel_is_sent_as_it_is(tmp_path, cache):
    old = described(write_wheel(tmp_path / "old", {"acme.py": source(1)}))
    new = described(write_wheel(tmp_path / "new", {"acme.py": source(2)}))
    remember_wheels([old], cache)

    assert find_deltas([new], facts(old), cache=cache) == {}


def test_a_recipe_is_made_once(tmp_path, cache):
    """Several hosts have the same base; and a preview comes before most deployments."""
    old, new = described(write_wheel(tmp_path / "old")), described(write_wheel(tmp_path / "new", changed()))
    remember_wheels([old], cache)
    first = find_deltas([new], facts(old), cache=cache)
    made_at = first[new.sha256].path.stat().st_mtime_ns
    Path(new.path).touch()

    assert find_deltas([new], facts(old), cache=cache) == first
    assert first[new.sha256].path.stat().st_mtime_ns == made_at


def test_old_recipes_leave_the_cache(tmp_path, cache):
    wheels = [
        described(write_wheel(tmp_path / str(n), changed(**{"acme_shop/n.py": str(n)}))) for n in range(3)
    ]
    remember_wheels(wheels, cache)
    old = find_deltas([wheels[1]], facts(wheels[0]), cache=cache)[wheels[1].sha256]
    last_week = time.time() - 8 * 24 * 3600
    os.utime(old.path, (last_week, last_week))

    new = find_deltas([wheels[2]], facts(wheels[0]), cache=cache)[wheels[2].sha256]

    assert (old.path.exists(), new.path.exists()) == (False, True)
