"""What a project's pyproject.toml says of its build and of its development dependencies."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from django_deploy.exceptions import BundleError


@dataclass(frozen=True)
class BuildSystem:
    """The ``[build-system]`` table (PEP 518), with the defaults for sources that have none."""

    requires: tuple[str, ...] = ("setuptools>=40.8.0",)
    backend: str = "setuptools.build_meta:__legacy__"
    backend_path: tuple[str, ...] | None = None


def read_build_system(source: Path) -> BuildSystem:
    """How a source tree wants to be built; ``BundleError`` when it is no Python project."""
    file = source / "pyproject.toml"
    if not file.is_file():
        if (source / "setup.py").is_file():
            return BuildSystem()
        raise BundleError(f"{source} has neither a pyproject.toml nor a setup.py.")
    table = read_toml(file).get("build-system")
    if table is None:
        return BuildSystem()
    path = table.get("backend-path")
    return BuildSystem(
        tuple(table.get("requires", ())),
        table.get("build-backend", BuildSystem.backend),
        None if path is None else tuple(path),
    )


def read_dependency_groups(source: Path) -> dict[str, tuple[str, ...]]:
    """Canonical names by dependency group: those of PEP 735, with what groups include, and those that
    poetry, pdm and uv had before it.
    """
    file = source / "pyproject.toml"
    tables = read_toml(file) if file.is_file() else {}
    groups = _resolve_groups(tables.get("dependency-groups", {}), file)
    for group, names in _groups_of_tools(tables.get("tool", {})):
        groups[group] = (*groups.get(group, ()), *names)
    return groups


def _resolve_groups(groups: Mapping[str, Any], file: Path) -> dict[str, tuple[str, ...]]:
    if not groups:
        return {}
    from packaging.dependency_groups import DependencyGroupResolver
    from packaging.errors import ExceptionGroup

    try:
        resolver = DependencyGroupResolver(groups)
        requirements = {group: resolver.resolve(group) for group in groups}
    except ExceptionGroup as error:
        reasons = "; ".join(map(str, error.exceptions))
        raise BundleError(f"The dependency groups of {file} are wrong: {reasons}.") from None
    return {
        group: tuple(canonicalize_name(item.name) for item in found) for group, found in requirements.items()
    }


def _groups_of_tools(tool: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """What ``[tool.poetry]``, ``[tool.pdm]`` and ``[tool.uv]`` name for development."""
    poetry = tool.get("poetry", {})
    yield "dev", tuple(map(canonicalize_name, poetry.get("dev-dependencies", {})))
    for group, table in poetry.get("group", {}).items():
        yield group, tuple(map(canonicalize_name, table.get("dependencies", {})))
    for group, requirements in tool.get("pdm", {}).get("dev-dependencies", {}).items():
        yield group, tuple(_names(requirements))
    yield "dev", tuple(_names(tool.get("uv", {}).get("dev-dependencies", ())))


def _names(requirements: Iterable[str]) -> Iterator[str]:
    for text in requirements:
        try:
            yield canonicalize_name(Requirement(text).name)
        except InvalidRequirement:  # pdm's "-e file:///..." is a path
            continue


def read_toml(file: Path) -> dict[str, Any]:
    """The contents of a TOML file; ``BundleError`` when it is not one."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BundleError(f"{file} is not valid TOML: {error}.") from None
