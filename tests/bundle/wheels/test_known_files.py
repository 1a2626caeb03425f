"""Files that git and Mercurial know, for setuptools plug-ins that ask them."""

from __future__ import annotations

import subprocess
import zipfile
from pathlib import Path

import pytest

from django_deploy.bundle.environment import Distribution
from django_deploy.bundle.wheels.builder import BuiltWheel, build_wheels
from django_deploy.bundle.wheels.known_files import find_known_files, name_in_manifest
from django_deploy.bundle.wheels.tree import Tree

PYPROJECT = """
[build-system]
requires = ["setuptools>=77", "setuptools-scm>=8"]
build-backend = "setuptools.build_meta"
[project]
name = "acme-x"
dynamic = ["version"]
[tool.setuptools_scm]
fallback_version = "1.0"
"""

FILES = {
    "pyproject.toml": PYPROJECT,
    ".gitignore": "*.secret\n",
    "acme_x/__init__.py": "",
    "acme_x/templates/acme_x/old.html": "old",
    "acme_x/my.secret": "",
}


@pytest.fixture
def project(tmp_path) -> Path:
    """A package whose templates only git knows, one of them not yet committed."""
    folder = tmp_path / "x"
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for command in ("init -q", "add .", "commit -q -m first"):
        subprocess.run(["git", *command.split()], cwd=folder, check=True)
    folder.joinpath("acme_x/templates/acme_x/a [new] one.html").write_text("new")
    return folder


NAMES = (
    *(".gitignore", "acme_x/__init__.py", "acme_x/templates/acme_x/a [new] one.html"),
    *("acme_x/templates/acme_x/old.html", "pyproject.toml"),
)


def test_what_git_knows_or_would_add(project):
    assert find_known_files(Tree(project)) == NAMES


def test_what_mercurial_knows_or_would_add(project):
    project.joinpath(".gitignore").unlink()
    project.joinpath(".hgignore").write_text("secret$\n")
    subprocess.run(["rm", "-rf", project / ".git"], check=True)
    subprocess.run(["hg", "init"], cwd=project, check=True)
    subprocess.run(["hg", "add", "-q", "acme_x"], cwd=project, check=True)

    assert find_known_files(Tree(project)) == (".hgignore", *NAMES[1:])


def test_all_files_of_a_checkout_without_a_repository(project):
    subprocess.run(["rm", "-rf", project / ".git"], check=True)

    assert sorted(find_known_files(Tree(project))) == sorted((*NAMES, "acme_x/my.secret"))


def test_other_back_ends_do_not_ask(project):
    project.joinpath("pyproject.toml").write_text('[build-system]\nrequires = ["hatchling", "hatch-vcs"]\n')

    assert find_known_files(Tree(project)) == ()


def test_template_of_the_manifest_has_the_last_word(tmp_path):
    tmp_path.joinpath("MANIFEST.in").write_text("prune tests\n")

    name_in_manifest(["a [new] one.html", "b.py"], tmp_path)

    assert tmp_path.joinpath("MANIFEST.in").read_text() == (
        "include a??new??one.html\ninclude b.py\nprune tests\n"
    )


def build(project: Path, cache: Path) -> BuiltWheel:
    distribution = Distribution("acme-x", "1.0", "editable", (), Path("/nowhere"), source=project)
    (built,) = build_wheels([distribution], cache=cache)
    return built


def test_they_are_in_the_wheel(project, build_cache):
    """As they are in one that setuptools-scm builds in the repository."""
    built = build(project, build_cache)

    with zipfile.ZipFile(built.wheel.path) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == {name for name in NAMES if name.startswith("acme_x/")}
    assert built.warnings == ()


def test_file_that_git_begins_to_ignore_is_another_wheel(project, build_cache):
    first = build(project, build_cache)
    project.joinpath(".git", "info", "exclude").write_text("*new*\n")

    second = build(project, build_cache)

    assert first.wheel.sha256 != second.wheel.sha256
    assert second.warnings == (
        "The wheel of acme-x lacks files of its packages: acme_x/templates/acme_x/a [new] one.html."
        " If the site needs them, name them in its build settings (setuptools: package-data).",
    )
