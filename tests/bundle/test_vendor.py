"""Wheels for hosts without an index: which file, from where, and when the index is asked."""

from __future__ import annotations

import hashlib
import os
import tarfile
import time
from dataclasses import replace
from pathlib import Path

import pytest

from django_deploy.bundle.index.client import IndexFailure
from django_deploy.bundle.index.pages import File, Index
from django_deploy.bundle.index.sources import Sources
from django_deploy.bundle.manifest import Pin, Wheel
from django_deploy.bundle.platforms import HostPlatform
from django_deploy.bundle.vendor import KEPT_FOR, vendor
from django_deploy.exceptions import BundleError
from tests.bundle.archives import make_wheel

DEBIAN = HostPlatform((3, 11, 2), machine="x86_64", glibc="2.36")
ARM = HostPlatform((3, 12, 1), machine="aarch64", glibc="2.31")
ALPINE = HostPlatform((3, 12, 1), machine="x86_64", musl="1.2")
THREADED = HostPlatform((3, 13, 0), machine="x86_64", glibc="2.36", is_free_threaded=True)


class Shelf:
    """Puts files on the index, real ones, and gives the pins that a lock would have."""

    def __init__(self, index, folder: Path) -> None:
        self.index = index
        self.folder = folder
        self.files: dict[str, dict[str, str]] = {}

    def wheels(self, name: str, *tags: str, version: str = "1.0", **fields: str) -> Pin:
        for tag in tags:
            self.add(name, make_wheel(self.folder, name, version, tag=tag), **fields)
        return self.pin(name, version)

    def add(self, name: str, path: Path, sha256: str = "", **fields: str) -> None:
        content = path.read_bytes()
        self.index.pages[f"/files/{path.name}"] = (200, "application/octet-stream", content)
        self.files.setdefault(name, {})[path.name] = sha256 or hashlib.sha256(content).hexdigest()
        self.index.add(name, self.files[name], **fields)

    def pin(self, name: str, version: str = "1.0") -> Pin:
        files = self.files[name].items()
        return Pin(name, version, tuple(sorted(sha256 for file, sha256 in files if f"-{version}" in file)))


@pytest.fixture
def shelf(index, tmp_path):
    return Shelf(index, tmp_path / "shelf")


@pytest.fixture
def run(index, tmp_path):
    """Vendors pins for a host, from the index only; ``run.events`` are what was reported."""

    def call(*pins: Pin, host: HostPlatform = DEBIAN, **sources: object) -> tuple[Wheel, ...]:
        found = Sources(**{"index_url": index.url, **sources})
        return vendor(pins, host, found, cache=tmp_path / "cache", report=call.events.append)

    call.events = []
    return call


def names(wheels: tuple[Wheel, ...]) -> list[str]:
    return [wheel.path.name for wheel in wheels]


OTHER_VERSIONS = (
    "Install versions here that have wheels for it, or deploy from a machine like the host: there "
    "wheels are built from sdists."
)
FIX = "Fix the index or the connection to it, and deploy again: what was fetched is kept."


def problem(run, *pins: Pin, remedy: str = OTHER_VERSIONS, **options: object) -> str:
    with pytest.raises(BundleError) as caught:
        run(*pins, **options)
    host = options.get("host", DEBIAN)
    head, *lines = caught.value.message.splitlines()
    assert head == f"There is no file of these distributions for {host}:"
    assert caught.value.remedy == remedy
    return "\n".join(line.strip() for line in lines)


COMPILED = (
    "cp311-cp311-manylinux_2_17_x86_64",
    "cp311-cp311-manylinux_2_28_x86_64",
    "cp312-cp312-manylinux_2_17_aarch64",
    "cp312-cp312-manylinux_2_34_aarch64",
    "cp312-cp312-musllinux_1_1_x86_64",
    "cp313-cp313-manylinux_2_17_x86_64",
    "cp313-cp313t-manylinux_2_17_x86_64",
    "cp311-cp311-macosx_11_0_arm64",
)


@pytest.mark.parametrize(("host", "number"), [(DEBIAN, 1), (ARM, 2), (ALPINE, 4), (THREADED, 6)], ids=str)
def test_wheel_for_the_hosts_platform(shelf, run, host, number):
    pin = shelf.wheels("acme-x", *COMPILED)

    (wheel,) = run(pin, host=host)

    content = wheel.path.read_bytes()
    assert wheel.path.name == f"acme_x-1.0-{COMPILED[number]}.whl"
    assert (wheel.name, wheel.version, wheel.size) == ("acme-x", "1.0", len(content))
    assert wheel.sha256 == hashlib.sha256(content).hexdigest() == wheel.path.parent.name


def test_stable_abi_serves_newer_pythons(shelf, run):
    pin = shelf.wheels("acme-x", "cp38-abi3-manylinux_2_17_x86_64", "cp38-abi3-manylinux_2_17_aarch64")

    assert names(run(pin)) == ["acme_x-1.0-cp38-abi3-manylinux_2_17_x86_64.whl"]
    assert names(run(pin, host=ARM)) == ["acme_x-1.0-cp38-abi3-manylinux_2_17_aarch64.whl"]
    assert problem(run, pin, host=THREADED) == (
        "acme-x 1.0: there is no sdist, and wheels only for "
        "cp38-abi3-manylinux_2_17_aarch64, cp38-abi3-manylinux_2_17_x86_64"
    )


def test_only_the_version_of_the_pin_counts(shelf, run):
    shelf.wheels("acme-x", "py3-none-any", version="2.0")
    pin = shelf.wheels("acme-x", "py3-none-any", version="1.0rc1")

    assert names(run(pin)) == ["acme_x-1.0rc1-py3-none-any.whl"]


def test_yanked_version_was_chosen_by_its_pin(shelf, run):
    pin = shelf.wheels("acme-x", "py3-none-any", yanked="too early")

    assert names(run(pin)) == ["acme_x-1.0-py3-none-any.whl"]


def test_the_stricter_requirement_of_a_file_counts(shelf, run):
    shelf.wheels("acme-x", "cp311-cp311-manylinux_2_17_x86_64", **{"requires-python": ">=3.11.5"})
    pin = shelf.pin("acme-x")

    assert problem(run, pin) == "acme-x 1.0: its files require Python >=3.11.5"


def test_only_files_that_the_lock_allows(shelf, run):
    pin = shelf.wheels("acme-x", "py3-none-any", "cp311-cp311-manylinux_2_17_x86_64")
    generic = shelf.files["acme-x"]["acme_x-1.0-py3-none-any.whl"]

    assert names(run(replace(pin, hashes=(generic,)))) == ["acme_x-1.0-py3-none-any.whl"]
    assert problem(run, replace(pin, hashes=("0" * 64,))) == (
        "acme-x 1.0: acme_x-1.0-cp311-cp311-manylinux_2_17_x86_64.whl would fit, "
        "but its sha256 is not among those of the lock"
    )


def test_files_that_neither_fit_nor_are_in_the_lock(shelf, run):
    pin = shelf.wheels("acme-x", "cp311-cp311-win_amd64")

    assert problem(run, replace(pin, hashes=("0" * 64,))) == (
        "acme-x 1.0: no file of this version on the indexes has a sha256 that the lock allows"
    )


def test_what_its_marker_leaves_out_is_not_fetched(shelf, run, index):
    pins = [shelf.wheels(name, "py3-none-any") for name in ("acme-x", "acme-y")]
    old = replace(pins[0], marker="python_full_version < '3.11.2'")
    new = replace(pins[1], marker="python_full_version < '3.11.3'")

    assert names(run(old, new)) == ["acme_y-1.0-py3-none-any.whl"]
    assert not [path for path in index.requests if "x" in path.replace("/simple", "")]


def test_nothing_is_asked_when_all_is_here(shelf, run, index):
    pins = [shelf.wheels(name, *COMPILED) for name in ("acme-x", "acme-y")]
    first = run(*pins)
    index.close()
    run.events.clear()

    assert run(*pins) == first
    assert run.events == []


def test_only_what_is_not_here_is_fetched(shelf, run, index):
    x = shelf.wheels("acme-x", "py3-none-any")
    y = shelf.wheels("acme-y", "py3-none-any")
    run(x)
    index.requests.clear()
    run.events.clear()

    wheels = run(y, x)

    assert names(wheels) == ["acme_y-1.0-py3-none-any.whl", "acme_x-1.0-py3-none-any.whl"]
    assert index.requests == ["/simple/acme-y/", "/files/acme_y-1.0-py3-none-any.whl"]
    started, finished = (event.as_dict() for event in run.events)
    assert (started["event"], started["distributions"]) == ("vendor.started", 1)
    assert (finished["event"], finished["distributions"]) == ("vendor.finished", 1)
    assert finished["bytes"] == wheels[0].size


def test_kinds_of_hosts_share_a_file(shelf, run, index):
    pin = shelf.wheels("acme-x", "py3-none-any")

    assert run(pin) == run(pin, host=ARM)

    assert index.requests.count("/files/acme_x-1.0-py3-none-any.whl") == 1


@pytest.mark.parametrize("harm", ["gone", "short"])
def test_file_that_was_harmed_is_fetched_again(shelf, run, harm):
    pin = shelf.wheels("acme-x", "py3-none-any")
    (wheel,) = run(pin)
    wheel.path.unlink() if harm == "gone" else wheel.path.write_bytes(b"PK")

    assert run(pin) == (wheel,)
    assert hashlib.sha256(wheel.path.read_bytes()).hexdigest() == wheel.sha256


def test_damaged_download_is_refused(shelf, run, tmp_path):
    path = make_wheel(shelf.folder, "acme-x")
    shelf.add("acme-x", path, sha256="0" * 64)

    assert problem(run, shelf.pin("acme-x"), remedy=FIX) == (
        "acme-x 1.0: acme_x-1.0-py3-none-any.whl is damaged: its sha256 is not what was announced"
    )
    assert not list((tmp_path / "cache").rglob("*.whl"))


def test_download_that_breaks_off_is_told(shelf, run, index):
    pin = shelf.wheels("acme-x", "py3-none-any")
    index.breaks_off = True

    message = problem(run, pin, remedy=FIX)

    assert message.startswith(
        f"acme-x 1.0: http://{index.address}/files/acme_x-1.0-py3-none-any.whl cannot be"
    )
    assert "IncompleteRead" in message


def test_digest_that_the_index_does_not_tell_is_the_locks(shelf, run, index):
    pin = shelf.wheels("acme-x", "py3-none-any")
    index.add_html("acme-x", '<a href="/files/acme_x-1.0-py3-none-any.whl">acme</a>')

    assert run(pin)[0].sha256 == pin.hashes[0]
    assert problem(run, replace(pin, hashes=("0" * 64,)), remedy=FIX) == (
        "acme-x 1.0: acme_x-1.0-py3-none-any.whl is damaged: its sha256 is not what was announced"
    )


def test_names_that_lead_elsewhere_are_refused(index, tmp_path):
    with pytest.raises(IndexFailure) as caught:
        Index(Sources(index.url)).fetch(File("../x-1.0.zip", f"{index.url}/x"), tmp_path / "cache")

    assert str(caught.value) == "'../x-1.0.zip' is not the name of a file"
    assert index.requests == []


def test_wheel_of_a_local_folder(shelf, run):
    pin = shelf.wheels("acme-x", "py3-none-any")

    (wheel,) = run(pin, index_url="", find_links=(str(shelf.folder),))

    assert wheel.path != shelf.folder / wheel.path.name
    assert wheel.sha256 == pin.hashes[0]


def test_all_that_is_lacking_is_told_at_once(shelf, run, index):
    fine = shelf.wheels("acme-fine", "py3-none-any")
    foreign = shelf.wheels("acme-foreign", "cp311-cp311-win_amd64", "cp311-cp311-macosx_11_0_arm64")
    absent = Pin("acme-absent", "1.0", ("0" * 64,))
    index.pages["/simple/acme-odd/"] = (503, "text/plain", b"")

    lines = problem(run, fine, foreign, absent, Pin("acme-odd", "1.0", ("0" * 64,))).splitlines()

    assert lines == [
        "acme-foreign 1.0: there is no sdist, and wheels only for "
        "cp311-cp311-macosx_11_0_arm64, cp311-cp311-win_amd64",
        "acme-absent 1.0: no index has this version",
        f"acme-odd 1.0: {index.url}/acme-odd/ answered with status 503",
    ]


def test_what_was_fetched_before_a_failure_stays(shelf, run, index):
    fine = shelf.wheels("acme-fine", "py3-none-any")
    problem(run, fine, Pin("acme-absent", "1.0", ("0" * 64,)))
    index.close()

    assert names(run(fine)) == ["acme_fine-1.0-py3-none-any.whl"]


def test_many_tags_are_cut_short(shelf, run):
    pin = shelf.wheels("acme-x", *(f"cp3{minor}-cp3{minor}-win32" for minor in range(12, 21)))

    assert problem(run, pin) == (
        "acme-x 1.0: there is no sdist, and wheels only for cp312-cp312-win32, cp313-cp313-win32, "
        "cp314-cp314-win32, cp315-cp315-win32, cp316-cp316-win32, cp317-cp317-win32 and 3 more"
    )


def test_files_that_nobody_uses_leave_the_cache(shelf, run):
    old, new = (shelf.wheels(name, "py3-none-any") for name in ("acme-old", "acme-new"))
    (unused,) = run(old)
    (used,) = run(new)
    for wheel in (unused, used):
        os.utime(wheel.path, (0, time.time() - KEPT_FOR - 60))

    run(new, shelf.wheels("acme-more", "py3-none-any"))

    assert (unused.path.exists(), used.path.exists()) == (False, True)


# Sdists

#: A back end that comes along with what it builds.
BACKEND = """
import zipfile

def build_wheel(folder, config_settings=None, metadata_directory=None):
    files = {"METADATA": "Metadata-Version: 2.1\\nName: acme-x\\nVersion: 1.0\\n", "RECORD": ""}
    files["WHEEL"] = "Wheel-Version: 1.0\\nGenerator: acme\\nRoot-Is-Purelib: true\\nTag: TAG\\n"
    with zipfile.ZipFile(f"{folder}/acme_x-1.0-TAG.whl", "w") as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(f"acme_x-1.0.dist-info/{name}"), text)
    return "acme_x-1.0-TAG.whl"
"""

BUILD_SYSTEM = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""


def make_sdist(folder: Path, backend: str) -> Path:
    source = folder / "source"
    source.mkdir(parents=True)
    (source / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: acme-x\nVersion: 1.0\n")
    (source / "pyproject.toml").write_text(BUILD_SYSTEM)
    (source / "backend.py").write_text(backend)
    with tarfile.open(folder / "acme_x-1.0.tar.gz", "w:gz") as archive:
        archive.add(source, "acme_x-1.0")
    return folder / "acme_x-1.0.tar.gz"


def test_wheel_is_built_of_what_has_only_an_sdist(shelf, run, index, tmp_path):
    shelf.add("acme-x", make_sdist(shelf.folder, BACKEND.replace("TAG", "py3-none-any")))
    pin = shelf.pin("acme-x")

    (wheel,) = run(pin, host=ARM)

    assert wheel.path.parents[1] == tmp_path / "cache" / "files"
    assert wheel.path.name == "acme_x-1.0-py3-none-any.whl"
    assert hashlib.sha256(wheel.path.read_bytes()).hexdigest() == wheel.sha256 == wheel.path.parent.name
    assert [event.kind for event in run.events] == [
        "vendor.started",
        "build.started",
        "build.finished",
        "vendor.finished",
    ]
    index.close()
    assert run(pin, host=ARM) == (wheel,)


def test_wheel_that_fits_is_preferred_to_an_sdist(shelf, run):
    shelf.add("acme-x", make_sdist(shelf.folder, "raise SystemExit"))

    assert names(run(shelf.wheels("acme-x", "py3-none-any"))) == ["acme_x-1.0-py3-none-any.whl"]


def test_built_wheel_of_another_machine_is_refused(shelf, run):
    tag = "cp311-cp311-linux_x86_64"
    shelf.add("acme-x", make_sdist(shelf.folder, BACKEND.replace("TAG", tag)))

    assert problem(run, shelf.pin("acme-x"), host=ARM) == (
        f"acme-x 1.0: it has an sdist, but what that gives here is acme_x-1.0-{tag}.whl"
    )


def test_built_wheel_for_a_newer_glibc_is_refused(shelf, run):
    tag = "cp311-cp311-linux_x86_64"
    code = 'files = {"acme.so": "\\x7fELF\\0GLIBC_2.38\\0",'
    backend = BACKEND.replace("TAG", tag).replace("files = {", code)
    shelf.add("acme-x", make_sdist(shelf.folder, backend))

    assert problem(run, shelf.pin("acme-x")) == (
        "acme-x 1.0: it has an sdist, but what that gives here needs glibc 2.38"
    )


def test_sdist_that_cannot_be_built_is_told_with_the_others(shelf, run):
    shelf.add("acme-x", make_sdist(shelf.folder, "raise SystemExit('no compiler')"))

    first, *output, last = problem(
        run, shelf.pin("acme-x"), Pin("acme-absent", "1.0", ("0" * 64,))
    ).splitlines()

    assert first.startswith("acme-x 1.0: The wheel of acme-x 1.0 (")
    assert "no compiler" in output
    assert last == "acme-absent 1.0: no index has this version"


def test_sdist_for_newer_pythons_is_not_built(shelf, run):
    shelf.add("acme-x", make_sdist(shelf.folder, "raise SystemExit"), **{"requires-python": ">=3.12"})

    assert problem(run, shelf.pin("acme-x")) == "acme-x 1.0: its files require Python >=3.12"
