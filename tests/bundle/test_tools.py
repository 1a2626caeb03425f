"""Tools for hosts: which wheel fits, and when the index is asked."""

from __future__ import annotations

import hashlib
import json
import platform
import sys

import pytest
from packaging.tags import sys_tags

from django_deploy.bundle.index.pages import File
from django_deploy.bundle.tools import GOOD_FOR, HostPlatform, choose_wheel, fetch_tool
from django_deploy.exceptions import BundleError
from tests.bundle.archives import make_wheel

DEBIAN = HostPlatform((3, 11, 2), machine="x86_64", glibc="2.36")
OLD = HostPlatform((3, 9, 2), machine="x86_64", glibc="2.28")
ALPINE = HostPlatform((3, 12, 1), machine="aarch64", musl="1.2")


@pytest.mark.skipif(
    sys.platform != "linux" or platform.libc_ver()[0] != "glibc" or sys.implementation.name != "cpython",
    reason="computed tags are for CPython on glibc",
)
def test_tags_are_those_that_packaging_lists_there():
    here = HostPlatform(sys.version_info[:3], machine=platform.machine(), glibc=platform.libc_ver()[1])

    assert list(here.tags()) == list(sys_tags())


def test_tags_of_musl():
    tags = [str(tag) for tag in ALPINE.tags()]

    assert tags[:3] == [
        "cp312-cp312-linux_aarch64",
        "cp312-cp312-musllinux_1_2_aarch64",
        "cp312-cp312-musllinux_1_1_aarch64",
    ]
    assert not any("manylinux" in tag for tag in tags)


def test_tags_of_free_threaded_python():
    host = HostPlatform((3, 13, 0), glibc="2.36", is_free_threaded=True)

    assert {tag.abi for tag in host.tags()} == {"cp313t", "abi3t", "none"}


def test_tags_of_another_system_cannot_be_known():
    with pytest.raises(BundleError) as caught:
        list(HostPlatform((3, 12, 0), machine="riscv9", system="plan9").tags())

    assert caught.value.message == "Wheels for plan9 on riscv9 can be chosen on such a machine only."


def choose(platform: HostPlatform, *filenames: str, **fields) -> str | None:
    file = choose_wheel([File(name, f"http://index/{name}", **fields) for name in filenames], platform)
    return file and file.filename


UV = (
    "uv-1.0-py3-none-macosx_11_0_arm64.whl",
    "uv-1.0-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
    "uv-1.0-py3-none-manylinux_2_31_x86_64.whl",
    "uv-1.0-py3-none-musllinux_1_1_aarch64.whl",
    "uv-1.0.tar.gz",
)


@pytest.mark.parametrize(("host", "number"), [(DEBIAN, 2), (OLD, 1), (ALPINE, 3)])
def test_wheel_that_fits_best(host, number):
    assert choose(host, *UV) == UV[number]


def test_newest_stable_version():
    assert choose(
        DEBIAN, "pip-9.0-py3-none-any.whl", "pip-10.0-py3-none-any.whl", "pip-11.0rc1-py3-none-any.whl"
    ) == ("pip-10.0-py3-none-any.whl")


def test_version_for_the_hosts_python():
    old = File("pip-25.0-py3-none-any.whl", "", requires_python=">=3.8")
    new = File("pip-26.0-py3-none-any.whl", "", requires_python=">=3.10")

    assert choose_wheel([old, new], OLD) is old
    assert choose_wheel([old, new], DEBIAN) is new


def test_yanked_and_odd_files_do_not_count():
    assert choose(DEBIAN, "pip-1.0-py3-none-any.whl", is_yanked=True) is None
    assert choose(DEBIAN, "pip-x.whl", "pip-1.0-cp27-cp27m-win32.whl") is None


@pytest.fixture
def offer(index, tmp_path):
    """Puts a version of pip on the index."""

    def add(version: str, sha256: str = "") -> str:
        wheel = make_wheel(tmp_path / "files", "pip", version)
        sha256 = sha256 or hashlib.sha256(wheel.read_bytes()).hexdigest()
        index.pages[f"/files/{wheel.name}"] = (200, "application/octet-stream", wheel.read_bytes())
        index.add("pip", {wheel.name: sha256})
        return sha256

    return add


def fetch(index, tmp_path):
    return fetch_tool("pip", DEBIAN, index_url=index.url, cache=tmp_path / "cache")


def age(tmp_path, seconds: float) -> None:
    """Makes what is kept older."""
    for file in (tmp_path / "cache" / "tools").glob("*.json"):
        record = json.loads(file.read_text())
        file.write_text(json.dumps({**record, "checked": record["checked"] - seconds}))


def test_tool_is_fetched_once(index, offer, tmp_path):
    sha256 = offer("1.0")

    wheel = fetch(index, tmp_path)
    asked = len(index.requests)

    assert (wheel.name, wheel.version, wheel.sha256) == ("pip", "1.0", sha256)
    assert hashlib.sha256(wheel.path.read_bytes()).hexdigest() == sha256
    assert wheel.path.name == "pip-1.0-py3-none-any.whl"
    assert wheel.size == wheel.path.stat().st_size
    assert fetch(index, tmp_path) == wheel
    assert len(index.requests) == asked


def test_index_is_asked_again_after_a_while(index, offer, tmp_path):
    offer("1.0")
    fetch(index, tmp_path)
    offer("2.0")

    age(tmp_path, GOOD_FOR - 60)
    assert fetch(index, tmp_path).version == "1.0"
    age(tmp_path, 120)
    assert fetch(index, tmp_path).version == "2.0"


def test_without_the_index_the_old_one_serves(index, offer, tmp_path):
    offer("1.0")
    wheel = fetch(index, tmp_path)
    age(tmp_path, 2 * GOOD_FOR)
    index.close()

    assert fetch(index, tmp_path) == wheel


def test_damaged_download_is_refused(index, offer, tmp_path):
    offer("1.0", sha256="0" * 64)

    with pytest.raises(BundleError) as caught:
        fetch(index, tmp_path)

    assert caught.value.message == (
        "pip cannot be fetched: pip-1.0-py3-none-any.whl is damaged: its sha256 is not what was announced."
    )
    assert not list((tmp_path / "cache").rglob("*.whl"))


def test_nothing_that_fits(index, tmp_path):
    with pytest.raises(BundleError) as caught:
        fetch(index, tmp_path)

    assert caught.value.message == "No index has a wheel of pip for Python 3.11.2 on x86_64."
    assert caught.value.remedy == "Install pip on the host."


def test_no_index(index, tmp_path):
    index.close()

    with pytest.raises(BundleError) as caught:
        fetch(index, tmp_path)

    assert caught.value.message.startswith(f"pip cannot be fetched: {index.url}/pip/ cannot be read: ")
