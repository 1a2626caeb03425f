"""Modules that run here and that no distribution owns: no host would get them."""

from __future__ import annotations

import os
import re
import sysconfig
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from django_deploy.bundle.environment import site_folders
from django_deploy.exceptions import BundleError
from django_deploy.wording import listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from types import ModuleType

    from django_deploy.bundle.environment import Distribution

#: How many modules of one folder are named.
MODULES_SHOWN = 5

#: The program itself, and what virtualenv and uv put into site-packages and no RECORD lists.
_NOT_MEANT = frozenset(("__main__", "__mp_main__", "_virtualenv"))

#: The first part of each path in a RECORD.
_TOP_OF_PATH = re.compile(r"^\"?([^/,\"\n]+)", re.MULTILINE)


def find_unowned_modules(
    modules: Mapping[str, ModuleType],
    distributions: Iterable[Distribution],
    folders: Sequence[Path] | None = None,
) -> Iterator[str]:
    """A warning for each folder with modules that a process runs and that are not deployed.

    Such come from PYTHONPATH, from what ``manage.py`` puts on the path, or were dropped into site-packages
    (``folders``): there it is told of what has not been imported yet, too. What is built from a folder, and a
    plain project, own all that lies there.
    Raises ``BundleError`` where such a module hides one that is installed, which hosts would run instead.
    """
    installed = tuple(distributions)
    sites = site_folders() if folders is None else folders
    known = tuple(_known_folders(installed))
    dropped = {folder: set(_modules_in(folder)) for folder in sites}
    for name, tops in sorted(_tops_by_folder(modules).items()):
        folder = Path(name)
        if folder.resolve() in dropped:
            dropped[folder.resolve()] |= tops
            continue
        if any(folder.is_relative_to(place) or folder.resolve().is_relative_to(place) for place in known):
            continue
        _refuse_hiding(folder, tops, installed)
        yield _warning("run here from", folder, sorted(tops))
    for folder, tops in dropped.items():
        if unowned := tops - _owned_in(folder, installed, tops):
            yield _warning("lie in", folder, sorted(unowned))


def _refuse_hiding(folder: Path, tops: set[str], installed: Iterable[Distribution]) -> None:
    hidden = {
        top: item
        for item in installed
        if item.kind == "index"
        for top in tops & (_listed(item.metadata_folder) or set())
    }
    if hidden:
        names = ", ".join(f"{top} (of {item.name})" for top, item in sorted(hidden.items()))
        raise BundleError(
            f"What runs here from {folder} hides what is installed, and hosts get that: {names}.",
            remedy="Take the folder off PYTHONPATH, or install what is in it with pip install -e.",
        )


def _modules_in(folder: Path) -> Iterator[str]:
    """The names of modules and packages that lie in a folder; without what was left of uninstalled ones."""
    for entry in os.scandir(folder):
        name, _, ending = entry.name.partition(".")
        is_module = ending.rpartition(".")[2] in ("py", "so", "pyd") and entry.is_file()
        is_package = not ending and os.path.isfile(os.path.join(entry.path, "__init__.py"))
        if (is_module or is_package) and name.isidentifier() and name not in _NOT_MEANT:
            yield name


def _known_folders(installed: Sequence[Distribution]) -> Iterator[Path]:
    """Python itself, and the folders that something is built from."""
    yield from (Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib"))
    for item in installed:
        if item.source is not None:
            yield from (item.source, item.source.resolve())


def _tops_by_folder(modules: Mapping[str, ModuleType]) -> dict[str, set[str]]:
    """The names of top-level modules, by the folder that each is imported from."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for name, module in list(modules.items()):
        top = name.partition(".")[0]
        file = getattr(module, "__file__", None)
        is_told_by_top = name != top and getattr(modules.get(top), "__file__", None)
        if not isinstance(file, str) or is_told_by_top or top in _NOT_MEANT:
            continue
        parts = [*name.split("."), *(["__init__"] if os.path.basename(file).startswith("__init__.") else [])]
        stem = file.rpartition(os.sep)[0] + os.sep + os.path.basename(file).partition(".")[0]
        if stem.endswith(end := os.sep + os.path.join(*parts)):  # some modules only pretend to have a file
            found[stem.removesuffix(end) or os.sep].add(top)
    return found


def _owned_in(folder: Path, installed: Iterable[Distribution], tops: Iterable[str]) -> set[str]:
    """Those of the top-level modules in a site-packages folder that a distribution there lists.

    All of them, where one lists nothing: apt installs such.
    """
    owned: set[str] = set()
    for item in installed:
        if item.metadata_folder.parent == folder:
            listed = _listed(item.metadata_folder)
            if listed is None:
                return set(tops)
            owned |= listed
    return {top for top in tops if top in owned}


def _listed(metadata: Path) -> set[str] | None:
    """The top-level names that a distribution's own list has; None without one."""
    for name, pattern in (("RECORD", _TOP_OF_PATH), ("top_level.txt", re.compile(r"(\S+)"))):
        file = metadata / name
        if file.is_file():
            text = file.read_text(encoding="utf-8", errors="replace")
            return {found.partition(".")[0] for found in pattern.findall(text)}
    return None


def _warning(how: str, folder: Path, names: Sequence[str]) -> str:
    return (
        f"Modules {how} {folder} that no distribution owns, so no host gets them:"
        f" {listed(names, MODULES_SHOWN)}. Install them, or take them off the path."
    )
