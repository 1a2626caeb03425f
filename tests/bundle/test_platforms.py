"""Which wheel fits a host."""

from __future__ import annotations

import platform
import sys

import pytest
from packaging.tags import sys_tags

from django_deploy.bundle.index.pages import File
from django_deploy.bundle.platforms import HostPlatform, choose_wheel
from django_deploy.exceptions import BundleError

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
