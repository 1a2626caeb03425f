"""Discovery and wheels of real installations of every kind, by pip and by uv, seen from inside."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from tests.bundle.archives import make_wheel
from tests.bundle.index_server import FakeIndex
from tests.bundle.installations import (
    BACK_ENDS,
    CHECKOUT,
    EDITABLE,
    FROM_INDEX,
    OUR_PACKAGES,
    Installations,
    Venv,
    age,
    run,
    serve,
    uv,
)

TOOLS = ("pip", "uv")


@pytest.fixture(scope="module")
def fetch(tmp_path_factory):
    """Installs requirements into a folder of their own, from the index that the machine uses."""

    def fetch(*requirements: str) -> Path:
        folder = tmp_path_factory.mktemp("fetched")
        command = [uv(), "pip", "install", "--quiet", "--python", sys.executable, "--target", folder]
        subprocess.run([*command, *requirements], check=True)
        return folder

    return fetch


@pytest.fixture(scope="module")
def back_ends(fetch) -> Path:
    return fetch(*BACK_ENDS)


@pytest.fixture(scope="module")
def old_setuptools(fetch) -> Path:
    """The last one that knows egg-links."""
    return fetch("setuptools<70")


@pytest.fixture(scope="module")
def served(tmp_path_factory, back_ends):
    index = FakeIndex()
    serve(index, tmp_path_factory.mktemp("served"), back_ends)
    yield index
    index.close()


@pytest.fixture(scope="module")
def both(tmp_path_factory, served, back_ends, old_setuptools) -> dict[str, Installations]:
    """The same by each tool, in folders of their own."""
    folders = {"back_ends": back_ends, "old_setuptools": old_setuptools}
    return {tool: Installations(tmp_path_factory.mktemp(tool), tool, served, **folders) for tool in TOOLS}


@pytest.fixture(params=TOOLS)
def installed(both, request) -> Installations:
    return both[request.param]


# What is found


KINDS = (
    *EDITABLE,
    *("acme-cloned", "acme-legacy", "acme-egg"),
    *("acme-local", "acme-wheel", "acme-sdist", "acme-url", "acme-vcs", "acme-below"),
    *("acme-found", "acme-dotted-name", "acme-yanked", "acme-label", "acme-early", "django", "django-deploy"),
    "pip",
)


@pytest.mark.parametrize("name", KINDS)
def test_origin(installed, name):
    if name not in installed.expected:
        pytest.skip("uv installs no repository as editable")
    expected = installed.expected[name]

    found = installed.found()[name]

    assert {key: found[key] for key in expected} == expected


def test_nothing_else_is_found(installed):
    assert sorted(installed.found()) == sorted(installed.expected)


@pytest.fixture
def stray(installed, back_ends) -> Path:
    """A source folder with the metadata that a build has left there, without a PEP 610 record."""
    source = installed.sources / "setuptools_src"
    run(
        sys.executable,
        "-c",
        "import setuptools; setuptools.setup()",
        "-q",
        "egg_info",
        cwd=source,
        PYTHONPATH=str(back_ends),
    )
    assert source.joinpath("src", "acme_src.egg-info").is_dir()
    return source / "src"


def test_metadata_in_the_current_folder_hide_nothing(installed, stray):
    assert installed.found(cwd=stray) == installed.found()


def test_metadata_on_pythonpath_hide_nothing(installed, stray):
    path = os.pathsep.join((str(stray), str(CHECKOUT), OUR_PACKAGES))

    assert installed.found(PYTHONPATH=path) == installed.found()


def test_nothing_is_odd_about_these(installed):
    assert installed.discover()["warnings"] == []


def test_environment_without_pip(tmp_path):
    venv = Venv(tmp_path / "venv", "uv")
    venv.install(make_wheel(tmp_path, "acme-x"))

    assert list(venv.found()) == ["acme-x"]


def test_same_distribution_twice(tmp_path):
    venv = Venv(tmp_path / "venv", "uv")
    venv.install(make_wheel(tmp_path, "acme-x", "1.0"))
    # What an interrupted upgrade, or two tools, leave behind.
    run(
        *(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", venv.site_packages),
        make_wheel(tmp_path, "acme-x", "2.0"),
    )

    assert venv.discover()["error"] == (
        f"The environment is broken: acme-x is installed more than once in {venv.site_packages} "
        "(1.0 and 2.0)."
    )


def test_egg_link_beside_an_installation(tmp_path, old_setuptools):
    venv = Venv(tmp_path / "venv", "uv")
    sources = Path(shutil.copytree(Path(__file__).with_name("samples") / "legacy", tmp_path / "legacy"))
    run(
        *(venv.python, "-W", "ignore", "setup.py", "-q", "develop", "--no-deps"),
        cwd=sources,
        PYTHONPATH=str(old_setuptools),
    )
    run(
        *(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", venv.site_packages),
        make_wheel(tmp_path, "acme-legacy", "2.0"),
    )

    assert venv.discover()["error"] == (
        f"The environment is broken: acme-legacy is installed more than once in {venv.site_packages} "
        "(1.0 and 2.0)."
    )


@pytest.fixture(scope="module")
def base_packages() -> set[str]:
    """What the interpreter has that virtualenvs are made of."""
    program = (
        "import json, importlib.metadata as m, re; print(json.dumps(sorted("
        "re.sub('[-_.]+', '-', d.name).lower() for d in m.distributions())))"
    )
    base = Path(sys.base_prefix, "bin", f"python{sys.version_info[0]}.{sys.version_info[1]}")
    return set(json.loads(run(base, "-Isc", program)))


def test_packages_of_the_system_count_where_the_virtualenv_has_them(tmp_path, base_packages):
    if not base_packages:
        pytest.skip("the interpreter has no packages of its own")
    own, shared = Venv(tmp_path / "own", "uv"), Venv(tmp_path / "shared", "pip", system_site=True)

    assert own.found() == {}
    assert set(shared.found(PYTHONNOUSERSITE="1")) == base_packages


def test_packages_of_apt(tmp_path):
    """Debian's Python keeps them elsewhere, and some have two kinds of metadata."""
    folder = Path("/usr/lib/python3/dist-packages")
    named = [path.name.partition("-")[0] for path in folder.glob("*-*.dist-info")]
    if not named:
        pytest.skip("needs Debian's Python with some packages")
    venv = Venv(tmp_path / "venv", "pip", system_site=True, base="/usr/bin/python3")

    assert {canonicalize_name(name) for name in named} <= venv.found().keys()


def test_virtualenv_hides_the_users_packages_that_hide_the_systems(tmp_path):
    venv = Venv(tmp_path / "venv", "pip", system_site=True)
    plain = Venv(tmp_path / "plain", "pip")
    user = {"PYTHONUSERBASE": str(tmp_path / "user")}
    venv.install(make_wheel(tmp_path, "acme-x", "1.0"))
    for name in ("acme-x", "acme-y"):
        wheel = make_wheel(tmp_path, name, "2.0")
        venv.install("--user", "--ignore-installed", wheel, **user)

    found = venv.found(**user)
    imported = run(venv.python, "-c", "import acme_x, acme_y; print(acme_x.VERSION, acme_y.VERSION)", **user)

    assert f"{found['acme-x']['version']} {found['acme-y']['version']}\n" == imported == "1.0 2.0\n"
    assert plain.found(**user) == {}


# What becomes of it


@pytest.fixture(scope="module")
def bundles(both, served, tmp_path_factory) -> dict[str, dict]:
    """The bundle of each environment: other folders, days and file modes, another umask, another cache."""
    builders = tmp_path_factory.mktemp("builders")
    age(both["uv"].sources, file_mode=0o664)
    answers = {}
    for tool, umask in (("pip", 0o077), ("uv", 0o002)):
        cache = tmp_path_factory.mktemp("cache")
        cache.joinpath("builders").symlink_to(builders)
        answers[tool] = bundle_of(both[tool], served, cache, umask)
    return answers


def bundle_of(venv: Installations, index: FakeIndex, cache: Path, umask: int) -> dict:
    target = {"settings_module": "acme_site.settings", "exclude": ["acme-egg"]}
    options = {"cache": str(cache), "target": target, "ignored_folders": []}
    program = Path(__file__).with_name("bundle_here.py")
    environ = {
        "PYTHONPATH": os.pathsep.join((str(CHECKOUT), OUR_PACKAGES)),
        "PIP_INDEX_URL": index.url,
        "PIP_FIND_LINKS": str(venv.archives / "links"),
    }
    old = os.umask(umask)
    try:
        answer = json.loads(run(venv.python, program, json.dumps(options), **environ))
    finally:
        os.umask(old)
    assert "error" not in answer, answer["error"]
    return answer


def test_same_sources_give_the_same_bytes(bundles):
    """In other folders, installed by another tool, on another day and under another umask."""
    one, other = (
        {wheel["name"]: (wheel["file"], wheel["sha256"]) for wheel in bundle["wheels"]}
        for bundle in bundles.values()
    )

    del one["acme-cloned"]  # by pip only
    assert one == other
    assert {*EDITABLE, "acme-legacy", "acme-local", "acme-vcs", "acme-below", "acme-sdist"} <= one.keys()


def test_same_environment_gives_the_same_pins(bundles):
    one, other = (bundle["pins"] for bundle in bundles.values())

    assert one == other
    assert sorted(one) == sorted(canonicalize_name(name) for name, _ in FROM_INDEX)


def test_archive_of_a_folder_is_sent(bundles):
    for bundle in bundles.values():
        assert "acme_found-1.0-py3-none-any.whl" in [wheel["file"] for wheel in bundle["wheels"]]


@pytest.mark.parametrize("tool", TOOLS)
def test_bundle_installs_with_hashes(bundles, served, tmp_path, tool):
    """Also what came from repositories and folders: installers refuse such lines without a wheel."""
    bundle = bundles["pip"]
    lines = [
        f"{name}=={bundle['distributions'][name]}" + "".join(f" --hash=sha256:{sha}" for sha in hashes)
        for name, hashes in bundle["pins"].items()
    ]
    lines += [
        f"{wheel['name']} @ {Path(file['path']).as_uri()} --hash=sha256:{wheel['sha256']}"
        for wheel, file in zip(bundle["wheels"], bundle["wheel_files"], strict=True)
    ]
    lock = tmp_path / "lock.txt"
    lock.write_text("\n".join(lines))
    host = Venv(tmp_path / "host", tool)

    host.install("--require-hashes", "--index-url", served.url, "-r", lock)

    assert {name: item["version"] for name, item in host.found().items()} == bundle["distributions"]
