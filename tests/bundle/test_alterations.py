"""Distributions as pip and uv install them, and what becomes of them in the hands of people."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from django_deploy.bundle.alterations import refuse_alterations
from django_deploy.exceptions import BundleError
from tests.bundle.archives import make_wheel
from tests.bundle.conftest import TOOLS_PATH
from tests.bundle.test_inventory import UV, needs_uv

#: When no installer is at work any more, in seconds since the epoch.
LATER = 4e9

FILES = {"acme/__init__.py": "x = 1\n", "acme/a,b.txt": "a comma\n", "acme/größe.txt": "no ASCII\n"}


@pytest.fixture(params=["pip", pytest.param("uv", marks=needs_uv)])
def installed(request, tmp_path):
    """The folder of its files, and what is asked about."""
    wheel, target = make_wheel(tmp_path, "acme", files=FILES), tmp_path / "site-packages"
    tool = [UV, "pip"] if request.param == "uv" else [sys.executable, "-m", "pip"]
    python = ["--python", sys.executable] if request.param == "uv" else []
    command = [*tool, "install", "--quiet", *python, "--no-deps", "--target", target, wheel]
    subprocess.run(command, check=True, env={**os.environ, "PATH": TOOLS_PATH})
    return target, [("acme", "1.0", target / "acme-1.0.dist-info")]


def test_as_they_were_installed(installed):
    _, asked = installed

    refuse_alterations(asked)


def test_without_its_record(installed):
    folder, asked = installed
    (folder / "acme-1.0.dist-info/RECORD").unlink()

    with pytest.raises(BundleError) as caught:
        refuse_alterations(asked)

    assert caught.value.message == (
        "Nobody can tell whether these were changed here, as their RECORD is gone: acme==1.0."
    )
    assert caught.value.remedy == "Install them again: pip install --ignore-installed --no-deps acme==1.0"
    refuse_alterations(asked, allowed=["acme"])
    # What apt has installed never had one.
    (folder / "acme-1.0.dist-info/INSTALLER").write_text("debian\n")
    refuse_alterations(asked)


def test_changed_by_hand(installed):
    folder, asked = installed
    (folder / "acme/__init__.py").unlink()  # uv's is a link to its cache
    (folder / "acme/__init__.py").write_text("x = 2  # patched\n")
    (folder / "acme/a,b.txt").unlink()

    with pytest.raises(BundleError) as caught:
        refuse_alterations(asked)

    assert caught.value.message == (
        "Files were changed here after they were installed, and hosts get them as the index has them:"
        " acme==1.0: acme/__init__.py, acme/a,b.txt."
    )
    assert caught.value.remedy == (
        "Install them again: pip install --force-reinstall --no-deps acme==1.0;"
        " or deploy your own copy, installed with pip install -e."
        " What does not matter can be named in ALLOW_ALTERED."
    )
    refuse_alterations(asked, allowed=["ACME"])


def test_changed_without_another_size(installed):
    folder, asked = installed
    file = folder / "acme/__init__.py"
    file.unlink()
    file.write_text("x = 2\n")
    later = (folder / "acme-1.0.dist-info/RECORD").stat().st_mtime + 60
    os.utime(file, (later, later))

    with pytest.raises(BundleError, match=r"acme==1\.0: acme/__init__\.py\.\n"):
        refuse_alterations(asked)


def test_touched_only(installed):
    folder, asked = installed
    later = (folder / "acme-1.0.dist-info/RECORD").stat().st_mtime + 60
    os.utime(folder / "acme/__init__.py", (later, later))

    refuse_alterations(asked)


def test_scripts_of_a_virtualenv_that_was_moved(tmp_path):
    metadata = tmp_path / "lib" / "site-packages" / "acme-1.0.dist-info"
    (tmp_path / "bin").mkdir()
    metadata.mkdir(parents=True)
    (tmp_path / "bin" / "acme").write_text("#!/elsewhere/bin/python\n")
    (metadata / "RECORD").write_text("../../bin/acme,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0\n")

    refuse_alterations([("acme", "1.0", metadata)])


def test_names_that_look_like_a_way_out(installed):
    folder, asked = installed
    with (folder / "acme-1.0.dist-info/RECORD").open("a") as record:
        record.write("..bin,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0\n")

    with pytest.raises(BundleError, match=r"acme==1\.0: \.\.bin\.\n"):
        refuse_alterations(asked)


def test_without_a_record(tmp_path):
    refuse_alterations([("acme", "1.0", tmp_path)])


def add(folder, name):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("")
    for path in (folder / name, *(folder / name).parents):
        if path == folder:
            break
        os.utime(path, (LATER, LATER))


def test_added_by_hand(installed):
    """As ``makemigrations`` does for an app of somebody else's."""
    folder, asked = installed
    add(folder, "acme/migrations/0099_extra.py")
    add(folder, "acme/new.py")

    with pytest.raises(BundleError) as caught:
        refuse_alterations(asked)

    assert str(caught.value) == (
        "Files were added here to what was installed, and no host gets them:"
        " acme==1.0: acme/migrations, acme/new.py.\n"
        "Delete them, or move them into a package of yours (migrations: see MIGRATION_MODULES);"
        " or deploy your own copy, installed with pip install -e."
        " What does not matter can be named in ALLOW_ALTERED."
    )
    refuse_alterations(asked, allowed=["acme"])


def test_byproducts_are_no_additions(installed):
    folder, asked = installed
    for name in ("acme/__pycache__/new.cpython-311.pyc", "acme/.DS_Store", "acme/gone/__pycache__/x.pyc"):
        add(folder, name)

    refuse_alterations(asked)


def test_namespaces_are_shared(installed):
    folder, asked = installed
    other = folder / "acme_more-1.0.dist-info"
    other.mkdir()
    (other / "RECORD").write_text("acme/more/__init__.py,,\nacme_more-1.0.dist-info/RECORD,,\n")
    add(folder, "acme/more/__init__.py")

    refuse_alterations(asked)
