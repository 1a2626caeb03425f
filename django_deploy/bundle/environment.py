"""What is installed in the running environment, and where it came from."""

from __future__ import annotations

import importlib.metadata
import json
import site
import sysconfig
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

Kind = Literal["editable", "local", "vcs", "url", "index"]


@dataclass(frozen=True)
class Distribution:
    """One installed distribution.

    ``name`` is canonical. ``kind`` follows its PEP 610 record: ``editable`` and ``local`` have a
    ``source`` on this machine (a folder; for ``local`` also an archive), ``vcs`` a ``url`` and
    ``commit``, ``url`` the ``url`` of an archive; ``index`` has none of them. ``sha256`` is the
    archive's digest where the installer recorded it. ``metadata_folder`` is its ``.dist-info``;
    ``requires`` and ``requires_python`` are as its metadata say.
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
        twice += (_describe_duplicates(folder, same) for same in here.values() if len(same) > 1)
        # An earlier folder hides a later one: so does the import system.
        found = {name: same[0] for name, same in here.items()} | found
    if twice:
        raise BundleError(
            "The environment is broken: " + "; ".join(twice) + ".",
            remedy="Uninstall each with `pip uninstall` until it is gone, then install it again.",
        )
    distributions = tuple(found[name] for name in sorted(found))
    warnings += _unowned_paths(folders, distributions)
    return Environment(distributions, tuple(warnings))


def site_folders() -> tuple[Path, ...]:
    """The site-packages folders of this interpreter, in the order in which they are imported from.

    ``site`` lists those of the system, and the user's own, only where the virtualenv has them.
    """
    names = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *site.getsitepackages()]
    if site.ENABLE_USER_SITE:
        names.insert(0, site.getusersitepackages())
    folders = dict.fromkeys(Path(name).resolve() for name in names)
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


def _read_distribution(folder: Path, source: Path | None = None) -> Distribution | None:
    """The distribution that a metadata folder records; None when it has no name or version.

    A ``source`` says that it is an editable one, installed before there were PEP 610 records.
    """
    record = importlib.metadata.Distribution.at(folder)
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


def _describe_duplicates(folder: Path, same: Sequence[Distribution]) -> str:
    versions = " and ".join(distribution.version for distribution in same)
    return f"{same[0].name} is installed more than once in {folder} ({versions})"


def _unowned_paths(folders: Iterable[Path], distributions: Iterable[Distribution]) -> Iterator[str]:
    """Warnings for folders that a hand-made ``.pth`` puts on the path: their code is not deployed."""
    sources = [item.source.resolve() for item in distributions if item.source is not None]
    for file in (file for folder in folders for file in sorted(folder.glob("*.pth"))):
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            path = (file.parent / line.strip()).resolve()
            if not line.strip() or line.startswith(("#", "import ", "import\t")) or not path.is_dir():
                continue
            owned = any(path.is_relative_to(place) for place in (*sources, *folders))
            if not owned:
                yield f"{file} adds {path} to the path; no distribution owns it and it is not deployed."
