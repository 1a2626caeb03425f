"""What a project that is no distribution is told."""

from __future__ import annotations

import pytest

from django_deploy.bundle.plain.proposal import propose_packaging

BUILD_SYSTEM = """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"
"""

PROJECT = """\
[project]
name = "mysite"
version = "1.0"
dependencies = ["django", "django-deploy"]
"""

PACKAGES = """\
[tool.setuptools.packages.find]
include = ["blog*", "mysite*"]

[tool.setuptools.package-data]
"*" = ["**/*"]
"""


@pytest.fixture
def folder(tmp_path):
    """The folder of manage.py: the project's package, an app, and what no site needs."""
    for package in ("mysite", "blog", "tests"):
        tmp_path.joinpath(package).mkdir()
        tmp_path.joinpath(package, "__init__.py").touch()
    tmp_path.joinpath("templates").mkdir()
    return tmp_path


def test_without_a_pyproject(folder):
    assert propose_packaging(folder, "mysite") == (
        f"Put this into {folder}/pyproject.toml and run `pip install -e .` there:\n\n"
        f"{BUILD_SYSTEM}\n{PROJECT}\n{PACKAGES}"
    )


def test_pyproject_that_only_configures_tools(folder):
    (folder / "pyproject.toml").write_text("[tool.ruff]\nline-length = 110\n")

    assert propose_packaging(folder, "mysite") == (
        f"Add this to {folder}/pyproject.toml and run `pip install -e .` there:\n\n"
        f"{BUILD_SYSTEM}\n{PROJECT}\n{PACKAGES}"
    )


def test_application_of_uv(folder):
    (folder / "pyproject.toml").write_text('[project]\nname = "mysite"\nversion = "0.1.0"\n')
    (folder / "uv.lock").touch()

    assert propose_packaging(folder, "mysite") == (
        f"Add this to {folder}/pyproject.toml and run `uv sync` there:\n\n{BUILD_SYSTEM}\n{PACKAGES}"
    )


def test_project_of_uv_that_is_no_package(folder):
    (folder / "pyproject.toml").write_text('[project]\nname = "mysite"\n[tool.uv]\npackage = false\n')
    (folder / "uv.lock").touch()

    assert propose_packaging(folder, "mysite") == (
        f"Let [tool.uv] in {folder}/pyproject.toml say package = true, see that it has a [build-system],"
        " and run `uv sync`."
    )


def test_project_of_poetry_that_is_no_package(folder):
    (folder / "pyproject.toml").write_text("[tool.poetry]\npackage-mode = false\n[build-system]\n")
    (folder / "poetry.lock").touch()

    assert propose_packaging(folder, "mysite") == (
        f"Put this in the place of package-mode in {folder}/pyproject.toml and run `poetry install`:\n\n"
        'packages = [{ include = "blog" }, { include = "mysite" }]\n'
    )


@pytest.mark.parametrize("file", ["pyproject.toml", "setup.py"])
def test_package_that_is_not_installed(folder, file):
    (folder / file).write_text("[build-system]\nrequires = ['hatchling']\n" if file != "setup.py" else "")

    assert propose_packaging(folder, "mysite") == f"Run `pip install -e .` in {folder}."
