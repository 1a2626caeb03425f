"""Wheels of source trees, archives and addresses; what is built again and what is not."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import sys
import zipfile
from pathlib import Path

import pytest

from django_deploy.bundle.environment import Distribution
from django_deploy.bundle.manifest import Wheel
from django_deploy.bundle.plain.contents import Rules
from django_deploy.bundle.plain.patterns import Patterns
from django_deploy.bundle.wheels import audit
from django_deploy.bundle.wheels.builder import RECORD, BuiltWheel, build_wheels
from django_deploy.exceptions import BundleError
from tests.bundle.archives import make_wheel
from tests.bundle.installations import age


def editable(name: str, source: Path, version: str = "1.0") -> Distribution:
    return Distribution(name, version, "editable", (), Path("/nowhere"), source=source)


def build(distribution: Distribution, cache: Path) -> BuiltWheel:
    (built,) = build_wheels([distribution], cache=cache)
    return built


def content(built: BuiltWheel) -> list[str]:
    with zipfile.ZipFile(built.wheel.path) as archive:
        return [name for name in archive.namelist() if ".dist-info/" not in name]


def test_wheel_is_described(sample, build_cache):
    project = sample("flit")

    wheel = build(editable("acme-flit", project), build_cache).wheel

    data = wheel.path.read_bytes()
    assert (wheel.name, wheel.version, wheel.source) == ("acme-flit", "1.0", str(project))
    assert (wheel.sha256, wheel.size) == (hashlib.sha256(data).hexdigest(), len(data))


def test_same_tree_elsewhere_gives_the_same_bytes(sample, build_cache, tmp_path):
    project = sample("setuptools_src")
    other = Path(shutil.copytree(project, tmp_path / "elsewhere"))
    other.joinpath("src/acme_src/__init__.py").touch()

    first = build(editable("acme-src", project), build_cache)
    shutil.rmtree(build_cache / "wheels")
    second = build(editable("acme-src", other), build_cache)

    assert first.wheel.sha256 == second.wheel.sha256


def test_module_that_was_deleted_is_not_in_the_wheel(sample, build_cache):
    project = sample("setuptools_src")
    stale = project / "build" / "lib" / "acme_src" / "gone.py"
    stale.parent.mkdir(parents=True)
    stale.touch()
    egg_info = project / "src" / "acme_src.egg-info"
    egg_info.mkdir()
    egg_info.joinpath("SOURCES.txt").write_text("src/acme_src/gone.py")

    built = build(editable("acme-src", project), build_cache)

    assert content(built) == ["acme_src/__init__.py"]


def test_tree_is_left_as_it_was(sample, build_cache):
    project = sample("setuptools_src")
    before = sorted(project.rglob("*"))

    build(editable("acme-src", project), build_cache)

    assert sorted(project.rglob("*")) == before


def test_damaged_wheel_of_the_cache_is_made_again(sample, build_cache):
    distribution = editable("acme-flit", sample("flit"))
    first = build(distribution, build_cache)
    first.wheel.path.write_bytes(b"")

    assert build(distribution, build_cache) == first
    assert first.wheel.path.stat().st_size == first.wheel.size


def test_new_name_of_the_sources(sample, build_cache):
    project = sample("flit")
    text = (project / "pyproject.toml").read_text()
    (project / "pyproject.toml").write_text(text.replace('name = "acme-flit"', 'name = "acme-other"'))
    with (project / "pyproject.toml").open("a") as file:
        file.write('[tool.flit.module]\nname = "acme_flit"\n')

    with pytest.raises(BundleError) as caught:
        build(editable("acme-flit", project), build_cache)

    assert str(caught.value) == (
        "acme-flit calls itself acme-other now: its name has changed since.\n"
        "Uninstall acme-flit, and install it again from where it is now."
    )


def test_new_version_of_the_sources(sample, build_cache):
    project = sample("flit")
    text = (project / "pyproject.toml").read_text()
    (project / "pyproject.toml").write_text(text.replace("1.0", "1.1"))

    built = build(editable("acme-flit", project), build_cache)

    assert built.wheel.version == "1.1"
    assert built.warnings == ("acme-flit is installed as 1.0, but its sources say 1.1, which is deployed.",)


def place(project: Path, cache: Path, version: str = "1.0") -> str:
    """Where the cache keeps a wheel: the digest of all that it depends on."""
    return build(editable("acme-flit", project, version), cache).wheel.path.parent.name


def test_executable_bit_makes_another_wheel(sample, build_cache):
    project = sample("flit")
    before = place(project, build_cache)
    project.joinpath("acme_flit", "__init__.py").chmod(0o755)

    assert place(project, build_cache) != before


def test_what_a_link_leads_to_makes_another_wheel(sample, build_cache, tmp_path):
    project, elsewhere = sample("flit"), tmp_path / "elsewhere.py"
    elsewhere.write_text("VALUE = 1\n")
    project.joinpath("acme_flit", "linked.py").symlink_to(elsewhere)
    before = place(project, build_cache)
    elsewhere.write_text("VALUE = 2\n")

    assert place(project, build_cache) != before


def test_installed_version_makes_another_wheel(sample, build_cache):
    """Some plug-ins take the version from the name of the folder."""
    project = sample("flit")

    assert place(project, build_cache, "1.0") != place(project, build_cache, "1.1")


def test_variables_of_compilers_make_another_wheel(sample, build_cache, monkeypatch):
    project = sample("flit")
    before = place(project, build_cache)
    monkeypatch.setenv("MY_CFLAGS", "-O0")
    same = place(project, build_cache)
    monkeypatch.setenv("CFLAGS", "-O0")

    assert same == before
    assert place(project, build_cache) != before


def test_umask_and_time_make_no_other_wheel(sample, build_cache):
    project = sample("flit")
    before = place(project, build_cache)
    age(project, file_mode=0o600)

    assert place(project, build_cache) == before


@pytest.fixture
def compiled(tmp_path) -> Path:
    """A package with a module in C."""
    project = tmp_path / "compiled"
    project.mkdir()
    for name, text in COMPILED.items():
        project.joinpath(name).write_text(text)
    return project


COMPILED = {
    "pyproject.toml": (
        '[build-system]\nrequires = ["setuptools>=77"]\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "acme-c"\nversion = "1.0"\n'
    ),
    "setup.py": (
        "from setuptools import Extension, setup\nsetup(ext_modules=[Extension('acme_c', ['acme.c'])])\n"
    ),
    "acme.c": (
        "#include <Python.h>\n"
        'static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "acme_c", __FILE__, -1};\n'
        "PyMODINIT_FUNC PyInit_acme_c(void) { return PyModule_Create(&module); }\n"
    ),
}


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_compiled_code_has_the_same_bytes(compiled, build_cache, tmp_path):
    """Also where compilers write paths, into __FILE__ and for debuggers."""
    other = Path(shutil.copytree(compiled, tmp_path / "elsewhere" / "of-another-name"))
    age(other, file_mode=0o664)

    first = build(editable("acme-c", compiled), build_cache)
    shutil.rmtree(build_cache / "wheels")
    second = build(editable("acme-c", other), build_cache)

    assert first.wheel.path.name.endswith(f"-linux_{platform.machine()}.whl")
    assert first.wheel.sha256 == second.wheel.sha256


WAITING = """
import pathlib, time, zipfile
def build_wheel(folder, config_settings=None, metadata_directory=None):
    here = pathlib.Path({meeting!r})
    here.joinpath({name!r}).touch()
    end = time.monotonic() + 20
    while len(list(here.iterdir())) < 2:
        assert time.monotonic() < end, "the other build has not begun"
        time.sleep(0.01)
    with zipfile.ZipFile(pathlib.Path(folder, "{name}-1.0-py3-none-any.whl"), "w") as wheel:
        wheel.writestr("{name}-1.0.dist-info/METADATA", "Name: {name}\\nVersion: 1.0\\n")
    return "{name}-1.0-py3-none-any.whl"
"""


def test_builds_run_at_the_same_time(tmp_path, build_cache):
    meeting = tmp_path / "meeting"
    meeting.mkdir()
    for name in ("one", "two"):
        project = tmp_path / name
        project.mkdir()
        project.joinpath("pyproject.toml").write_text(
            '[build-system]\nrequires = []\nbuild-backend = "waiting"\nbackend-path = ["."]\n'
        )
        project.joinpath("waiting.py").write_text(WAITING.format(meeting=str(meeting), name=name))

    built = build_wheels([editable(name, tmp_path / name) for name in ("one", "two")], cache=build_cache)

    assert [item.wheel.path.name for item in built] == [
        "one-1.0-py3-none-any.whl",
        "two-1.0-py3-none-any.whl",
    ]


def test_assets_that_git_ignores_and_hatchling_too_are_told(sample, build_cache):
    project = sample("hatchling")
    asset = project / "acme_hatch" / "static" / "acme_hatch" / "app.js"
    asset.parent.mkdir(parents=True)
    asset.touch()
    project.joinpath(".gitignore").write_text("static/\n")

    assert build(editable("acme-hatch", project), build_cache).warnings == (
        "The wheel of acme-hatch lacks files of its packages: acme_hatch/static/acme_hatch/app.js."
        " If the site needs them, name them in its build settings (setuptools: package-data).",
    )


def test_migrations_that_the_build_leaves_out_are_refused(sample, build_cache):
    project = sample("hatchling")
    for name in ("__init__", "0001_initial"):
        file = project / "acme_hatch" / "migrations" / f"{name}.py"
        file.parent.mkdir(exist_ok=True)
        file.touch()
    project.joinpath(".gitignore").write_text("migrations/\n")

    with pytest.raises(BundleError) as caught:
        build(editable("acme-hatch", project), build_cache)

    assert caught.value.message == (
        "The wheel of acme-hatch lacks migrations of its packages: acme_hatch/migrations/0001_initial.py,"
        " acme_hatch/migrations/__init__.py. The site would go live without their tables."
    )
    assert caught.value.remedy == (
        f"Let the build of {project} find all packages (setuptools: include = ['shop*'], not ['shop']),"
        " and have an __init__.py in each."
    )


def test_secret_in_a_package_is_refused(sample, build_cache):
    project = sample("flit")
    project.joinpath("acme_flit", ".env").write_text("SECRET=1")

    with pytest.raises(BundleError) as caught:
        build(editable("acme-flit", project), build_cache)

    assert (
        caught.value.message
        == "acme_flit-1.0-py2.py3-none-any.whl would carry acme_flit/.env to the servers."
    )


def test_database_in_a_package_travels_when_it_is_meant_to(sample, build_cache):
    project = sample("flit")
    project.joinpath("acme_flit", "places.db").write_bytes(b"SQLite format 3\0")
    rules = Rules(include=Patterns(["acme_flit/*.db"]))

    (built,) = build_wheels([editable("acme-flit", project)], cache=build_cache, rules=rules)

    assert "acme_flit/places.db" in content(built)
    with pytest.raises(BundleError) as caught:  # what was built with other rules is not taken
        build(editable("acme-flit", project), build_cache)
    assert caught.value.message == (
        "acme_flit-1.0-py2.py3-none-any.whl would carry acme_flit/places.db to the servers."
    )


def test_large_files_are_told_each_time(sample, build_cache, monkeypatch):
    project = sample("flit")
    project.joinpath("acme_flit", "film.mp4").write_bytes(bytes(2_000_000))
    monkeypatch.setattr(audit, "LARGE_FILE", 1_000_000)

    for _ in range(2):
        built = build(editable("acme-flit", project), build_cache)
        assert built.warnings == (
            "acme_flit-1.0-py2.py3-none-any.whl holds large files: acme_flit/film.mp4 (2 MB).",
        )


def test_all_failures_are_told_at_once(tmp_path, build_cache):
    gone = [editable(name, tmp_path / name) for name in ("a", "b")]

    with pytest.raises(BundleError) as caught:
        build_wheels(gone, cache=build_cache)

    message = "{0} 1.0 was installed from {1}, which does not exist any more."
    assert message.format("a", tmp_path / "a") in caught.value.message
    assert message.format("b", tmp_path / "b") in caught.value.message


def test_folder_that_is_no_project(tmp_path, build_cache):
    with pytest.raises(BundleError) as caught:
        build(editable("x", tmp_path), build_cache)

    assert caught.value.message == f"{tmp_path} has neither a pyproject.toml nor a setup.py."


def test_back_end_that_does_not_exist(tmp_path, build_cache):
    tmp_path.joinpath("pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "nothing"\n'
    )

    with pytest.raises(BundleError) as caught:
        build(editable("x", tmp_path), build_cache)

    assert "nothing is not a build back end" in caught.value.message


def test_version_from_git_is_the_installed_one(sample, build_cache):
    project = sample("hatchling")
    project.joinpath("pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling", "hatch-vcs"]\nbuild-backend = "hatchling.build"\n'
        '[project]\nname = "acme-hatch"\ndynamic = ["version"]\n[tool.hatch.version]\nsource = "vcs"\n'
    )

    built = build(editable("acme-hatch", project, "1.2.dev3+gabc"), build_cache)

    assert built.wheel.version == "1.2.dev3+gabc"


def local_archive(wheel: Path, **fields: str) -> Distribution:
    return Distribution("acme-x", "1.0", "local", (), Path("/nowhere"), source=wheel, **fields)


def test_wheel_file_is_shipped_as_it_is(tmp_path, build_cache):
    path = make_wheel(tmp_path, "acme-x", requires=("six",))
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()

    built = build(local_archive(path, sha256=sha256), build_cache)

    assert built == BuiltWheel(
        Wheel("acme-x", "1.0", path, sha256, path.stat().st_size, source=str(path)), ("six",)
    )
    assert build(local_archive(path), build_cache) == built


def test_wheel_file_that_has_changed_is_refused(tmp_path, build_cache):
    path = make_wheel(tmp_path, "acme-x")

    with pytest.raises(BundleError) as caught:
        build(local_archive(path, sha256="0" * 64), build_cache)

    assert caught.value.message == f"{path} has changed since acme-x 1.0 was installed from it."
    assert caught.value.remedy == f"Install it again: pip install --force-reinstall {path}"


def test_third_party_wheel_may_hold_test_keys(tmp_path, build_cache):
    path = make_wheel(tmp_path, "acme-x", files={"x/tests/server.key": "-----BEGIN PRIVATE KEY-----"})

    assert content(build(local_archive(path), build_cache)) == ["x/tests/server.key"]


def test_sdist_is_built(sample, build_cache, tmp_path):
    project = sample("flit")
    archive = shutil.make_archive(tmp_path / "acme_flit-1.0", "gztar", tmp_path, project.name)
    distribution = Distribution("acme-flit", "1.0", "local", (), Path("/nowhere"), source=Path(archive))

    built = build(distribution, build_cache)

    assert content(built) == ["acme_flit/__init__.py"]
    assert build(distribution, build_cache) == built


def test_folder_with_the_name_of_what_is_built(sample, build_cache, tmp_path, monkeypatch):
    """pip takes a bare name for one of an index, or a folder for what was meant to come from there."""
    project = sample("flit")
    archive = shutil.make_archive(tmp_path / "acme_flit-1.0", "gztar", tmp_path, project.name)
    folder = tmp_path / "cwd" / "acme-flit"
    shutil.copytree(project, folder).joinpath("acme_flit", "wrong.py").touch()
    monkeypatch.chdir(folder.parent)
    distribution = Distribution("acme-flit", "1.0", "url", (), Path("/nowhere"), url=Path(archive).as_uri())

    assert content(build(distribution, build_cache)) == ["acme_flit/__init__.py"]


def test_address_of_a_wheel(index, tmp_path, build_cache):
    wheel = make_wheel(tmp_path, "acme-x")
    index.pages[f"/{wheel.name}"] = (200, "application/octet-stream", wheel.read_bytes())
    url = f"http://{index.address}/{wheel.name}"
    sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
    distribution = Distribution("acme-x", "1.0", "url", (), Path("/nowhere"), url=url, sha256=sha256)

    built = build(distribution, build_cache)

    assert (built.wheel.sha256, built.wheel.source) == (sha256, url)
    asked = len(index.requests)
    assert build(distribution, build_cache) == built
    assert len(index.requests) == asked


def test_wheels_that_nobody_used_for_long_leave_the_cache(sample, tmp_path, build_cache):
    project = sample("flit")
    cache = tmp_path / "cache"
    cache.mkdir()
    cache.joinpath("builders").symlink_to(build_cache / "builders")
    old, used = editable("acme-flit", project), editable("acme-hatch", sample("hatchling"))
    paths = [build(distribution, cache).wheel.path for distribution in (old, used)]
    for path in paths:
        os.utime(path.with_name(RECORD), (0, 0))

    build(used, cache)
    project.joinpath("acme_flit", "new.py").touch()
    build(old, cache)

    assert [path.exists() for path in paths] == [False, True]


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file that even root cannot read")
def test_file_that_cannot_be_read(sample, build_cache):
    project = sample("flit")
    project.joinpath("odd").symlink_to("/proc/self/mem")

    with pytest.raises(BundleError) as caught:
        build(editable("acme-flit", project), build_cache)

    assert caught.value.message == f"{project} cannot be read: Input/output error."
