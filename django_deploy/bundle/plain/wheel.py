"""Plain projects: those that nobody has made a package of; their wheel is assembled from their folder.

In a release the folder is ``venv/app``: it keeps its shape, so that what settings derive from their own
place (BASE_DIR) is right there as well. The wheel carries it as data (PEP 427), and a ``.pth`` file that
puts it on the path, behind ``site-packages``.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import importlib.metadata
import io
import os
import re
import sys
import sysconfig
import zipfile
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from django_deploy.bundle.cache import digest
from django_deploy.bundle.environment import Distribution
from django_deploy.bundle.plain.proposal import propose_packaging
from django_deploy.bundle.wheels.pyproject import read_toml
from django_deploy.exceptions import BundleError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from packaging.utils import NormalizedName

    from django_deploy.bundle.plain.contents import Contents, File
    from django_deploy.target import Target

#: Part of every version: raise it when the same files would make another wheel.
RECIPE = 1

#: The project's place in a virtualenv, and what leads there from its site-packages.
FOLDER = "app"
_FROM_SITE_PACKAGES = f"../../../{FOLDER}"

#: How many folders above the settings' own a manage.py is looked for, and a pyproject.toml above manage.py.
LEVELS_ABOVE = 2

#: Top-level names beside manage.py that no site imports.
_NOT_IMPORTED = frozenset(("conftest", "docs", "examples", "manage", "noxfile", "setup", "test", "tests"))

#: The time of all files in a wheel: the same files make the same bytes.
_TIME = (2020, 1, 1, 0, 0, 0)


def find_plain_project(
    settings_file: Path, settings_module: str, distributions: Iterable[Distribution]
) -> Distribution | None:
    """The project that has no distribution, as one of the kind ``plain``; None without a ``manage.py``.

    Its source is the innermost folder with a ``manage.py``, from the one that the settings module is
    imported from upwards. The version follows from the contents: see ``version_of``.
    """
    levels = settings_module.count(".") + (settings_file.name == "__init__.py")
    start = settings_file.parents[levels]
    candidates = (start, *start.parents[:LEVELS_ABOVE])
    folder = next((place for place in candidates if (place / "manage.py").is_file()), None)
    if folder is None:
        return None
    installed = tuple(distributions)
    name = _choose_name(folder, settings_module, {item.name for item in installed})
    paths = tuple(dict.fromkeys((_relative(start, folder), *_on_path_inside(folder, installed))))
    return Distribution(name, "0", "plain", (), folder, source=folder, paths=paths)


def _choose_name(folder: Path, settings_module: str, taken: set[NormalizedName]) -> NormalizedName:
    """As the pyproject.toml calls it, else as its package is called; never as something installed is.

    The folder's name does not count: the same files are the same wheel wherever they lie.
    """
    file = folder / "pyproject.toml"
    project = read_toml(file).get("project", {}) if file.is_file() else {}
    for text in (project.get("name", ""), settings_module.partition(".")[0]):
        name = canonicalize_name(re.sub(r"[^A-Za-z0-9]+", "-", str(text)).strip("-"))
        for candidate in (name, canonicalize_name(f"{name}-site")):
            if name and candidate not in taken:
                return candidate
    return canonicalize_name("plain-site")


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _on_path_inside(folder: Path, distributions: Iterable[Distribution]) -> Iterator[str]:
    """Folders of the project that its manage.py, or whoever runs it, has put on the path beside its own."""
    installed = [Path(path).resolve() for path in sysconfig.get_paths().values()]
    installed += (item.source.resolve() for item in distributions if item.source is not None)
    for entry in filter(None, sys.path):
        path = Path(entry).resolve()
        is_ours = path != folder and path.is_relative_to(folder) and path.is_dir()
        if is_ours and not any(path.is_relative_to(place) for place in installed if place != folder):
            yield _relative(path, folder)


def refuse_what_needs_metadata(target: Target, project: Distribution) -> None:
    """``BundleError`` for settings that ask what a plain project requires: it declares nothing."""
    for key, is_set in (
        ("REQUIREMENTS", target.requirements == "closure"),
        ("EXTRAS", bool(target.extras)),
    ):
        if is_set and project.source is not None:
            wish = "is 'closure'" if key == "REQUIREMENTS" else "names extras"
            advice = propose_packaging(project.source, target.settings_module.partition(".")[0])
            raise BundleError(
                f"{key} {wish}, but the project in {project.source} is no package: it declares nothing.",
                remedy="Leave REQUIREMENTS at 'environment' and EXTRAS empty, or make it a package. "
                + advice,
            )


def version_of(contents: Contents, paths: Iterable[str]) -> str:
    """``0+<12 hex>``, a local version (PEP 440) that every content has its own of."""
    files = [(file.name, file.is_executable, file.sha256) for file in contents.files]
    return f"0+{digest(RECIPE, tuple(paths), files)[:12]}"


def tag_of(contents: Contents) -> str:
    """The wheel's tag: any Python and platform, unless there are extension modules among the files."""
    if not any(file.name.endswith(tuple(EXTENSION_SUFFIXES)) for file in contents.files):
        return "py3-none-any"
    from packaging.tags import sys_tags

    return str(next(sys_tags()))


def assemble(distribution: Distribution, contents: Contents, folder: Path) -> Path:
    """Writes the wheel of a plain project into a folder; the same contents give the same bytes.

    ``BundleError`` when a file changes meanwhile.
    """
    version, tag = version_of(contents, distribution.paths), tag_of(contents)
    stem = f"{distribution.name.replace('-', '_')}-{version}"
    wheel = folder / f"{stem}-{tag}.whl"
    record: list[tuple[str, str, int]] = []
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in contents.files:
            _add_file(archive, _place_of(file.name, stem), file, record)
        for name, text in _own_files(distribution, version, tag, stem).items():
            _add_text(archive, name, text, record)
        name = f"{stem}.dist-info/RECORD"
        _add_text(archive, name, _record_text(record, name), record)
    return wheel


def _place_of(name: str, stem: str) -> str:
    """The path in the wheel: ``../x`` lies beside the project's folder there as it does here."""
    return f"{stem}.data/data/{name[3:] if name.startswith('../') else f'{FOLDER}/{name}'}"


def _own_files(distribution: Distribution, version: str, tag: str, stem: str) -> dict[str, str]:
    paths = (os.path.normpath(f"{_FROM_SITE_PACKAGES}/{path}") for path in distribution.paths)
    metadata = {"Metadata-Version": "2.1", "Name": distribution.name, "Version": version}
    is_pure = "true" if tag.endswith("-any") else "false"
    description = {
        "Wheel-Version": "1.0",
        "Generator": "django-deploy",
        "Root-Is-Purelib": is_pure,
        "Tag": tag,
    }
    return {
        f"{distribution.name.replace('-', '_')}.pth": "".join(f"{path}\n" for path in paths),
        f"{stem}.dist-info/METADATA": _headers(metadata),
        f"{stem}.dist-info/WHEEL": _headers(description),
    }


def _headers(fields: Mapping[str, str]) -> str:
    return "".join(f"{name}: {value}\n" for name, value in fields.items())


def _add_file(archive: zipfile.ZipFile, name: str, file: File, record: list[tuple[str, str, int]]) -> None:
    digest, size = hashlib.sha256(), 0
    entry = _entry(name, is_executable=file.is_executable)
    entry.file_size = file.size
    with open(file.path, "rb") as source, archive.open(entry, "w") as member:
        while block := source.read(1 << 20):
            digest.update(block)
            size += len(block)
            member.write(block)
    if digest.hexdigest() != file.sha256:
        raise BundleError(f"{file.path} changed while it was packed.", remedy="Deploy again.")
    record.append((name, _record_digest(digest.digest()), size))


def _add_text(archive: zipfile.ZipFile, name: str, text: str, record: list[tuple[str, str, int]]) -> None:
    content = text.encode()
    archive.writestr(_entry(name), content)
    record.append((name, _record_digest(hashlib.sha256(content).digest()), len(content)))


def _entry(name: str, *, is_executable: bool = False) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _TIME)
    entry.create_system = 3  # Unix, wherever this runs
    entry.external_attr = (0o100755 if is_executable else 0o100644) << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry


def _record_digest(digest: bytes) -> str:
    return f"sha256={base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def _record_text(record: list[tuple[str, str, int]], own_name: str) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([*record, (own_name, "", "")])
    return text.getvalue()


def find_hidden_modules(
    project: Distribution, contents: Contents, kept: Iterable[Distribution], wheels: Mapping[str, Path]
) -> tuple[tuple[str, str], ...]:
    """The project's modules that others hide on a server: (name, by what) for each.

    Here ``manage.py`` puts the project's folder first on the path, there it comes last. ``wheels`` are those
    that are sent, by name; the modules of the others are in this environment.
    """
    modules = _modules(project, contents)
    found = {(name, "Python itself") for name in modules & sys.stdlib_module_names}
    for provider, wheel in wheels.items():
        if provider != project.name:
            found |= {(name, provider) for name in modules & set(_modules_of_wheel(wheel))}
    for item in kept:
        if item.name not in wheels and _may_have_any(item.metadata_folder.parent, modules):
            files = importlib.metadata.Distribution.at(item.metadata_folder).files or ()
            found |= {(name, item.name) for name in modules & set(top_level_modules(map(str, files)))}
    return tuple(sorted(found))


def _may_have_any(folder: Path, modules: Iterable[str]) -> bool:
    """Whether a module of these names lies in site-packages: records are long, and few need reading."""
    return any((folder / name).exists() or any(folder.glob(f"{name}.*")) for name in modules)


def _modules_of_wheel(wheel: Path) -> Iterator[str]:
    with zipfile.ZipFile(wheel) as archive:
        names = [re.sub(r"^[^/]+\.data/(pure|plat)lib/", "", name) for name in archive.namelist()]
    return top_level_modules(names)


def _modules(project: Distribution, contents: Contents) -> set[str]:
    """Top-level modules and packages of the project, without those that no site imports."""
    prefixes = tuple("" if path == "." else f"{path}/" for path in project.paths)
    names = (
        file.name[len(prefix) :]
        for file in contents.files
        for prefix in prefixes
        if file.name.startswith(prefix)
    )
    return set(top_level_modules(names)) - _NOT_IMPORTED


def top_level_modules(names: Iterable[str]) -> Iterator[str]:
    """The modules that files bring, by their paths relative to a folder on the path."""
    for name in names:
        first, _, rest = name.partition("/")
        if rest == "__init__.py":
            yield first
        elif not rest and first.endswith((".py", *EXTENSION_SUFFIXES)):
            yield first.partition(".")[0]


def refuse_hidden_modules(hidden: Iterable[tuple[str, str]], folder: Path) -> None:
    """``BundleError`` that names each of them with what hides it."""
    names = [f"{name}, which {provider} has, too" for name, provider in hidden]
    if names:
        raise BundleError(
            "On a server the project's own modules come after all that is installed, so these would be"
            f" hidden: {'; '.join(names)}.",
            remedy=f"Rename them in {folder}. Name in PROJECT_EXCLUDE what the site does not import.",
        )
