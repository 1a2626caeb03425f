"""Virtualenvs as uv and pip really make them, from wheels in the store; and what runs in them."""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
import json
import os
import shutil
import stat
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import pytest

from django_deploy.host import launch
from django_deploy.host.cache import distributions, forget
from django_deploy.host.layout import Layout, Release
from django_deploy.host.protocol import Failure
from django_deploy.host.virtualenv import Installer, unpack_tool
from tests.bundle.archives import make_wheel
from tests.bundle.installations import repack

#: Says that it is up, and for each line that it reads the version of a module that it imports only then.
PROGRAM = """
import sys
def main():
    print("up", flush=True)
    for line in sys.stdin:
        from acme_x import late
        print(late.VERSION, sys.prefix, flush=True)
"""

START = ["acme-x"], ["python", "-m", "acme_x"]


class Host:
    """A ROOT with releases of acme-x, made by one tool that came as a wheel."""

    def __init__(self, layout: Layout, tool: str, wheel: Path) -> None:
        self.layout = layout
        self.installer = Installer(
            layout,
            name=tool,
            tool=unpack_tool(layout, wheel, "a" * 64),
            python=sys.executable,
            index_url=None,
            vendored=True,
            report=lambda *args, **fields: None,
            stop=threading.Event(),
        )

    def release(self, version: str, folder: Path, *others: Path) -> Release:
        release = self.layout.release(f"20261122T17450{version[0]}Z-3f9c2a1")
        release.path.mkdir(parents=True)
        wheels = {"acme-x": make_program(folder, version), **{wheel.name: wheel for wheel in others}}
        lock = folder / f"{version}.txt"
        lock.write_text("".join(map(_line, wheels.values())))
        expected = {wheel.name.partition("-")[0].replace("_", "-"): ["1.0"] for wheel in others}
        self.installer.build(release, lock, {**expected, "acme-x": [version]}, offline_first=False)
        return release


def make_program(folder: Path, version: str) -> Path:
    files = {
        "acme_x/__init__.py": "",
        "acme_x/late.py": f"VERSION = {version!r}\n",
        "acme_x/program.py": PROGRAM,
        "acme_x/__main__.py": "from acme_x.program import main\nmain()\n",
        f"acme_x-{version}.dist-info/entry_points.txt": "[console_scripts]\nacme-x = acme_x.program:main\n",
    }
    return make_wheel(folder, "acme-x", version, files=files)


def _line(wheel: Path) -> str:
    name = wheel.name.partition("-")[0]
    return f"{name} @ {wheel.as_uri()} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"


@pytest.fixture(scope="module")
def tools(tmp_path_factory) -> dict[str, Path]:
    """The wheels of uv and pip."""
    folder = tmp_path_factory.mktemp("tools")
    return {name: repack(importlib.metadata.distribution(name), folder) for name in ("uv", "pip")}


@pytest.fixture
def layout(tmp_path) -> Layout:
    layout = Layout(str(tmp_path / "site"))
    layout.create()
    return layout


@pytest.fixture(params=["uv", "pip"])
def host(request, layout, tools) -> Host:
    return Host(layout, request.param, tools[request.param])


def test_program_of_a_tools_wheel_runs(layout, tools):
    """zipfile drops the executable bit."""
    folder = unpack_tool(layout, tools["uv"], "b" * 64)

    (uv,) = folder.glob("*.data/scripts/uv")

    assert uv.stat().st_mode & stat.S_IXUSR
    assert subprocess.check_output([uv, "--version"], text=True).startswith("uv ")


class Meanwhile(io.BytesIO):
    """A wheel; while it is read, another session is ready with the same one."""

    def __init__(self, wheel: Path, folder: Path) -> None:
        super().__init__(wheel.read_bytes())
        self._folder = folder

    def read(self, size: int | None = -1) -> bytes:
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / "pip").touch()
        return super().read(size)


def test_two_sessions_unpack_the_same_tool(layout, tools):
    theirs = layout.private / "tools" / ("b" * 64)

    folder = unpack_tool(layout, Meanwhile(tools["pip"], theirs), "b" * 64)

    assert folder == theirs
    assert [path.name for path in theirs.iterdir()] == ["pip"]
    assert list(theirs.parent.iterdir()) == [theirs]


def test_a_tool_that_cannot_be_kept_is_an_error(layout, tools):
    (layout.private / "tools").mkdir()
    (layout.private / "tools" / ("b" * 64)).write_text("")

    with pytest.raises(NotADirectoryError):
        unpack_tool(layout, tools["pip"], "b" * 64)

    assert len(list((layout.private / "tools").iterdir())) == 1


def test_scripts_are_of_their_release(host, tmp_path):
    """They name their interpreter by its whole path: a virtualenv is made where it stays."""
    release = host.release("1.0", tmp_path)
    current = tmp_path / "site" / "current"
    current.symlink_to(release.path)

    answers = [
        subprocess.check_output([path / "venv" / "bin" / "acme-x"], input="say\n", text=True)
        for path in (release.path, current)
    ]

    assert answers == [f"up\n1.0 {release.venv}\n"] * 2


@pytest.mark.parametrize("command", START, ids=" ".join)
def test_old_process_imports_from_its_own_release(layout, tools, tmp_path, command):
    """Also what it imports only after ``current`` has moved on."""
    host = Host(layout, "uv", tools["uv"])
    old, new = host.release("1.0", tmp_path), host.release("2.0", tmp_path)
    shutil.copy(launch.__file__, old.path / "launch.py")
    record = {"settings_module": "x", "processes": [{"name": "web", "command": command}]}
    old.path.joinpath("release.json").write_text(json.dumps(record))
    old.path.joinpath("environment.json").write_text("{}")
    layout.point(layout.root / "current", old.path)

    with subprocess.Popen(
        [sys.executable, layout.root / "current" / "launch.py", "web"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "up\n"
        layout.point(layout.root / "current", new.path)
        answer, _ = process.communicate("say\n", timeout=20)

    assert answer == f"1.0 {old.venv}\n"


def test_cache_is_on_the_file_system_of_the_releases(layout, tools, tmp_path, monkeypatch):
    """So that uv can link, wherever the user has a cache."""
    elsewhere = tmp_path / "elsewhere"
    monkeypatch.setenv("UV_CACHE_DIR", str(elsewhere))
    host = Host(layout, "uv", tools["uv"])
    shared = make_wheel(tmp_path, "acme-shared")

    releases = [host.release(version, tmp_path, shared) for version in ("1.0", "2.0")]

    files = [next(release.venv.glob("lib/python*/site-packages/acme_shared.py")) for release in releases]
    assert os.path.samefile(*files)
    assert not elsewhere.exists()


def unpacked(layout):
    """What uv's cache has of wheels: all files and links, without what it keeps for itself."""
    cache = layout.private / "cache" / "uv"
    return sorted(
        path.relative_to(cache)
        for top in cache.iterdir()
        if top.name.startswith(("archive-", "wheels-", "interpreter-"))
        for path in (top, *top.rglob("*"))
    )


def test_what_only_deleted_releases_had_leaves_the_cache(layout, tools, tmp_path):
    host, shared = Host(layout, "uv", tools["uv"]), make_wheel(tmp_path, "acme-shared")
    old, sizes = [], []
    for version in ("1.0", "2.0", "3.0"):
        release = host.release(version, tmp_path, shared)
        sizes.append(len(unpacked(layout)))
        forget(layout, [each.id for each in old], distributions(old) - distributions([release]))
        old = [release]

    assert sizes[1] == sizes[2] > sizes[0] == len(unpacked(layout))
    files = [
        next(release.venv.glob("lib/python*/site-packages/acme_shared.py"))
        for release in (*old, host.release("4.0", tmp_path, shared))
    ]
    assert os.path.samefile(*files)


def test_what_uv_has_forgotten_it_makes_anew(layout, tools, tmp_path):
    host, shared = Host(layout, "uv", tools["uv"]), make_wheel(tmp_path, "acme-shared")
    release = host.release("1.0", tmp_path, shared)
    forget(layout, [release.id], distributions([release]))

    release = host.release("2.0", tmp_path, shared)

    assert next(release.venv.glob("lib/python*/site-packages/acme_shared.py")).is_file()


UNBUILDABLE = """
import pathlib, shutil
def prepare_metadata_for_build_wheel(folder, config_settings=None):
    info = pathlib.Path(folder, "acme_c-1.0.dist-info")
    info.mkdir()
    shutil.copy("PKG-INFO", info / "METADATA")
    return info.name
def build_wheel(*options):
    raise SystemExit("cc: not found")
"""


def test_what_cannot_be_built_is_told(host, tmp_path):
    """BUILD_ON_HOST, on a host without a compiler."""
    sdist = tmp_path / "acme_c-1.0.tar.gz"
    files = {
        "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "make"\nbackend-path = ["."]\n',
        "make.py": UNBUILDABLE,
        "PKG-INFO": "Metadata-Version: 2.2\nName: acme-c\nVersion: 1.0\n",
    }
    with tarfile.open(sdist, "w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(f"acme_c-1.0/{name}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))

    with pytest.raises(Failure) as caught:
        host.release("1.0", tmp_path, sdist)

    assert caught.value.remedy == (
        "It builds some wheels itself: for that it needs a compiler and the headers of its Python."
    )
    assert "cc: not found" in "".join(caught.value.details["lines"])
