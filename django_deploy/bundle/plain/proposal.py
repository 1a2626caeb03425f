"""What a project lacks to be a package, as words for a developer who wants or needs one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from django_deploy.bundle.wheels.pyproject import read_toml

BUILD_SYSTEM = """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"
"""

PROJECT = """\
[project]
name = "{name}"
version = "1.0"
dependencies = ["django", "django-deploy"]
"""

PACKAGES = """\
[tool.setuptools.packages.find]
include = [{packages}]

[tool.setuptools.package-data]
"*" = ["**/*"]
"""

#: What a plain project needs to become a distribution.
MINIMAL_PYPROJECT = "\n".join((BUILD_SYSTEM, PROJECT, PACKAGES))

#: Packages that stand beside manage.py and that no site needs.
NOT_DEPLOYED = frozenset(("tests", "test", "docs", "node_modules"))

#: How the environment is brought up to date, by the file that tells who made it.
COMMANDS = {"uv.lock": "uv sync", "poetry.lock": "poetry install", "pdm.lock": "pdm install"}


def propose_packaging(folder: Path, name: str) -> str:
    """What to do in ``folder``, so that its package ``name`` belongs to an installed distribution.

    The other packages that lie there are the project's apps: they are included.
    """
    file = folder / "pyproject.toml"
    tables = read_toml(file) if file.is_file() else {}
    command = next((COMMANDS[lock] for lock in COMMANDS if (folder / lock).exists()), "pip install -e .")
    packages = sorted({name, *(found.parent.name for found in folder.glob("*/__init__.py"))} - NOT_DEPLOYED)
    if _tool(tables, "poetry").get("package-mode") is False:
        return _let_poetry_package(file, command, packages)
    if _tool(tables, "uv").get("package") is False:
        change = f"Let [tool.uv] in {file} say package = true, see that it has a [build-system]"
        return f"{change}, and run `{command}`."
    if "build-system" in tables or (folder / "setup.py").is_file():
        return f"Run `{command}` in {folder}."
    place = f"Add this to {file}" if tables else f"Put this into {file}"
    return f"{place} and run `{command}` there:\n\n{_missing_tables(tables, name, packages)}"


def _let_poetry_package(file: Path, command: str, packages: Sequence[str]) -> str:
    included = ", ".join(f'{{ include = "{package}" }}' for package in packages)
    change = f"Put this in the place of package-mode in {file}"
    return f"{change} and run `{command}`:\n\npackages = [{included}]\n"


def _missing_tables(tables: Mapping[str, Any], name: str, packages: Sequence[str]) -> str:
    parts = (BUILD_SYSTEM, PACKAGES) if "project" in tables else (BUILD_SYSTEM, PROJECT, PACKAGES)
    included = ", ".join(f'"{package}*"' for package in packages)
    return "\n".join(parts).format(name=name, packages=included)


def _tool(tables: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    table: Mapping[str, Any] = tables.get("tool", {}).get(name, {})
    return table
