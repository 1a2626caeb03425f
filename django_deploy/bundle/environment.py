"""What is installed in the running environment, and what of it a site needs."""

from __future__ import annotations

import importlib.metadata
import json
import site
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from email.parser import HeaderParser
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit
from urllib.request import url2pathname

from packaging.direct_url import DirectUrl, DirectUrlValidationError
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import NormalizedName, canonicalize_name

from django_deploy.exceptions import BundleError

if TYPE_CHECKING:
    from collections.abc import Mapping

Kind = Literal["editable", "local", "vcs", "url", "index"]

SELF = canonicalize_name("django-deploy")

#: What django-deploy needs on a server; its other requirements serve the deployer only.
NEEDED_ON_HOSTS = frozenset({canonicalize_name("django")})

#: Tools that install: never deployed unless something that is deployed requires them.
TOOLS = ("pip", "setuptools", "wheel", "uv", "build", "pip-tools")

#: Development tools that the default EXCLUDE leaves out, beside the project's own dependency groups.
DEVELOPMENT_TOOLS = (
    *("pytest", "pytest-*", "coverage", "hypothesis", "tox", "tox-*", "nox", "django-test-plus"),
    *("factory-boy", "model-bakery", "responses", "vcrpy", "freezegun", "time-machine", "selenium"),
    *("playwright", "ruff", "black", "isort", "flake8", "flake8-*", "pylint", "pylint-*", "bandit"),
    *("autopep8", "pyupgrade", "django-upgrade", "djlint", "codespell", "vulture", "pre-commit"),
    *("mypy", "pyright", "basedpyright", "pyrefly", "ty", "types-*", "*-stubs", "import-linter"),
    *("ipython", "ipdb", "pdbpp", "pudb", "jupyter", "notebook", "jupyterlab", "ipykernel"),
    *("sphinx", "sphinx-*", "sphinxcontrib-*", "furo", "mkdocs", "mkdocs-*", "mkdocstrings"),
    *("twine", "flit", "hatch", "poetry", "pdm", "bumpversion", "bump-my-version", "check-manifest"),
    *("pip-audit", "pipdeptree", "pipx", "virtualenv", "watchfiles", "py-spy", "line-profiler"),
)

#: Dependency groups (PEP 735) of the project that the default EXCLUDE leaves out.
DEVELOPMENT_GROUPS = ("dev", "test", "tests", "testing", "lint", "docs", "doc", "typing")


def is_needed_on_hosts(name: str, required: str) -> bool:
    """Whether what ``name`` requires counts on a server: always, but for the deployer's own part."""
    return name != SELF or required in NEEDED_ON_HOSTS


@dataclass(frozen=True)
class Distribution:
    """One installed distribution.

    ``name`` is canonical. ``kind`` follows its PEP 610 record: ``editable`` and ``local`` have a
    ``source`` on this machine (a folder; for ``local`` also an archive), ``vcs`` a ``url`` and
    ``commit``, ``url`` the ``url`` of an archive; ``index`` has none of them. ``sha256`` is the
    archive's digest where the installer recorded it. ``metadata_folder`` is its ``.dist-info``.
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

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


@dataclass(frozen=True)
class Environment:
    """What was found: distributions by canonical name, and what looked odd."""

    distributions: tuple[Distribution, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Selection:
    """The distributions to deploy, those that stay here, and what the user should know."""

    kept: tuple[Distribution, ...]
    left_out: tuple[Distribution, ...]
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


def select(
    distributions: Sequence[Distribution],
    requirements: str = "environment",
    *,
    project: Distribution,
    extras: Iterable[str] = (),
    exclude: Sequence[str] | None = None,
    include: Iterable[str] = (),
) -> Selection:
    """What of the environment is deployed.

    ``"environment"`` keeps all but what only the excluded, the tools and the deployer's side of
    django-deploy need; ``"closure"`` keeps what the project requires; ``"freeze"`` keeps all.
    ``exclude`` are names or patterns, None means the development tools. ``include`` are names,
    possibly with extras. Raises ``BundleError`` for an ``include`` that is not installed.
    """
    graph = _Graph(distributions)
    extra_nodes = (_Node(project.name, extra) for extra in extras)
    always = [_Node(project.name), *extra_nodes, *_parse_included(include, graph)]
    if SELF in graph.distributions:
        always.append(_Node(SELF))
    patterns = default_exclusions(project) if exclude is None else tuple(exclude)
    excluded = frozenset(_matching(graph.distributions, patterns)) - {node.name for node in always}

    if requirements == "freeze":
        kept, excluded = frozenset(graph.distributions), frozenset()
    elif requirements == "closure":
        kept = graph.reach(always)
    else:
        unwanted = excluded | frozenset(map(canonicalize_name, TOOLS))
        roots = [_Node(name) for name in graph.roots(unwanted) if name not in unwanted]
        kept = graph.reach([*always, *roots])
    return Selection(
        kept=tuple(item for item in distributions if item.name in kept),
        left_out=tuple(item for item in distributions if item.name not in kept),
        warnings=(*graph.still_required(excluded & kept, kept), *graph.missing(always, kept)),
    )


def default_exclusions(project: Distribution) -> tuple[str, ...]:
    """The development tools, and what the project's own dependency groups for development name."""
    return (*DEVELOPMENT_TOOLS, *_development_groups(project))


def _development_groups(project: Distribution) -> Iterator[str]:
    file = project.source and project.source / "pyproject.toml"
    if file is None or not file.is_file():
        return
    groups = read_toml(file).get("dependency-groups", {})
    if not groups:
        return
    from packaging.dependency_groups import DependencyGroupResolver

    resolver = DependencyGroupResolver(groups)
    for group in groups:
        if canonicalize_name(group) in DEVELOPMENT_GROUPS:
            yield from (canonicalize_name(item.name) for item in resolver.resolve(group))


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


def _matching(names: Iterable[NormalizedName], patterns: Sequence[str]) -> Iterator[NormalizedName]:
    canonical = [canonicalize_name(pattern) for pattern in patterns]
    return (name for name in names if any(fnmatchcase(name, pattern) for pattern in canonical))


def _parse_included(include: Iterable[str], graph: _Graph) -> Iterator[_Node]:
    for text in include:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            raise BundleError(f"INCLUDE: {text!r} is not the name of a distribution.") from None
        name = canonicalize_name(requirement.name)
        if name not in graph.distributions:
            raise BundleError(
                f"INCLUDE names {name}, which is not installed.", remedy=f"Run `pip install {text}`."
            )
        yield from (_Node(name, extra) for extra in ("", *requirement.extras))


@dataclass(frozen=True)
class _Node:
    """A distribution, or one extra of it."""

    name: NormalizedName
    extra: str = ""


class _Graph:
    """Who requires whom, by the markers of this environment and only the extras asked for."""

    def __init__(self, distributions: Iterable[Distribution]) -> None:
        self.distributions: Mapping[NormalizedName, Distribution] = {
            distribution.name: distribution for distribution in distributions
        }
        self._requirements: dict[NormalizedName, tuple[Requirement, ...]] = {}
        self._targets: dict[_Node, tuple[_Node, ...]] = {}

    def reach(self, start: Iterable[_Node], *, on_host: bool = True) -> frozenset[NormalizedName]:
        """The installed names among ``start`` and all that they need."""
        return frozenset(node.name for node in self._reach_nodes(start, on_host=on_host))

    def _reach_nodes(self, start: Iterable[_Node], *, on_host: bool = True) -> set[_Node]:
        seen: set[_Node] = set()
        waiting = [node for node in start if node.name in self.distributions]
        while waiting:
            node = waiting.pop()
            if node in seen:
                continue
            seen.add(node)
            waiting += (
                target for target in self._edges(node, on_host=on_host) if target.name in self.distributions
            )
        return seen

    def _edges(self, node: _Node, *, on_host: bool) -> Iterator[_Node]:
        for target in self._required_by(node):
            if not on_host or is_needed_on_hosts(node.name, target.name):
                yield target

    def _required_by(self, node: _Node) -> tuple[_Node, ...]:
        if node not in self._targets:
            self._targets[node] = tuple(self._evaluate(node))
        return self._targets[node]

    def _evaluate(self, node: _Node) -> Iterator[_Node]:
        if node.extra:
            yield _Node(node.name)
        for requirement in self._parsed(node.name):
            marker = requirement.marker
            if marker is None or marker.evaluate({"extra": node.extra}):
                name = canonicalize_name(requirement.name)
                yield from (_Node(name, extra) for extra in ("", *requirement.extras))

    def _parsed(self, name: NormalizedName) -> tuple[Requirement, ...]:
        if name not in self._requirements:
            self._requirements[name] = tuple(_parse_requirements(self.distributions[name]))
        return self._requirements[name]

    def roots(self, unwanted: frozenset[NormalizedName]) -> Iterator[NormalizedName]:
        """Those that nothing installed requires, and one of each cycle that nothing else requires.

        Of a cycle it is one that is wanted, if there is any.
        """
        edges: dict[NormalizedName, set[NormalizedName]] = {name: set() for name in self.distributions}
        for node in self._reach_nodes(map(_Node, self.distributions), on_host=False):
            edges[node.name] |= {
                target.name
                for target in self._edges(node, on_host=False)
                if target.name in edges and target.name != node.name
            }
        required = set().union(*edges.values())
        yield from (name for name in edges if name not in required)
        covered = set(self.reach([_Node(name) for name in edges if name not in required], on_host=False))
        for name in sorted(edges, key=lambda name: (name in unwanted, name)):
            if name not in covered and _is_in_source_cycle(name, edges):
                yield name
                covered |= self.reach([_Node(name)], on_host=False)

    def still_required(
        self, names: frozenset[NormalizedName], kept: frozenset[NormalizedName]
    ) -> Iterator[str]:
        """Warnings for excluded names that stay because something kept needs them."""
        for name in sorted(names):
            needed_by = sorted(other for other in kept if other != name and self._needs(other, name))
            if needed_by:
                yield f"{name} is excluded, but it is deployed: {', '.join(needed_by)} needs it."

    def _needs(self, name: NormalizedName, other: NormalizedName) -> bool:
        nodes = [node for node in self._targets if node.name == name]
        return any(target.name == other for node in nodes for target in self._edges(node, on_host=True))

    def missing(self, start: Iterable[_Node], kept: frozenset[NormalizedName]) -> Iterator[str]:
        """Warnings for what kept distributions require and this environment does not have."""
        for node in sorted(self._reach_nodes([*start, *map(_Node, kept)]), key=lambda node: node.name):
            for target in self._edges(node, on_host=True):
                if target.name not in self.distributions:
                    extra = f"[{node.extra}]" if node.extra else ""
                    yield f"{node.name}{extra} requires {target.name}, which is not installed here."


def _is_in_source_cycle(name: NormalizedName, edges: Mapping[NormalizedName, set[NormalizedName]]) -> bool:
    """Whether all that require ``name``, directly or not, are required by it as well."""
    required_by: dict[NormalizedName, set[NormalizedName]] = {other: set() for other in edges}
    for other, targets in edges.items():
        for target in targets:
            required_by[target].add(other)
    return _reachable(name, required_by) <= _reachable(name, edges)


def _reachable(
    name: NormalizedName, edges: Mapping[NormalizedName, set[NormalizedName]]
) -> set[NormalizedName]:
    seen: set[NormalizedName] = set()
    waiting = [name]
    while waiting:
        current = waiting.pop()
        if current not in seen:
            seen.add(current)
            waiting += edges[current]
    return seen


def _parse_requirements(distribution: Distribution) -> Iterator[Requirement]:
    for text in distribution.requires:
        try:
            yield Requirement(text)
        except InvalidRequirement:
            # Metadata from before PEP 508 names no distribution that could be looked up.
            continue
