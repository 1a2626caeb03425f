"""Distributions as pip and uv install them, and what becomes of them in the hands of people."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from django_deploy.bundle.alterations import find_alterations
from tests.bundle.archives import make_wheel
from tests.bundle.conftest import TOOLS_PATH
from tests.bundle.test_inventory import UV, needs_uv

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

    assert list(find_alterations(asked)) == []


def test_changed_by_hand(installed):
    folder, asked = installed
    (folder / "acme/__init__.py").unlink()  # uv's is a link to its cache
    (folder / "acme/__init__.py").write_text("x = 2  # patched\n")
    (folder / "acme/a,b.txt").unlink()

    assert list(find_alterations(asked)) == [
        "acme 1.0 was changed here after it was installed, and hosts get it as the index has it:"
        " acme/__init__.py, acme/a,b.txt. Install it again, or your own copy with pip install -e."
    ]


def test_changed_without_another_size(installed):
    folder, asked = installed
    file = folder / "acme/__init__.py"
    file.unlink()
    file.write_text("x = 2\n")
    later = (folder / "acme-1.0.dist-info/RECORD").stat().st_mtime + 60
    os.utime(file, (later, later))

    [warning] = find_alterations(asked)

    assert ": acme/__init__.py. Install" in warning


def test_touched_only(installed):
    folder, asked = installed
    later = (folder / "acme-1.0.dist-info/RECORD").stat().st_mtime + 60
    os.utime(folder / "acme/__init__.py", (later, later))

    assert list(find_alterations(asked)) == []


def test_without_a_record(tmp_path):
    assert list(find_alterations([("acme", "1.0", tmp_path)])) == []
