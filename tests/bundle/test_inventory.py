from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from django_deploy.bundle.inventory import digests_of, of_installed, of_wheel, other_digests, take_inventory
from django_deploy.bundle.manifest import Manifest, Pin, Wheel
from tests.bundle.archives import make_wheel
from tests.bundle.conftest import TOOLS_PATH

UV = shutil.which("uv", path=TOOLS_PATH)

INFO, DATA = "acme_tricky-1.0.dist-info", "acme_tricky-1.0.data"

#: Files for every place that a wheel can name, and names that are quoted or no ASCII.
TRICKY = {
    "acme_tricky/__init__.py": "x = 1\n",
    "acme_tricky/a,b.txt": "a comma\n",
    "acme_tricky/größe.txt": "no ASCII\n",
    "acme_tricky/empty.txt": "",
    "acme_tricky/INSTALLER": "not the installer's\n",
    "acme_tricky/_vendor/six-1.0.dist-info/METADATA": "Name: six\n",
    "acme_tricky.pth": "../../../app\n",
    f"{DATA}/purelib/acme_pure.py": "p = 1\n",
    f"{DATA}/platlib/acme_plat.py": "p = 2\n",
    f"{DATA}/scripts/acme-script": "#!python\nprint('hello')\n",
    f"{DATA}/scripts/acme-shell": "#!/bin/sh\necho hello\n",
    f"{DATA}/headers/acme.h": "#define ACME\n",
    f"{DATA}/data/app/manage.py": "#!/usr/bin/env python\n",
    f"{DATA}/data/etc/acme.conf": "conf\n",
    f"{DATA}/data/bin/acme-data": "#!python\n",
    f"{INFO}/entry_points.txt": "[console_scripts]\nacme = acme_tricky:x\n",
    f"{INFO}/licenses/LICENSE": "free\n",
    f"{INFO}/top_level.txt": "acme_tricky\n",
}


def interpreters():
    """This one, and another version if there is one."""
    versions = sorted(Path("~/.pyenv/versions").expanduser().glob("3.*/bin/python"))
    others = [str(path) for path in versions if not path.parts[-3].startswith(f"3.{sys.version_info[1]}.")]
    return [sys.executable, *others[-1:]]


def environment(folder, python=sys.executable):
    subprocess.run([python, "-m", "venv", "--without-pip", folder], check=True)
    return folder


def install(tool, wheel, folder, *more):
    python = folder / "bin" / "python"
    command = {
        "pip": [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-compile"],
        "pip and bytecode": [sys.executable, "-m", "pip", "--python", python, "install", "--quiet"],
        "uv": [UV, "pip", "install", "--quiet", "--python", python],
    }[tool]
    subprocess.run([*command, "--no-deps", *more, wheel], check=True)
    return next(folder.glob("lib/python*/site-packages/acme_*.dist-info"))


needs_uv = pytest.mark.skipif(UV is None, reason="uv is not installed")
TOOLS = ["pip", "pip and bytecode", pytest.param("uv", marks=needs_uv)]


@pytest.mark.parametrize("tool", TOOLS)
def test_every_installer_makes_of_a_wheel_what_it_holds(tmp_path, tool):
    wheel = make_wheel(tmp_path, "acme-tricky", files=TRICKY)
    metadata = install(tool, wheel, environment(tmp_path / "venv"))

    assert of_installed(metadata) == of_wheel(wheel)
    tags, digest = of_wheel(wheel)
    assert tags == "py3-none-any"
    assert len(digest) == 32


@needs_uv
@pytest.mark.parametrize("python", interpreters(), ids=lambda path: path.rpartition("versions/")[2])
def test_every_python_makes_the_same_of_it(tmp_path, python):
    wheel = make_wheel(tmp_path, "acme-tricky", files=TRICKY)

    assert of_installed(install("uv", wheel, environment(tmp_path / "venv", python))) == of_wheel(wheel)


@needs_uv
def test_data_in_site_packages_can_be_told_from_an_installation_only(tmp_path):
    place = f"{DATA}/data/lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    wheel = make_wheel(tmp_path, "acme-tricky", files={**TRICKY, f"{place}/acme_in_lib.py": "q = 1\n"})

    by_uv = install("uv", wheel, environment(tmp_path / "uv"))
    by_pip = install("pip", wheel, environment(tmp_path / "pip"))

    assert (by_uv.parent / "acme_in_lib.py").exists()
    assert of_installed(by_uv) == of_installed(by_pip) is not None
    assert of_wheel(wheel) is None


#: What installers rewrite, or put where it is theirs.
LEFT_OUT = ("/scripts/", "/headers/", "/data/bin/", "/licenses/", "/top_level.txt")


@pytest.mark.parametrize("name", TRICKY)
def test_a_file_with_other_content_makes_another_digest(tmp_path, name):
    one = make_wheel(tmp_path / "one", "acme-tricky", files=TRICKY)
    other = make_wheel(tmp_path / "other", "acme-tricky", files={**TRICKY, name: "other\n"})

    assert (of_wheel(one) == of_wheel(other)) == any(part in name for part in LEFT_OUT)


@pytest.mark.parametrize("tool", TOOLS)
def test_a_lookalike_from_a_folder_has_another_digest(tmp_path, tool):
    """Name and version are the same, and no record says where it came from."""
    ours = make_wheel(tmp_path / "ours", "acme-tools", files={"acme_tools.py": "ours = True\n"})
    theirs = make_wheel(tmp_path / "theirs", "acme-tools", files={"acme_tools.py": "ours = False\n"})
    found = [
        install(
            tool,
            "acme-tools==1.0",
            environment(tmp_path / f"venv{n}"),
            "--no-index",
            "--find-links",
            path.parent,
        )
        for n, path in enumerate((ours, theirs))
    ]

    assert not (found[0] / "direct_url.json").exists()
    assert [of_installed(metadata) for metadata in found] == [of_wheel(ours), of_wheel(theirs)]
    assert of_wheel(ours) != of_wheel(theirs)


def test_other_metadata_are_the_same_code(tmp_path):
    """Another version of a back end writes other metadata for the same sources."""
    one = make_wheel(tmp_path / "one", "acme-tools")
    other = make_wheel(tmp_path / "other", "acme-tools", requires=("six",))

    assert one.read_bytes() != other.read_bytes()
    assert of_wheel(one) == of_wheel(other)


def test_what_was_compiled_here_is_not_compared(tmp_path):
    wheel = make_wheel(tmp_path, "acme-tools", tag="cp311-cp311-linux_x86_64")

    assert of_wheel(wheel) is None


def test_what_says_too_little_is_not_compared(tmp_path):
    """Distributions of apt have no RECORD, those of conda are its own, eggs have no WHEEL."""
    wheel = make_wheel(tmp_path, "acme-tricky", files=TRICKY)
    metadata = install("pip", wheel, environment(tmp_path / "venv"))
    assert of_installed(metadata) is not None

    for name, text in (("INSTALLER", "conda\n"), ("INSTALLER", None), ("WHEEL", None), ("RECORD", None)):
        copy = Path(shutil.copytree(metadata, tmp_path / "copy" / metadata.name))
        (copy / name).unlink()
        if text:
            (copy / name).write_text(text)
        assert of_installed(copy) is None
        shutil.rmtree(tmp_path / "copy")


def test_what_is_no_wheel_is_not_compared(tmp_path):
    archive = tmp_path / "acme-1.0-py3-none-any.whl"
    assert of_wheel(archive) is None
    archive.write_bytes(b"no zip file")
    assert of_wheel(archive) is None
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("acme.py", "")
    assert of_wheel(archive) is None
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr("acme-1.0.dist-info/WHEEL", "Tag: py3-none-any\n")
    assert of_wheel(archive) is None


def test_the_inventory_is_of_wheels_and_of_what_is_installed(tmp_path):
    tricky = make_wheel(tmp_path, "acme-tricky", files=TRICKY)
    here = install("pip", tricky, environment(tmp_path / "venv"))
    shop, changed = make_wheel(tmp_path, "acme-shop"), make_wheel(tmp_path / "new", "acme-tricky", files={})
    manifest = Manifest(
        project="acme-shop",
        version="1.0",
        python="3.11.7",
        wheels=(Wheel("acme-shop", "1.0", shop, "a" * 64, 1),),
        pins=(Pin("django", "5.2.19", ("b" * 64,)), Pin("acme-tricky", "1.0", ("c" * 64, "d" * 64))),
        created=0.0,
        created_by="test",
        installed=(("acme-tricky", "1.0", here), ("django", "5.2.19", tmp_path / "gone")),
    )

    assert take_inventory(manifest) == {
        ("acme-shop", "1.0"): of_wheel(shop),
        ("acme-tricky", "1.0"): of_installed(here),
    }
    # What is sent is what counts.
    sent = (*manifest.wheels, Wheel("acme-tricky", "1.0", changed, "e" * 64, 1))
    found = take_inventory(replace(manifest, wheels=sent, pins=()))
    assert found[("acme-tricky", "1.0")] == of_wheel(changed)
    # Each machine builds its own.
    found = take_inventory(replace(manifest, pins=(Pin("acme-tricky", "1.0", ("f" * 64,), is_source=True),)))
    assert ("acme-tricky", "1.0") not in found


INVENTORY = {("django", "5.2"): ("py3-none-any", "1" * 32), ("lxml", "6.0"): ("cp311-cp311-linux", "2" * 32)}
VERSIONS = {"lxml": "6.0", "django": "5.2", "six": "1.17"}


def test_digests_are_told_of_what_has_them():
    told = {"django": f"py3-none-any {'1' * 32}", "lxml": f"cp311-cp311-linux {'2' * 32}"}

    assert digests_of(VERSIONS, INVENTORY) == told
    assert other_digests(told, VERSIONS, INVENTORY) == set()


@pytest.mark.parametrize(
    ("digests", "others"),
    [
        ({"django": f"py3-none-any {'3' * 32}"}, {"django"}),
        ({"lxml": f"cp312-cp312-macosx {'3' * 32}"}, set()),
        ({"six": f"py3-none-any {'3' * 32}"}, set()),
        ({}, set()),
    ],
)
def test_what_can_be_compared_is_compared(digests, others):
    assert other_digests(digests, VERSIONS, INVENTORY) == others
