"""The project: the distribution that provides the settings module, or a plain folder that does."""

from __future__ import annotations

import os
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import TYPE_CHECKING

from django_deploy.bundle.plain.proposal import propose_packaging
from django_deploy.bundle.plain.wheel import find_plain_project
from django_deploy.exceptions import BundleError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from django_deploy.bundle.environment import Distribution


def find_project(settings_module: str, distributions: Iterable[Distribution]) -> Distribution:
    """The distribution that provides the settings module.

    Where none does, it is the folder of ``manage.py`` as it stands, of the kind ``plain``; ``BundleError``
    where there is none either, ``ConfigError`` where there is no such module.
    """
    file = find_module(settings_module)
    if file is None:
        raise ConfigError(
            f"The settings module {settings_module} cannot be found.",
            remedy="SETTINGS_MODULE must name a module that this environment can import.",
        )
    candidates = tuple(distributions)
    owner = _recorded_owner(file, candidates) or _source_owner(file, candidates)
    owner = owner or find_plain_project(file, settings_module, candidates)
    if owner is None:
        levels = settings_module.count(".") + (file.name == "__init__.py")
        raise BundleError(
            f"The settings module {settings_module} ({file}) belongs to no installed distribution,"
            " and there is no manage.py next to it.",
            remedy=propose_packaging(file.parents[levels], settings_module.partition(".")[0]),
        )
    return owner


def find_module(name: str) -> Path | None:
    """The file of a module, found without importing anything."""
    loaded = getattr(sys.modules.get(name), "__file__", None)
    if loaded:
        return Path(loaded).resolve()
    path: Sequence[str] | None = None
    full_name, spec = "", None
    for part in name.split("."):
        full_name = f"{full_name}.{part}" if full_name else part
        spec = _find_spec(full_name, path)
        if spec is None:
            return None
        path = spec.submodule_search_locations
    return Path(spec.origin).resolve() if spec is not None and spec.origin else None


def _find_spec(name: str, path: Sequence[str] | None) -> ModuleSpec | None:
    """As ``importlib.util.find_spec``, but without importing the parent packages."""
    specs = (finder.find_spec(name, path, None) for finder in sys.meta_path)
    try:
        return next((spec for spec in specs if spec is not None), None)
    except KeyError:  # a folder without __init__.py asks its parent package, which is not imported
        namespace = ModuleSpec(name, None, is_package=True)
        folders = (os.path.join(entry, name.rpartition(".")[2]) for entry in path or ())
        namespace.submodule_search_locations = [folder for folder in folders if os.path.isdir(folder)]
        return namespace


def _recorded_owner(file: Path, distributions: Iterable[Distribution]) -> Distribution | None:
    """The distribution whose RECORD lists a file in site-packages."""
    for distribution in distributions:
        folder, record = distribution.metadata_folder.parent, distribution.metadata_folder / "RECORD"
        if file.is_relative_to(folder) and record.is_file():
            line = f"{file.relative_to(folder).as_posix()},"
            if f"\n{line}" in "\n" + record.read_text(encoding="utf-8"):
                return distribution
    return None


def _source_owner(file: Path, distributions: Iterable[Distribution]) -> Distribution | None:
    """The distribution in whose source folder a file lies; the innermost of several."""
    sources = [(item.source.resolve(), item) for item in distributions if item.source is not None]
    owners = [(len(source.parts), item) for source, item in sources if file.is_relative_to(source)]
    return max(owners, key=lambda owner: owner[0])[1] if owners else None
