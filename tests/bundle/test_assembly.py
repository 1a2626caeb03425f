"""Bundles of a real environment: every way to install, seen from inside of it."""

from __future__ import annotations

import shutil
import sys
import zipfile
from contextlib import contextmanager
from pathlib import Path

import pytest

FROM_FOLDERS = {
    "acme-site": "setuptools_flat",
    "acme-src": "setuptools_src",
    "acme-hatch": "hatchling",
    "acme-flit": "flit",
    "acme-poetry": "poetry",
    "acme-pdm": "pdm",
    "acme-legacy": "legacy",
    "acme-local": "local",
}

#: What the site needs of an index.
PINNED = {"django", "asgiref", "sqlparse"} | ({"typing-extensions"} if sys.version_info < (3, 11) else set())


@pytest.fixture(scope="module")
def bundle(workshop):
    return workshop.bundle()


@pytest.fixture
def edited(workshop):
    """Changes files of a source folder for one test."""

    @contextmanager
    def edit(name: str):
        folder = workshop.sources / name
        kept = shutil.copytree(folder, workshop.folder / "kept" / name)
        try:
            yield folder
        finally:
            shutil.rmtree(folder)
            shutil.move(kept, folder)

    return edit


def wheels(bundle: dict) -> dict[str, dict]:
    assert "error" not in bundle, bundle["error"]
    files = {Path(wheel["path"]).name: wheel for wheel in bundle["wheel_files"]}
    return {wheel["name"]: {**wheel, **files[wheel["file"]]} for wheel in bundle["wheels"]}


def content(wheel: dict) -> list[str]:
    with zipfile.ZipFile(wheel["path"]) as archive:
        return [name for name in archive.namelist() if ".dist-info/" not in name]


def test_all_that_no_index_has_is_shipped(bundle, workshop):
    sources = {name: str(workshop.sources / folder) for name, folder in FROM_FOLDERS.items()}

    shipped = {name: wheel["source"] for name, wheel in wheels(bundle).items()}

    assert shipped.pop("django-deploy")
    assert shipped.pop("acme-vcs") == (workshop.sources / "vcs").as_uri()
    assert shipped.pop("acme-wheel").endswith("acme_wheel-1.0-py3-none-any.whl")
    assert shipped == sources


def test_the_rest_is_pinned_with_hashes(bundle):
    pins = bundle["pins"]

    assert set(pins) == PINNED
    assert all(len(sha256) == 64 for hashes in pins.values() for sha256 in hashes)
    assert all(len(hashes) >= 2 for hashes in pins.values())  # a wheel and an sdist at least


def test_what_only_the_deployer_and_the_developer_need_stays_here(bundle):
    left_out = set(bundle["left_out"])

    assert left_out >= {"paramiko", "pip-tools", "rich", "platformdirs", "packaging", "cryptography"}
    assert left_out >= {"pip", "setuptools", "wheel", "build"}
    assert "acme-uv" in left_out  # the project's "dev" group names it
    assert not left_out & set(bundle["distributions"])


def test_project_is_the_one_with_the_settings(bundle):
    assert (bundle["project"], bundle["version"]) == ("acme-site", "1.0")


def test_wheels_hold_modules_and_data(bundle):
    built = wheels(bundle)

    assert "acme_site/templates/acme_site/page.html" in content(built["acme-site"])
    assert content(built["acme-src"]) == ["acme_src/__init__.py"]
    assert content(built["acme-legacy"]) == ["acme_legacy/__init__.py"]
    assert content(built["acme-pdm"]) == ["acme_pdm/__init__.py"]


def test_lost_templates_are_told(bundle):
    assert bundle["warnings"] == [
        "The wheel of acme-src lacks files of its packages: src/acme_src/templates/acme_src/lost.html."
        " If the site needs them, name them in its build settings (setuptools: package-data).",
    ]


def test_vcs_installation_has_its_commit(bundle, workshop):
    commit = workshop.run("git", "rev-parse", "HEAD", cwd=workshop.sources / "vcs").strip()

    revision = wheels(bundle)["acme-vcs"]["revision"]

    assert revision == {"vcs": "git", "id": commit, "branch": "", "dirty": False}


def test_events_tell_of_builds_and_the_end(bundle):
    started = [event["distribution"] for event in bundle["events"] if event["event"] == "build.started"]
    finished = [event for event in bundle["events"] if event["event"] == "build.finished"]
    last = bundle["events"][-1]

    # A wheel file needs no build; when it is known from an earlier test, it is told as found.
    assert len([event for event in finished if not event["wheel"].startswith("acme_wheel-")]) == 10
    # Other tests build the same samples into the same cache.
    assert sorted(started) == sorted(event["distribution"] for event in finished if not event["cached"])
    assert last["event"] == "bundle.ready"
    assert (last["distributions"], last["wheels"]) == (11 + len(PINNED), 11)
    assert last["bytes"] == sum(wheel["size"] for wheel in bundle["wheels"])


def test_unchanged_environment_builds_and_asks_nothing(bundle, workshop):
    nowhere = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}

    again = workshop.bundle(environ=nowhere)

    assert again["wheels"] == bundle["wheels"]
    assert again["pins"] == bundle["pins"]
    built = [event for event in again["events"] if event["event"].startswith("build.")]
    assert all(event["event"] == "build.finished" and event["cached"] for event in built)


def test_neither_the_folder_nor_pythonpath_can_hide_a_record(bundle, workshop, tmp_path):
    stray = tmp_path / "acme_flit.egg-info"
    stray.mkdir()
    stray.joinpath("PKG-INFO").write_text("Metadata-Version: 2.1\nName: acme-flit\nVersion: 9\n")

    again = workshop.bundle(cwd=tmp_path, environ={"PYTHONPATH": str(tmp_path)})

    assert again["wheels"] == bundle["wheels"]


def test_new_content_of_the_same_version_is_another_wheel(bundle, workshop, edited):
    with edited("flit") as folder:
        folder.joinpath("acme_flit", "__init__.py").write_text("VALUE = 2\n")
        again = workshop.bundle()

    old, new = wheels(bundle)["acme-flit"], wheels(again)["acme-flit"]
    assert old["version"] == new["version"]
    assert old["sha256"] != new["sha256"]
    assert zipfile.ZipFile(new["path"]).read("acme_flit/__init__.py") == b"VALUE = 2\n"


def test_requirement_that_is_not_installed_is_refused(workshop, edited):
    with edited("flit") as folder:
        project = folder / "pyproject.toml"
        project.write_text(project.read_text() + 'dependencies = ["acme-new>=2", "django<2"]\n')
        answer = workshop.bundle()

    assert answer["error"] == (
        "The environment is not what its sources now require: acme-flit 1.0 requires acme-new>=2, which "
        "is not installed here; acme-flit 1.0 requires django<2, but "
        f"{workshop.run(workshop.python, '-m', 'django', '--version').strip()} is installed here."
    )


def test_requirement_that_was_left_out_is_refused(workshop, edited):
    with edited("flit") as folder:
        project = folder / "pyproject.toml"
        project.write_text(project.read_text() + 'dependencies = ["acme-uv"]\n')
        answer = workshop.bundle()

    assert answer["error"] == (
        "The environment is not what its sources now require: "
        "acme-flit 1.0 requires acme-uv, which is installed here but was left out."
    )


def test_settings_that_the_build_leaves_out_are_refused(workshop, edited):
    with edited("poetry") as folder:
        folder.joinpath("rogue.py").write_text("")
        answer = workshop.bundle(settings_module="rogue")

    assert answer["error"] == "The wheel of acme-poetry does not hold the settings module rogue."
    assert answer["remedy"] == (
        f"Name its package in the build settings of {folder}, or uninstall acme-poetry: then the folder of "
        "manage.py is deployed as it stands."
    )


def test_settings_without_a_project(workshop, tmp_path):
    settings = tmp_path / "loose" / "settings.py"
    settings.parent.mkdir()
    settings.touch()

    answer = workshop.bundle(settings_module="loose.settings", environ={"PYTHONPATH": str(tmp_path)})

    assert answer["error"] == (
        f"The settings module loose.settings ({settings.resolve()}) belongs to no installed distribution,"
        " and there is no manage.py next to it."
    )
    assert answer["remedy"].startswith(
        f"Put this into {tmp_path.resolve()}/pyproject.toml and run `pip install -e .`"
    )
    assert 'name = "loose"' in answer["remedy"]


def test_django_deploy_must_be_installed(workshop):
    (info,) = workshop.site_packages().glob("django_deploy-*.dist-info")
    hidden = info.rename(workshop.folder / info.name)
    try:
        answer = workshop.bundle()
    finally:
        hidden.rename(info)

    assert answer["error"] == (
        "django-deploy runs here from a folder on the path, but is not installed: no host would get it."
    )


@contextmanager
def repository(workshop, *folders):
    """Makes the sources of the workshop a git repository that has these folders."""
    sources = workshop.sources
    workshop.run("git", "init", "-q", cwd=sources)
    try:
        workshop.run("git", "add", *folders, cwd=sources)
        workshop.run("git", "commit", "-q", "-m", "first", cwd=sources)
        yield workshop.run("git", "rev-parse", "HEAD", cwd=sources).strip()
    finally:
        shutil.rmtree(sources / ".git")


def test_unclean_sources_are_refused_on_demand(workshop):
    """The project's, and those of every other package that comes from a folder."""
    with repository(workshop, "."):
        clean = workshop.bundle(require_clean=True)
        added = [workshop.sources / name / "new.py" for name in ("setuptools_flat", "hatchling")]
        for file in added:
            file.touch()
        try:
            dirty = workshop.bundle(require_clean=True)
            allowed = workshop.bundle()
        finally:
            for file in added:
                file.unlink()

    assert clean["revision"]["dirty"] is False
    assert sorted(dirty["error"].removeprefix("REQUIRE_CLEAN is set, but ").rstrip(".").split("; ")) == [
        f"{file.parent} has uncommitted changes: {file.parent.name}/new.py" for file in sorted(added)
    ]
    assert allowed["revision"]["dirty"] is True


def test_a_revision_of_the_project(bundle, workshop, edited):
    """The working tree is dirty, and nobody minds; nothing is built that had been built before."""
    with repository(workshop, "setuptools_flat", "flit") as commit, edited("setuptools_flat") as project:
        project.joinpath("acme_site", "new.py").touch()
        here = workshop.bundle()
        there = workshop.bundle(revision=commit[:10])

    told = {"vcs": "git", "id": commit, "branch": "", "dirty": False}
    shipped = wheels(there)
    assert there["revision"] == shipped["acme-flit"]["revision"] == told
    assert shipped["acme-site"]["source"] == str(project)
    assert {wheel["sha256"] for wheel in there["wheels"]} == {wheel["sha256"] for wheel in bundle["wheels"]}
    assert all(event["cached"] for event in there["events"] if event["event"] == "build.finished")
    assert "acme_site/new.py" in content(wheels(here)["acme-site"])
    warning = f"acme-hatch is not part of git {commit[:12]}: it is built from {{}} as it is."
    assert warning.format(workshop.sources / "hatchling") in there["warnings"]


def test_a_revision_without_the_settings(workshop, edited):
    with edited("setuptools_flat") as project:
        settings = project / "acme_site" / "settings.py"
        text = settings.read_text()
        settings.unlink()
        with repository(workshop, "setuptools_flat") as commit:
            settings.write_text(text)
            answer = workshop.bundle(revision="HEAD")

    assert answer["error"] == "The wheel of acme-site does not hold the settings module acme_site.settings."
    assert answer["remedy"] == (
        f"Is it in git {commit[:12]}, and not ignored there? SETTINGS_MODULE may have to be another for it."
    )


def test_what_the_environment_lacks_for_a_revision(workshop, edited):
    with edited("flit") as folder:
        project = folder / "pyproject.toml"
        text = project.read_text()
        project.write_text(text + 'dependencies = ["acme-old>=2"]\n')
        with repository(workshop, "setuptools_flat", "flit") as commit:
            project.write_text(text)
            answer = workshop.bundle(revision="HEAD")

    assert answer["error"] == (
        f"The environment is not what git {commit[:12]} requires: "
        "acme-flit 1.0 requires acme-old>=2, which is not installed here."
    )
    assert answer["remedy"] == "Install what it requires, or deploy it from an environment of its own."


def test_closure_is_what_the_project_requires(workshop):
    names = set(workshop.bundle(requirements="closure", extras=["cache"])["distributions"])

    assert names == {"acme-site", "acme-src", "acme-flit", "django-deploy", *PINNED}


def test_lost_connection_is_told_for_every_distribution(workshop, tmp_path, index):
    index.add("django", {})

    answer = workshop.bundle(index_url=index.url)

    assert answer["error"].startswith(
        "No host could install these distributions as they are installed here:\n"
    )
    assert [line.split()[0] for line in answer["error"].splitlines()[1:]] == sorted(PINNED)
    assert answer["error"].count(": no index has this version") == len(PINNED)


def test_failed_build_shows_the_end_of_its_output(workshop, edited):
    with edited("legacy") as folder:
        folder.joinpath("setup.py").write_text(
            "for n in range(100): print('line', n)\nraise SystemExit('no way')"
        )
        answer = workshop.bundle()

    assert answer["error"].startswith(
        f"The wheel of acme-legacy 1.0 ({folder}) cannot be built. The end of the output:\n  line 7"
    )
    assert answer["error"].endswith("  no way")
    assert answer["remedy"] == f"`pip wheel --no-deps {folder}` shows all of it."
