"""The room that distributions take, before they are installed and as they are."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from django_deploy.bundle.manifest import Wheel
from django_deploy.bundle.room import BLOCK, UNKNOWN, Extent, Room, in_store, of_files, of_installed, of_wheel

FILES = {
    "acme/__init__.py": "",
    "acme/models.py": "import os\n" * 1000,
    "acme/static/acme/site.css": "p { margin: 0 }\n",
    "acme-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n",
    "acme-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "acme-1.0.dist-info/RECORD": "",
}


@pytest.fixture
def wheel(tmp_path):
    path = tmp_path / "acme-1.0-py3-none-any.whl"
    with ZipFile(path, "w") as archive:
        for name, text in FILES.items():
            archive.writestr(name, text)
    return path


def test_files_take_whole_blocks_and_sources_have_bytecode():
    found = of_files([("acme/a.py", BLOCK + 1), ("acme/a.txt", 1), ("acme/empty.txt", 0)])

    folders = 2  # the one of the package, and the one above it
    assert found.shared == Room((2 * 2 + 1 + folders) * BLOCK, 4 + folders)
    assert found.own == Room((folders + 1) * BLOCK, folders + 1)  # and that of bytecode


def test_static_files_are_collected_for_each_release():
    found = of_files([("acme/static/acme/site.css", 10)])

    assert found.shared == Room((1 + 4) * BLOCK, 1 + 4)
    assert found.own == Room((2 + 4) * BLOCK, 2 + 4)
    assert found.whole == Room(11 * BLOCK, 11)


def test_what_was_installed_takes_no_more_than_was_said(wheel, tmp_path):
    """pip installs, Python compiles; what they make is counted on the disk, folder by folder."""
    place = tmp_path / "place"
    said = of_wheel(wheel)

    install = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", place, wheel]
    subprocess.run([sys.executable, *install], check=True)

    found = [Path(folder, name) for folder, _, names in os.walk(place) for name in ("", *names)]
    taken = sum(path.stat().st_blocks * 512 for path in found if path.is_file())
    assert 0 < taken <= said.whole.bytes
    assert len(found) // 2 < said.whole.inodes
    assert of_installed(place / "acme-1.0.dist-info").shared.inodes >= said.shared.inodes


def test_bytecode_in_a_record_is_not_counted_twice(tmp_path):
    rows = ["acme/a.py,sha256=x,10", "acme/__pycache__/a.cpython-311.pyc,,", '"acme/b,c.txt",sha256=y,5']
    (tmp_path / "RECORD").write_text("\n".join(rows))

    assert of_installed(tmp_path) == of_files([("acme/a.py", 10), ("acme/b,c.txt", 5)])


@pytest.mark.parametrize("text", [None, "acme/a.py,sha256=x,many\nacme"])
def test_what_a_record_does_not_say(tmp_path, text):
    if text is not None:
        (tmp_path / "RECORD").write_text(text)

    assert of_installed(tmp_path) == (UNKNOWN if text is None else of_files([]))


def test_of_an_sdist_nobody_knows(tmp_path):
    (tmp_path / "acme-1.0.tar.gz").write_bytes(b"\x1f\x8b")

    assert of_wheel(tmp_path / "acme-1.0.tar.gz") == UNKNOWN
    assert of_wheel(tmp_path / "gone.whl") == UNKNOWN


def test_what_is_sent_has_a_folder():
    sent = [Wheel("acme", "1.0", Path("acme.whl"), "a" * 64, BLOCK + 1)]

    assert in_store(sent) == Room(4 * BLOCK, 2)
    assert in_store([]) == Room()


def test_a_download_is_a_file_of_a_third():
    assert Extent(Room(9 * BLOCK, 5), Room()).download == Room(3 * BLOCK, 3)
