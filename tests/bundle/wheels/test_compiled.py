"""Wheels with code that was compiled here: what they need of a host, and sdists in their place."""

from __future__ import annotations

import platform
import shutil
import tarfile
from pathlib import Path

import pytest

from django_deploy.bundle.environment import Distribution
from django_deploy.bundle.fitting import fit
from django_deploy.bundle.index.sources import Sources
from django_deploy.bundle.manifest import Manifest, Wheel
from django_deploy.bundle.platforms import HostPlatform
from django_deploy.bundle.wheels.builder import build_sdists, build_wheels
from django_deploy.bundle.wheels.compiled import is_compiled_here, lacking_glibc, needed_glibc
from django_deploy.exceptions import BundleError
from tests.bundle.archives import make_wheel
from tests.bundle.installations import age

#: ``%s`` is where a call can be put.
SOURCE = """
#include <Python.h>
#include <stdlib.h>
static PyObject *number(PyObject *self, PyObject *none) { return PyLong_FromLong(%s); }
static PyMethodDef methods[] = {{"number", number, METH_NOARGS, ""}, {0}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "acme_c", 0, -1, methods};
PyMODINIT_FUNC PyInit_acme_c(void) { return PyModule_Create(&module); }
"""


def make_compiled(folder: Path, call: str = "7") -> Path:
    """A package with a module in C, and tests beside it that are in no wheel."""
    folder.mkdir(parents=True)
    folder.joinpath("pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools>=77"]\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "acme-c"\nversion = "1.0"\n'
    )
    folder.joinpath("setup.py").write_text(
        "from setuptools import Extension, setup\nsetup(ext_modules=[Extension('acme_c', ['acme.c'])])\n"
    )
    folder.joinpath("acme.c").write_text(SOURCE % call)
    return folder


def editable(source: Path) -> Distribution:
    return Distribution("acme-c", "1.0", "editable", (), Path("/nowhere"), source=source)


needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")


@needs_compiler
def test_glibc_that_the_symbols_of_a_module_need(tmp_path, build_cache):
    """arc4random came with glibc 2.36; what all glibcs have needs none in particular."""
    libc, version = platform.libc_ver()
    if libc != "glibc" or tuple(map(int, version.split("."))) < (2, 36):
        pytest.skip("needs glibc 2.36")
    calls = {"old": 'getenv("HOME") != 0', "new": "arc4random() >= 0"}
    sources = [make_compiled(tmp_path / name, call) for name, call in calls.items()]

    old, new = (item.wheel for item in build_wheels(map(editable, sources), cache=build_cache))

    assert needed_glibc(new.path) == "2.36"
    bullseye = HostPlatform((3, 11, 2), machine=platform.machine(), glibc="2.31")
    assert (lacking_glibc(old, bullseye), lacking_glibc(new, bullseye)) == ("", "2.36")


def wheel_of(path: Path) -> Wheel:
    return Wheel("acme-c", "1.0", path, "a" * 64, 1)


def make_binary(folder: Path, symbols: str, tag: str = "cp311-cp311-linux_x86_64") -> Wheel:
    code = f"\x7fELF\0{symbols}"
    return wheel_of(
        make_wheel(folder, "acme-c", files={"acme_c.so": code, "note.txt": "\0GLIBC_2.99"}, tag=tag)
    )


@pytest.mark.parametrize(
    ("glibc", "lacking"),
    [("2.36", ""), ("2.34", ""), ("2.33", "2.34"), ("2.4", "2.34"), (None, "2.34")],
)
def test_versions_are_numbers(tmp_path, glibc, lacking):
    wheel = make_binary(tmp_path, "\0GLIBC_2.2.5\0GLIBC_2.34\0GLIBC_2.4\0")

    assert lacking_glibc(wheel, HostPlatform((3, 11, 2), glibc=glibc)) == lacking


def test_tags_of_an_index_tell_the_glibc_themselves(tmp_path):
    wheel = make_binary(tmp_path, "\0GLIBC_2.34", tag="cp311-cp311-manylinux_2_17_x86_64")

    assert not is_compiled_here(wheel.path)
    assert lacking_glibc(wheel, HostPlatform((3, 11, 2), glibc="2.17")) == ""


# On hosts


def manifest_of(wheel: Wheel, *sdists: Wheel) -> Manifest:
    requires = (("acme-c", ()),)
    return Manifest("acme-c", "1.0", "3.11.7", (wheel,), (), 0.0, "a@b", requires=requires, sdists=sdists)


SDIST = Wheel("acme-c", "1.0", Path("/cache/acme_c-1.0.tar.gz"), "b" * 64, 1)


@pytest.mark.parametrize(
    "host",
    [
        pytest.param({"glibc": "2.31"}, id="older glibc"),
        pytest.param({"glibc": "2.36", "machine": "aarch64"}, id="other processor"),
        pytest.param({"musl": "1.2"}, id="musl"),
    ],
)
def test_sdist_goes_to_a_host_that_cannot_run_the_wheel(tmp_path, host):
    wheel = make_binary(tmp_path, "\0GLIBC_2.34")

    bundle = fit(
        manifest_of(wheel, SDIST), HostPlatform((3, 11, 2), **host), Sources(index_url=""), cache=tmp_path
    )

    assert (bundle.wheels, bundle.built_there, bundle.lacking) == ((SDIST,), ("acme-c",), ())


def test_wheel_goes_to_a_host_that_can(tmp_path):
    wheel = make_binary(tmp_path, "\0GLIBC_2.34")
    host = HostPlatform((3, 11, 2), glibc="2.36")

    bundle = fit(manifest_of(wheel, SDIST), host, Sources(index_url=""), cache=tmp_path)

    assert (bundle.wheels, bundle.built_there, bundle.lacking) == ((wheel,), (), ())


def test_without_an_sdist_it_is_told_what_the_host_lacks(tmp_path):
    wheel = make_binary(tmp_path, "\0GLIBC_2.34")
    host = HostPlatform((3, 11, 2), glibc="2.31")

    bundle = fit(manifest_of(wheel), host, Sources(index_url=""), cache=tmp_path)

    assert (bundle.wheels, bundle.lacking) == ((wheel,), ((wheel.path.name, "2.34"),))


# Sdists


def build_sdist(source: Path, cache: Path, tag: str = "cp311-cp311-linux_x86_64") -> tuple[Wheel, ...]:
    class Built:
        wheel = wheel_of(Path(f"/cache/acme_c-1.0-{tag}.whl"))

    return build_sdists([editable(source)], [Built], cache=cache)


def test_sdist_of_the_same_tree_has_the_same_bytes(tmp_path, build_cache):
    source = make_compiled(tmp_path / "one")
    other = Path(shutil.copytree(source, tmp_path / "other"))
    age(other, file_mode=0o664)

    (first,) = build_sdist(source, build_cache)
    shutil.rmtree(build_cache / "wheels")
    (second,) = build_sdist(other, build_cache)

    assert (first.path.name, first.version) == ("acme_c-1.0.tar.gz", "1.0")
    assert first.sha256 == second.sha256
    with tarfile.open(second.path) as archive:
        assert {"acme_c-1.0/acme.c", "acme_c-1.0/setup.py"} <= set(archive.getnames())


def test_sdist_is_built_once(tmp_path, build_cache):
    source = make_compiled(tmp_path / "one")
    (first,) = build_sdist(source, build_cache)
    made = first.path.stat().st_ino

    assert build_sdist(source, build_cache) == (first,)
    assert first.path.stat().st_ino == made


def test_wheel_for_every_host_needs_no_sdist(tmp_path, build_cache):
    assert build_sdist(make_compiled(tmp_path / "one"), build_cache, tag="py3-none-any") == ()


def test_secret_in_an_sdist_is_refused(tmp_path, build_cache):
    source = make_compiled(tmp_path / "one")
    source.joinpath(".env").write_text("SECRET=1")
    source.joinpath("MANIFEST.in").write_text("include .env\n")

    with pytest.raises(BundleError) as caught:
        build_sdist(source, build_cache)

    assert caught.value.message == (
        "acme_c-1.0.tar.gz would carry acme_c-1.0/.env to the servers that build it."
    )
