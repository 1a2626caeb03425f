"""Bundle files: the same bytes for the same contents, and no trust in any of them."""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import struct
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from django_deploy.bundle.file import archive, document
from django_deploy.bundle.file.archive import read_bundle, with_vendored, write_bundle
from django_deploy.bundle.fitting import HostBundle, fit, marker_variables
from django_deploy.bundle.index.sources import Sources
from django_deploy.bundle.manifest import Manifest, Pin, Revision, Wheel
from django_deploy.bundle.platforms import HostPlatform
from django_deploy.bundle.vendor import vendor
from django_deploy.exceptions import BundleError
from tests.bundle.archives import make_wheel

COMMIT = "3f9c2a1" + "0" * 33


def wheel_of(folder: Path, name: str, version: str = "1.0", **fields: object) -> Wheel:
    path = make_wheel(folder, name, version)
    content = path.read_bytes()
    return Wheel(name, version, path, hashlib.sha256(content).hexdigest(), len(content), **fields)


def sdist_of(folder: Path, name: str) -> Wheel:
    path = folder / f"{name}-1.0.tar.gz"
    path.write_bytes(b"sources")
    return Wheel(name, "1.0", path, hashlib.sha256(b"sources").hexdigest(), 7)


@pytest.fixture
def manifest(tmp_path):
    revision = Revision("git", COMMIT, "main", is_dirty=True)
    shop = wheel_of(tmp_path / "built", "shop", source="/home/ann/shop", revision=revision)
    return Manifest(
        project="shop",
        version="1.0",
        python=marker_variables()["python_full_version"],
        wheels=(shop, wheel_of(tmp_path / "built", "reviews")),
        pins=(
            Pin("django", "5.2.19", ("d" * 64, "c" * 64)),
            Pin("tomli", "2.0", ("e" * 64,), marker='python_version < "3.11"'),
        ),
        created=1.0,
        created_by="ann@laptop",
        left_out=("pytest",),
        revision=revision,
        warnings=("something of /home/ann",),
        requires=(("shop", ("django>=5", "what is this")), ("reviews", ())),
        extras=("cache",),
        requires_python=(("shop", ">=3.10"), ("reviews", "")),
        markers=tuple(marker_variables().items()),
        vendored=(wheel_of(tmp_path / "fetched", "django", "5.2.19"),),
        tools=(wheel_of(tmp_path / "fetched", "uv", "0.13.9"),),
        sdists=(sdist_of(tmp_path / "built", "reviews"),),
    )


@pytest.fixture
def written(manifest, tmp_path):
    file = tmp_path / "shop.bundle"
    write_bundle(manifest, file)
    return file


def test_what_is_written_is_read(manifest, written, tmp_path):
    found = read_bundle(written, cache=tmp_path / "cache")

    place = tmp_path / "cache" / "bundles" / found.sha256 / "files"
    assert found.sha256 == hashlib.sha256(written.read_bytes()).hexdigest()
    assert found.size == written.stat().st_size
    read = found.manifest
    assert {wheel.path for wheel in read.files} == {
        place / wheel.sha256 / wheel.path.name for wheel in manifest.files
    }
    for wheel in read.files:
        assert hashlib.sha256(wheel.path.read_bytes()).hexdigest() == wheel.sha256
    assert read.distributions == manifest.distributions
    assert {pin.name: (pin.version, pin.hashes, pin.marker) for pin in read.pins} == {
        "django": ("5.2.19", ("c" * 64, "d" * 64), ""),
        "tomli": ("2.0", ("e" * 64,), 'python_version < "3.11"'),
    }
    assert (read.project, read.version, read.python) == ("shop", "1.0", manifest.python)
    assert (read.extras, dict(read.markers)) == (manifest.extras, dict(manifest.markers))
    assert dict(read.requires) == {"shop": ("django>=5",), "reviews": ()}
    assert dict(read.requires_python) == {"shop": ">=3.10"}
    assert read.revision == Revision("git", COMMIT, "", is_dirty=True)
    assert [wheel.revision for wheel in read.wheels] == [None, read.revision]
    assert (read.warnings, read.left_out) == ((), ())
    assert read.created > 1.0


def test_the_same_contents_are_the_same_bytes(manifest, written, tmp_path):
    """In another folder, by somebody else, on another day and another branch."""
    there = tmp_path / "elsewhere"
    moved = [
        replace(wheel, path=Path(there, wheel.path.name), source="/srv/ci/shop") for wheel in manifest.wheels
    ]
    there.mkdir()
    for old, new in zip(manifest.wheels, moved, strict=True):
        new.path.write_bytes(old.path.read_bytes())
        os.utime(new.path, (5, 5))
        new.path.chmod(0o600)
    shop = replace(moved[0], revision=replace(moved[0].revision, branch=""))
    again = replace(
        manifest,
        wheels=(moved[1], shop),
        pins=tuple(reversed(manifest.pins)),
        created=99.0,
        created_by="ci@build",
        left_out=(),
        revision=shop.revision,
        warnings=(),
        markers=tuple(reversed(manifest.markers)),
    )

    found = write_bundle(again, there / "other name")

    assert (there / "other name").read_bytes() == written.read_bytes()
    assert found.sha256 == hashlib.sha256(written.read_bytes()).hexdigest()


def test_no_trace_of_the_machine(written):
    content = written.read_bytes()

    for word in (b"/home/ann", b"laptop", b"main", b"pytest", b"what is this"):
        assert word not in content


def test_other_programs_can_read_it(written, manifest):
    with zipfile.ZipFile(written) as opened:
        assert opened.testzip() is None
        assert opened.namelist()[0] == "manifest.json"
        assert all(stat.S_IMODE(member.external_attr >> 16) == 0o644 for member in opened.infolist())
        listed = json.loads(opened.read("manifest.json"))

    assert listed["format"] == "django-deploy bundle"
    assert listed["version"] == 1
    assert stat.S_IMODE(written.stat().st_mode) == 0o644


def test_a_wheel_that_has_changed(manifest, tmp_path):
    manifest.wheels[0].path.write_bytes(b"x" * manifest.wheels[0].size)

    with pytest.raises(BundleError) as caught:
        write_bundle(manifest, tmp_path / "shop.bundle")

    assert caught.value.message == f"{manifest.wheels[0].path} has changed since it was built."
    assert not (tmp_path / "shop.bundle").exists()


def test_a_place_that_cannot_be_written(manifest, tmp_path):
    tmp_path.joinpath("file").touch()

    with pytest.raises(BundleError) as caught:
        write_bundle(manifest, tmp_path / "file" / "shop.bundle")

    assert caught.value.message == f"{tmp_path}/file/shop.bundle cannot be written: File exists."


def test_unpacked_once(written, tmp_path):
    first = read_bundle(written, cache=tmp_path / "cache")
    times = [wheel.path.stat().st_mtime_ns for wheel in first.manifest.wheels]

    again = read_bundle(written, cache=tmp_path / "cache")

    assert [wheel.path.stat().st_mtime_ns for wheel in again.manifest.wheels] == times
    assert sorted(path.name for path in (tmp_path / "cache" / "bundles").iterdir()) == [first.sha256]


def test_what_is_missing_in_the_cache_is_unpacked_again(written, tmp_path):
    first = read_bundle(written, cache=tmp_path / "cache")
    first.manifest.wheels[0].path.unlink()

    again = read_bundle(written, cache=tmp_path / "cache")

    assert again.manifest.wheels[0].path.is_file()


def test_a_check_comes_first_and_sees_what_is_used(written, tmp_path):
    content = written.read_bytes()

    def check(copy: Path) -> None:
        assert copy.read_bytes() == content
        written.write_bytes(b"something else by now")

    found = read_bundle(written, cache=tmp_path / "cache", check=check)

    assert found.sha256 == hashlib.sha256(content).hexdigest()


# For hosts without an index


def test_what_hosts_need_beyond_the_environment_is_in_the_file(manifest, tmp_path):
    """redis needs async-timeout where Python is older than 3.11.3: here 3.11.7, there 3.11.2 and 3.11.9."""
    here, old, new = (HostPlatform((3, 11, patch), glibc="2.36") for patch in (7, 2, 9))
    requires = (
        ("shop", ("redis",)),
        ("redis", ('async-timeout>=4; python_full_version < "3.11.3"',)),
        ("reviews", ()),
    )
    redis, timeout = Pin("redis", "8.1", ("a" * 64,)), Pin("async-timeout", "5.0", ("b" * 64,))
    sent = [wheel_of(tmp_path / "fetched", pin.name, pin.version) for pin in (redis, timeout)]
    made = replace(
        manifest, pins=(redis,), requires=requires, vendored=(), markers=tuple(here.markers().items())
    )
    fitted = {
        old: HostBundle(
            (), (*manifest.wheels, *sent), missing=(("redis", "async-timeout"),), added=(timeout,)
        ),
        new: HostBundle((), (*manifest.wheels, sent[0])),
    }
    file = tmp_path / "airgap.bundle"

    write_bundle(with_vendored(made, fitted), file)
    found = read_bundle(file, cache=tmp_path / "cache").manifest

    nowhere = Sources(index_url="http://127.0.0.1:9/simple")
    for platform, names in ((old, ["async-timeout", "redis"]), (new, ["redis"]), (here, ["redis"])):
        bundle = fit(found, platform, nowhere, cache=tmp_path)
        assert (bundle.missing, bundle.added) == ((), ())
        assert [pin.name for pin in bundle.pins] == names
        wheels = vendor(bundle.pins, platform, nowhere, cache=tmp_path, stock=found.vendored)
        assert [wheel.name for wheel in wheels] == names
    assert {wheel.sha256 for wheel in found.vendored} == {wheel.sha256 for wheel in sent}


def test_tools_are_in_the_file_once(manifest, tmp_path):
    (uv,), (django,) = manifest.tools, manifest.vendored
    bundle = HostBundle((), (*manifest.wheels, django))

    found = with_vendored(manifest, {HostPlatform((3, 11, 7)): bundle}, [uv, uv, django])

    assert found.tools == (uv,)
    assert found.vendored == (django,)


# What a stranger may have made


def refusal(file: Path, cache: Path) -> str:
    """Why a file is refused; and that nothing of it is left."""
    with pytest.raises(BundleError) as caught:
        read_bundle(file, cache=cache)
    assert not [path for path in cache.rglob("*") if path.is_file()]
    start = f"{file} is no bundle: "
    assert caught.value.message.startswith(start)
    assert caught.value.remedy == "Get it again, or write it with `manage.py deploy_bundle`."
    return caught.value.message.removeprefix(start)


def members(file: Path) -> list[tuple[zipfile.ZipInfo, bytes]]:
    with zipfile.ZipFile(file) as opened:
        return [(member, opened.read(member)) for member in opened.infolist()]


def rewrite(file: Path, entries: list[tuple[zipfile.ZipInfo, bytes]]) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as opened:
        for member, content in entries:
            opened.writestr(member, content, member.compress_type)


def change(file: Path, edit) -> None:
    """Changes the manifest of a bundle file."""
    (manifest, content), *wheels = members(file)
    listed = json.loads(content)
    edit(listed)
    rewrite(file, [(manifest, json.dumps(listed).encode()), *wheels])


def test_no_such_file(tmp_path):
    with pytest.raises(BundleError) as caught:
        read_bundle(tmp_path / "none", cache=tmp_path / "cache")

    assert caught.value.message == f"{tmp_path}/none cannot be read: No such file or directory."


def test_a_folder_and_a_device(tmp_path):
    with pytest.raises(BundleError, match="cannot be read: Is a directory"):
        read_bundle(tmp_path, cache=tmp_path / "cache")
    with pytest.raises(BundleError, match="it is no file"):
        read_bundle(Path("/dev/zero"), cache=tmp_path / "cache")


@pytest.mark.parametrize("content", [b"", b"PK", b"hello" * 100, b"PK\x05\x06"])
def test_something_else(tmp_path, content):
    file = tmp_path / "some.bundle"
    file.write_bytes(content)

    assert refusal(file, tmp_path / "cache") == "it is not a zip file, or is incomplete."


def test_every_cut(written, tmp_path):
    content = written.read_bytes()
    for size in range(0, len(content), 97):
        written.write_bytes(content[:size])
        assert refusal(written, tmp_path / "cache") == "it is not a zip file, or is incomplete."


def test_every_flipped_byte(written, tmp_path):
    """Refused, or the byte means nothing: then all that is used is as it was."""
    content = written.read_bytes()
    whole = read_bundle(written, cache=tmp_path / "whole").manifest
    for place in range(0, len(content), 41):
        written.write_bytes(content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :])
        try:
            found = read_bundle(written, cache=tmp_path / "cache").manifest
        except BundleError:
            continue
        assert replace(found, created=0, wheels=(), vendored=(), tools=(), sdists=()) == replace(
            whole, created=0, wheels=(), vendored=(), tools=(), sdists=()
        )
        assert [wheel.sha256 for wheel in found.wheels] == [wheel.sha256 for wheel in whole.wheels]


def test_a_file_that_is_too_large(written, tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MAX_FILE", 1000)

    assert refusal(written, tmp_path / "cache") == "it has more than 0.0 GB."


def test_too_large_to_write(manifest, tmp_path, monkeypatch):
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 1000)

    with pytest.raises(BundleError) as caught:
        write_bundle(manifest, tmp_path / "shop.bundle")

    assert caught.value.message == f"{tmp_path}/shop.bundle would have more than 2.1 GB."


def test_a_directory_that_is_too_large(written, tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MAX_DIRECTORY", 100)

    assert refusal(written, tmp_path / "cache") == "its directory is not right."


def test_a_comment_and_zip64(written, tmp_path):
    content = written.read_bytes()
    with zipfile.ZipFile(written, "a") as opened:
        opened.comment = b"PK\x05\x06" + struct.pack("<4H2LH", 0, 0, 0, 0, 0, 0, 0)
    assert refusal(written, tmp_path / "cache") == "its directory is not right."

    written.write_bytes(content[:-42] + b"PK\x06\x07" + b"\0" * 16 + content[-22:])
    assert refusal(written, tmp_path / "cache") == "its directory is not right."


def test_a_manifest_that_is_too_large(written, tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MAX_MANIFEST", 1_000)

    assert refusal(written, tmp_path / "cache") == "its manifest.json has more than 0 MB."


def test_no_manifest(written, tmp_path):
    rewrite(written, members(written)[1:])

    assert refusal(written, tmp_path / "cache") == "it has no manifest.json."


def test_deflated_members(written, tmp_path):
    entries = members(written)
    entries[1][0].compress_type = zipfile.ZIP_DEFLATED
    entries[1] = (entries[1][0], b"\0" * 10_000_000)
    rewrite(written, entries)

    assert refusal(written, tmp_path / "cache").endswith(".whl' is not a plain file.")


@pytest.mark.parametrize("mode", [stat.S_IFLNK | 0o777, stat.S_IFDIR | 0o755, stat.S_IFIFO, 0])
def test_members_that_are_no_files(written, tmp_path, mode):
    entries = members(written)
    entries[2][0].external_attr = mode << 16
    rewrite(written, entries)

    assert refusal(written, tmp_path / "cache").endswith(".whl' is not a plain file.")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_twice(written, tmp_path):
    entries = members(written)
    rewrite(written, [*entries, entries[1]])

    assert refusal(written, tmp_path / "cache") == "it has a member twice."


def test_members_that_overlap(written, tmp_path):
    """As zip bombs do it: many entries of the directory for one piece of data."""
    entries = members(written)
    (first, _), *_ = entries
    with zipfile.ZipFile(written, "a") as opened:
        for number in range(50):
            member = zipfile.ZipInfo(f"files/{number}")
            member.create_system, member.external_attr = 3, (stat.S_IFREG | 0o644) << 16
            member.header_offset, member.CRC = entries[1][0].header_offset, first.CRC
            member.file_size = member.compress_size = len(written.read_bytes()) // 4
            opened.filelist.append(member)
            opened._didModify = True

    assert refusal(written, tmp_path / "cache") == "its members overlap."


@pytest.mark.parametrize(
    "name", ["../../evil.whl", "/tmp/evil.whl", "files/evil.whl", "files/" + "a" * 64 + "/../../evil.whl"]
)
def test_members_that_nobody_lists(written, tmp_path, name):
    member = zipfile.ZipInfo(name)
    member.create_system, member.external_attr = 3, (stat.S_IFREG | 0o644) << 16
    rewrite(written, [*members(written), (member, b"evil")])

    assert refusal(written, tmp_path / "cache") == f"it has, and does not list, {name}."


def test_a_member_that_is_missing(written, tmp_path):
    entries = members(written)
    rewrite(written, entries[:-1])

    assert refusal(written, tmp_path / "cache") == f"it lacks {entries[-1][0].filename}."


def test_another_wheel_in_the_place_of_one(written, tmp_path):
    entries = members(written)
    name = entries[1][0].filename
    rewrite(written, [entries[0], (entries[1][0], entries[1][1] + b"more"), *entries[2:]])
    size = len(entries[1][1])
    assert refusal(written, tmp_path / "cache") == f"{name} has {size + 4} bytes, and {size} are listed."

    rewrite(written, [entries[0], (entries[1][0], b"x" * size), *entries[2:]])
    found = refusal(written, tmp_path / "cache")
    assert found == f"{name.rpartition('/')[2]} is not what its sha256 says."


def replaced(written, content):
    """The bundle with other content for its first wheel, and a manifest that says so."""
    (manifest, text), *entries = members(written)
    listed = json.loads(text)
    wheel = listed["wheels"][0]
    rest = [entry for entry in entries if wheel["sha256"] not in entry[0].filename]
    wheel |= {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    place = archive._member(f"files/{wheel['sha256']}/{wheel['file']}")
    rewrite(written, [(manifest, json.dumps(listed).encode()), (place, content), *rest])
    return wheel["file"]


def zipped(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, content in members.items():
            wheel.writestr(name, content)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", " is not a wheel: File is not a zip file."),
        (b"hello", " is not a wheel: File is not a zip file."),
        (zipped(x=b"y" * 99)[:-30], " is not a wheel: File is not a zip file."),
        (zipped(**{"../../x": b""}), " has a member '../../x'."),
        (zipped(**{"a/../../x": b""}), " has a member 'a/../../x'."),
        (zipped(**{"/etc/passwd": b""}), " has a member '/etc/passwd'."),
    ],
    ids=["nothing", "a text", "cut off", "above", "through a folder above", "absolute"],
)
def test_wheels_that_are_none(written, tmp_path, content, why):
    name = replaced(written, content)

    assert refusal(written, tmp_path / "cache") == f"{name}{why}"


def test_a_wheel_that_would_unpack_to_too_much(written, tmp_path, monkeypatch):
    content = zipped(x=bytes(2_000_000), y=bytes(2_000_000))
    name = replaced(written, content)
    read_bundle(written, cache=tmp_path / "allowed")
    monkeypatch.setattr(archive, "MAX_SMALL_WHEEL", 3_999_999)

    assert refusal(written, tmp_path / "cache") == f"{name} would unpack to 4.0 MB."


# Documents


def remove(*path):
    def edit(listed):
        for key in path[:-1]:
            listed = listed[key]
        del listed[path[-1]]

    return edit


def put(value, *path):
    def edit(listed):
        for key in path[:-1]:
            listed = listed[key]
        listed[path[-1]] = value

    return edit


def add(value, *path):
    def edit(listed):
        for key in path:
            listed = listed[key]
        listed.append(value(listed) if callable(value) else value)

    return edit


WHEEL_KEYS = "name, version, file, sha256, size"
MISTAKES = [
    (put("something else", "format"), "it does not say that it is one"),
    (remove("format"), "it does not say that it is one"),
    (put(2, "version"), "its version is 2, and 1 is known here"),
    (put("1" * 100, "version"), "its version is '1111111111111111111, and 1 is known here"),
    (put([], "project"), "'project' must be an object with the keys name, version, extras, revision"),
    (put(1, "more"), "'' must be an object with the keys format, version, project, environment, wheels,"),
    (remove("pins"), "'' must be an object with the keys format, version, project, environment, wheels,"),
    (put("Shop", "project", "name"), "'project.name' must be a text like "),
    (put("reviews\n", "project", "name"), "'project.name' must be a line of text"),
    (put("other", "project", "name"), "it does not have the project other"),
    (put("one", "project", "version"), "'project.version' must be a version"),
    (put("9" * 5_000, "project", "version"), "'project.version' must be a line of text"),
    (
        put("9" * 5_000, "environment", "python_version"),
        "'environment.python_version' must be a line of text",
    ),
    (put(">=" + "9" * 5_000, "requires_python", "shop"), "'requires_python.shop' must be a line of text"),
    (put(["; rm"], "project", "extras"), "'project.extras[0]' must be a text like "),
    (remove("environment", "os_name"), "'environment' must be an object with the keys "),
    (put(3, "environment", "os_name"), "'environment.os_name' must be a line of text"),
    (put({}, "wheels"), "'wheels' must be a list of at most 20000 items"),
    (put(None, "wheels", 0), f"'wheels[0]' must be an object with the keys {WHEEL_KEYS}, revision"),
    (put(True, "wheels", 0, "size"), "'wheels[0].size' must be a whole number"),
    (put(-1, "wheels", 0, "size"), "'wheels[0].size' must be a whole number"),
    (put("5", "wheels", 1, "size"), "'wheels[1].size' must be a whole number"),
    (put("A" * 64, "wheels", 0, "sha256"), "'wheels[0].sha256' must be a text like [0-9a-f]{64}"),
    (put("../x.whl", "wheels", 0, "file"), "'wheels[0].file' must be a text like "),
    (put("x.whl", "wheels", 0, "file"), "'wheels[0].file' must be the file name of a wheel"),
    (put("y-1-py3-none-any.whl", "wheels", 0, "file"), "'wheels[0].file' must be that of a file of reviews"),
    (
        put({"vcs": "git"}, "project", "revision"),
        "'project.revision' must be an object with the keys vcs, id",
    ),
    (put("GIT", "project", "revision", "vcs"), "'project.revision.vcs' must be a text like "),
    (put("yes", "project", "revision", "dirty"), "'project.revision.dirty' must be true or false"),
    (put("x.whl", "tools", 0, "file"), "'tools[0].file' must be the file name of a wheel"),
    (put("x.whl", "sdists", 0, "file"), "'sdists[0].file' must be a text like "),
    (put("a-b.tar.gz", "sdists", 0, "file"), "'sdists[0].file' must be the file name of an sdist"),
    (put("shop-1.0.tar.gz", "sdists", 0, "file"), "'sdists[0].file' must be that of a file of reviews 1.0"),
    (put([], "pins", 0, "hashes"), "'pins[0].hashes' must be a list of at least one sha256"),
    (put(["x"], "pins", 0, "hashes"), "'pins[0].hashes[0]' must be a text like [0-9a-f]{64}"),
    (put("5 --index-url=http://evil", "pins", 0, "version"), "'pins[0].version' must be a text like "),
    (put("nonsense", "pins", 0, "marker"), "'pins[0].marker' must be an environment marker"),
    (put('os_name ~= "posix"', "pins", 0, "marker"), "'pins[0].marker' must be an environment marker"),
    (put("(" * 3_900 + "x", "pins", 0, "marker"), "'pins[0].marker' must be an environment marker"),
    (put({"shop": ['x; os_name ~= "x"']}, "requires"), "'requires.shop' must be a list of requirements"),
    (put("django\n-r x", "pins", 0, "name"), "'pins[0].name' must be a line of text"),
    (put({"Shop": []}, "requires"), "'requires' must be an object of distributions by canonical name"),
    (put({"shop": ["???"]}, "requires"), "'requires.shop' must be a list of requirements"),
    (put([], "requires_python"), "'requires_python' must be an object of at most 20000 entries"),
    (add(lambda pins: {**pins[0], "name": "shop"}, "pins"), "it lists twice: shop"),
    (add(lambda wheels: wheels[0], "wheels"), "it lists twice: reviews"),
    (add(lambda wheels: wheels[0], "vendored"), "it lists twice: a file"),
    (remove("pins", 0), "it has wheels of what it does not pin: django"),
]


@pytest.mark.parametrize(("edit", "why"), MISTAKES, ids=[why[:50] for _, why in MISTAKES])
def test_documents_that_are_wrong(written, tmp_path, edit, why):
    change(written, edit)

    assert refusal(written, tmp_path / "cache").startswith(why)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000, b"1" * 10_000])
def test_what_is_not_json(written, tmp_path, content):
    (manifest, _), *wheels = members(written)
    rewrite(written, [(manifest, content), *wheels])

    assert refusal(written, tmp_path / "cache") == "it is not JSON."


def test_json_that_is_no_object(written, tmp_path):
    (manifest, _), *wheels = members(written)
    rewrite(written, [(manifest, b"[]"), *wheels])

    assert refusal(written, tmp_path / "cache") == "it is not a JSON object."


def test_lists_that_are_too_long(written, tmp_path, monkeypatch):
    monkeypatch.setattr(document, "MAX_ITEMS", 1)

    assert refusal(written, tmp_path / "cache") == "'wheels' must be a list of at most 1 items."
