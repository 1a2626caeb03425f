"""What is installed in the running environment, and where it came from."""

from __future__ import annotations

import importlib.metadata
import json
import site
import sys
import sysconfig
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit
from urllib.request import url2pathname

from packaging.direct_url import DirectUrl, DirectUrlValidationError
from packaging.utils import NormalizedName, canonicalize_name

from django_deploy.exceptions import BundleError

Kind = Literal["editable", "local", "vcs", "url", "index", "plain"]

#: ``.pth`` files that virtualenv, uv, ``setup.py`` and apt make and no RECORD lists.
_FILES_OF_INSTALLERS = ("_virtualenv.pth", "easy-install.pth", "distutils-precedence.pth")


@dataclass(frozen=True)
class Distribution:
    """One installed distribution.

    ``name`` is canonical. ``kind`` follows its PEP 610 record: ``editable`` and ``local`` have a
    ``source`` on this machine (a folder; for ``local`` also an archive), ``vcs`` a ``url`` and
    ``commit``, ``url`` the ``url`` of an archive; ``index`` has none of them. ``sha256`` is the
    archive's digest where the installer recorded it. ``metadata_folder`` is its ``.dist-info``;
    ``requires`` and ``requires_python`` are as its metadata say. ``plain`` is a project that is not
    installed (``bundle/plain/``): its ``source`` is its folder, ``paths`` are those on the path, from there.
    """

    name: NormalizedName
    version: str
    kind: Kind
    requires: tuple[str, ...]
    metadata_folder: Path
    source: Path | None = None
    url: str = ""
    vcs: str = ""
    commit: str = ""
    subdirectory: str = ""
    sha256: str = ""
    requires_python: str = ""
    paths: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


@dataclass(frozen=True)
class Environment:
    """What was found: distributions by canonical name, and what looked odd."""

    distributions: tuple[Distribution, ...]
    warnings: tuple[str, ...] = ()


def discover(folders: Sequence[Path] | None = None) -> Environment:
    """All distributions of the running environment; ``BundleError`` when one is installed twice.

    Only site-packages folders are read, never ``sys.path``: under ``manage.py`` the current
    folder's stray ``*.egg-info`` would hide the record of the real installation.
    """
    found: dict[NormalizedName, Distribution] = {}
    warnings: list[str] = []
    twice: list[str] = []
    folders = site_folders() if folders is None else folders
    for folder in folders:
        here: dict[NormalizedName, list[Distribution]] = {}
        for distribution in _installed_in(folder, warnings):
            here.setdefault(distribution.name, []).append(distribution)
        twice += (_describe_duplicates(folder, same) for same in here.values() if _is_ambiguous(same))
        # An earlier folder hides a later one: so does the import system.
        found = {name: _best(same) for name, same in here.items()} | found
    if twice:
        raise BundleError(
            "The environment is broken: " + "; ".join(twice) + ".",
            remedy="Uninstall each with `pip uninstall` until it is gone, then install it again.",
        )
    distributions = tuple(found[name] for name in sorted(found))
    warnings += _unowned_code(folders, distributions)
    return Environment(distributions, tuple(warnings))


def site_folders() -> tuple[Path, ...]:
    """The site-packages folders of this interpreter, in the order in which they are imported from.

    ``site`` lists those of the system, and the user's own, only where the virtualenv has them. A
    virtualenv's own come before the user's, and the user's before the system's.
    """
    own = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    users = [site.getusersitepackages()] if site.ENABLE_USER_SITE else []
    first = own + users if sys.prefix != sys.base_prefix else users + own
    folders = dict.fromkeys(Path(name).resolve() for name in (*first, *site.getsitepackages()))
    return tuple(folder for folder in folders if folder.is_dir())


def _installed_in(folder: Path, warnings: list[str]) -> Iterator[Distribution]:
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith("~") and entry.suffix in (".dist-info", ".egg-info"):
            warnings.append(f"{entry} is a leftover of an interrupted uninstallation; it is ignored.")
        elif entry.suffix in (".dist-info", ".egg-info"):
            distribution = _read_distribution(entry)
            if distribution is None:
                warnings.append(f"{entry} names no distribution; it is ignored.")
            else:
                yield distribution
        elif entry.suffix == ".egg-link":
            yield from _read_egg_link(entry, warnings)
        elif entry.suffix == ".egg":
            yield from _read_egg(entry, warnings)


def _read_distribution(
    folder: Path, source: Path | None = None, *, record: importlib.metadata.Distribution | None = None
) -> Distribution | None:
    """The distribution that a metadata folder records; None when it has no name or version.

    A ``source`` says that it is an editable one, installed before there were PEP 610 records. ``record``
    reads a folder that is no folder of the file system.
    """
    record = record or importlib.metadata.Distribution.at(folder)
    text = record.read_text("METADATA") or record.read_text("PKG-INFO") or record.read_text("") or ""
    # The description that may follow is long and of no interest.
    metadata = HeaderParser().parsestr(text.partition("\n\n")[0])
    name, version = metadata.get("Name"), metadata.get("Version")
    if not name or not version:
        return None
    requires = metadata.get_all("Requires-Dist") or record.requires or ()
    direct_url = record.read_text("direct_url.json")
    return Distribution(
        name=canonicalize_name(name),
        version=version,
        requires=tuple(requires),
        metadata_folder=folder,
        requires_python=metadata.get("Requires-Python", ""),
        **_origin(folder, direct_url) if source is None else {"kind": "editable", "source": source},
    )


def _origin(folder: Path, direct_url: str | None) -> dict[str, Any]:
    """The fields of a ``Distribution`` that its PEP 610 record tells."""
    if not direct_url:
        return {"kind": "index"}
    try:
        record = DirectUrl.from_dict(json.loads(direct_url))
    except (ValueError, DirectUrlValidationError) as error:
        raise BundleError(
            f"{folder / 'direct_url.json'} is not a PEP 610 record: {error}.",
            remedy="Install the distribution again.",
        ) from None
    subdirectory = record.subdirectory or ""
    path = _file_path(record.url)
    if record.dir_info is not None and path is not None:
        kind = "editable" if record.dir_info.editable else "local"
        return {"kind": kind, "source": path / subdirectory}
    if record.vcs_info is not None:
        vcs = record.vcs_info
        place = {"url": record.url, "subdirectory": subdirectory}
        return {"kind": "vcs", "vcs": vcs.vcs, "commit": vcs.commit_id, **place}
    sha256 = ((record.archive_info and record.archive_info.hashes) or {}).get("sha256", "")
    if path is not None:
        return {"kind": "local", "source": path, "sha256": sha256}
    return {"kind": "url", "url": record.url, "subdirectory": subdirectory, "sha256": sha256}


def _file_path(url: str) -> Path | None:
    parts = urlsplit(url)
    return Path(url2pathname(parts.path)) if parts.scheme == "file" else None


def _read_egg_link(link: Path, warnings: list[str]) -> Iterator[Distribution]:
    """The editable distribution that ``setup.py develop`` has linked.

    The link's first line is the folder that is on the path and has the metadata; its second line
    leads from there to the folder of ``setup.py``.
    """
    lines = [line.strip() for line in link.read_text(encoding="utf-8").splitlines() if line.strip()]
    folder = Path(lines[0]) if lines else Path()
    source = Path(folder, lines[1] if len(lines) > 1 else ".").resolve()
    name = canonicalize_name(link.stem)
    for metadata in folder.glob("*.egg-info") if lines else ():
        distribution = _read_distribution(metadata, source)
        if distribution is not None and distribution.name == name:
            yield distribution
            return
    warnings.append(f"{link} leads to no distribution; it is ignored.")


def _read_egg(egg: Path, warnings: list[str]) -> Iterator[Distribution]:
    """What ``setup.py install`` has left: code and metadata in a folder, or in a zip file."""
    distribution = None
    if egg.is_dir():
        distribution = _read_distribution(egg / "EGG-INFO")
    elif zipfile.is_zipfile(egg):
        record = importlib.metadata.PathDistribution(zipfile.Path(egg, "EGG-INFO/"))
        distribution = _read_distribution(egg / "EGG-INFO", record=record)
    if distribution is None:
        warnings.append(f"{egg} is an egg without metadata; it is ignored.")
    else:
        yield distribution


def _is_ambiguous(same: Sequence[Distribution]) -> bool:
    """Whether metadata contradict each other. apt gives some packages two kinds that say the same."""
    return len({(item.version, item.kind, item.source) for item in same}) > 1


def _best(same: Sequence[Distribution]) -> Distribution:
    """The one that installers of today have made, if there is one."""
    return min(same, key=lambda item: item.metadata_folder.suffix != ".dist-info")


def _describe_duplicates(folder: Path, same: Sequence[Distribution]) -> str:
    versions = " and ".join(distribution.version for distribution in same)
    return f"{same[0].name} is installed more than once in {folder} ({versions})"


def _unowned_code(folders: Iterable[Path], distributions: Sequence[Distribution]) -> Iterator[str]:
    """Warnings for what ``.pth`` files that no distribution owns add to the path or run at each start."""
    sources = [item.source.resolve() for item in distributions if item.source is not None]
    for file in (file for folder in folders for file in sorted(folder.glob("*.pth"))):
        effects = tuple(_foreign_effects(file, (*sources, *folders)))
        if effects and not _is_recorded(file, distributions):
            yield from (
                f"{file} {effect}; no distribution owns it and it is not deployed." for effect in effects
            )


def _foreign_effects(file: Path, known: Sequence[Path]) -> Iterator[str]:
    """What a ``.pth`` file does beyond adding ``known`` folders, or folders inside of them, to the path."""
    for line in map(str.rstrip, file.read_text(encoding="utf-8", errors="replace").splitlines()):
        if line.startswith(("import ", "import\t")):
            if file.name not in _FILES_OF_INSTALLERS and not file.name.endswith("-nspkg.pth"):
                yield "runs code whenever Python starts"
        elif line and not line.startswith("#"):
            path = (file.parent / line).resolve()
            if path.is_dir() and not any(path.is_relative_to(place) for place in known):
                yield f"adds {path} to the path"


def _is_recorded(file: Path, distributions: Iterable[Distribution]) -> bool:
    """Whether a distribution of the same folder lists a file in its RECORD."""
    row = f"\n{file.name},"
    records = (item.metadata_folder / "RECORD" for item in distributions)
    return any(
        row in "\n" + record.read_text(encoding="utf-8", errors="replace")
        for record in records
        if record.parents[1] == file.parent and record.is_file()
    )
