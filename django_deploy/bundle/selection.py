"""Which of the installed distributions are deployed."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Protocol

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from django_deploy.bundle.plain.wheel import LEVELS_ABOVE
from django_deploy.bundle.wheels.pyproject import read_dependency_groups
from django_deploy.exceptions import BundleError

if TYPE_CHECKING:
    from pathlib import Path

    from packaging.utils import NormalizedName

    from django_deploy.bundle.environment import Distribution
    from django_deploy.bundle.requirements.requirements_file import Entry

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
    "cyclonedx-python-lib",
)

#: Dependency groups (PEP 735, poetry, pdm) of the project that the default EXCLUDE leaves out.
DEVELOPMENT_GROUPS = ("dev", "test", "tests", "testing", "lint", "docs", "doc", "typing")


def is_needed_on_hosts(name: str, required: str) -> bool:
    """Whether what ``name`` requires counts on a server: always, but for the deployer's own part."""
    return name != SELF or required in NEEDED_ON_HOSTS


@dataclass(frozen=True)
class Selection:
    """The distributions to deploy, those that stay here, and what the user should know.

    ``roots`` are what all that is kept is reached from, and ``excluded`` what is not wanted by itself; both
    with the reason, as words. Where a file says what is deployed, ``stated`` are its entries, and
    ``elsewhere`` the distributions that it wants on other interpreters only; ``further`` are requirements
    of such a kind without a version, and ``file`` is its name.
    """

    kept: tuple[Distribution, ...]
    left_out: tuple[Distribution, ...]
    warnings: tuple[str, ...] = ()
    roots: Mapping[Node, str] = field(default_factory=dict)
    excluded: Mapping[NormalizedName, str] = field(default_factory=dict)
    elsewhere: tuple[Distribution, ...] = ()
    stated: Mapping[Distribution, Entry] = field(default_factory=dict)
    further: tuple[str, ...] = ()
    file: str = ""


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
    graph = Graph(distributions)
    roots = asked_for(graph, project, extras, include)
    always = frozenset(node.name for node in roots)
    excluded = {
        name: reason for name, reason in _excluded(graph, project, exclude).items() if name not in always
    }

    if requirements == "freeze":
        roots |= {Node(name): "REQUIREMENTS is 'freeze'" for name in graph.distributions}
        kept, excluded = frozenset(graph.distributions), {}
    elif requirements == "closure":
        kept = graph.reach(roots)
    else:
        unwanted = frozenset(excluded).union(map(canonicalize_name, TOOLS))
        found = (Node(name) for name in graph.roots(unwanted) if name not in unwanted)
        roots = {
            **dict.fromkeys(found, "REQUIREMENTS is 'environment' and nothing else requires it"),
            **roots,
        }
        kept = graph.reach(roots)
    # Nobody has asked for the default exclusions: that one of them is needed is no news.
    told = frozenset() if exclude is None else frozenset(excluded)
    return Selection(
        kept=tuple(item for item in distributions if item.name in kept),
        left_out=tuple(item for item in distributions if item.name not in kept),
        warnings=(*graph.still_required(told & kept, kept), *missing_here(graph, [*roots, *map(Node, kept)])),
        roots=roots,
        excluded=excluded,
    )


def asked_for(
    graph: Graph, project: Distribution, extras: Iterable[str], include: Iterable[str]
) -> dict[Node, str]:
    """What is deployed whatever else is: the project, what the target names, and django-deploy itself."""
    roots = {Node(project.name): "it is the project"}
    roots |= {Node(project.name, extra): f"EXTRAS names {extra}" for extra in extras}
    if SELF in graph.distributions:
        roots.setdefault(Node(SELF), "every site needs it")
    return roots | dict.fromkeys(_parse_included(include, graph), "INCLUDE names it")


def missing_here(graph: Graph, start: Iterable[Node]) -> Iterator[str]:
    """Warnings for what is required and not installed."""
    for needed_by, name in graph.missing(start):
        yield f"{needed_by} requires {name}, which is not installed here."


def _excluded(
    graph: Graph, project: Distribution, exclude: Sequence[str] | None
) -> dict[NormalizedName, str]:
    """The installed names that are not wanted by themselves, with the reason."""
    found: dict[NormalizedName, str] = {}
    for pattern, reason in _exclusions(project, exclude):
        for name in _matching(graph.distributions, canonicalize_name(pattern)):
            found.setdefault(name, reason)
    return found


def _matching(names: Collection[NormalizedName], pattern: NormalizedName) -> Iterable[NormalizedName]:
    if "*" in pattern:
        return (name for name in names if fnmatchcase(name, pattern))
    return (pattern,) if pattern in names else ()  # most patterns are names, and to match is slow


def _folder_of_pyproject(project: Distribution) -> Path | None:
    """Where the project's pyproject.toml lies: of a plain project, it may be above manage.py.

    What lies above its checkout is somebody else's.
    """
    if project.source is None or project.kind != "plain":
        return project.source
    for place in (project.source, *project.source.parents[:LEVELS_ABOVE]):
        if (place / "pyproject.toml").is_file():
            return place
        if (place / ".git").exists() or (place / ".hg").exists():
            break
    return None


def _exclusions(project: Distribution, exclude: Sequence[str] | None) -> Iterator[tuple[str, str]]:
    """Patterns of EXCLUDE, or of its default, with the reason."""
    if exclude is not None:
        yield from ((pattern, f"EXCLUDE has {pattern!r}") for pattern in exclude)
        return
    if (folder := _folder_of_pyproject(project)) is not None:
        for group, names in read_dependency_groups(folder).items():
            if canonicalize_name(group) in DEVELOPMENT_GROUPS:
                yield from ((name, f"the project's dependency group {group!r} names it") for name in names)
    yield from (
        (pattern, f"the list of development tools has {pattern!r}, the default of EXCLUDE")
        for pattern in DEVELOPMENT_TOOLS
    )


def _parse_included(include: Iterable[str], graph: Graph) -> Iterator[Node]:
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
        yield from (Node(name, extra) for extra in ("", *requirement.extras))


@dataclass(frozen=True)
class Node:
    """A distribution, or one extra of it."""

    name: NormalizedName
    extra: str = ""


class Requirer(Protocol):
    """What a graph has to know of a distribution."""

    @property
    def name(self) -> NormalizedName: ...

    @property
    def requires(self) -> tuple[str, ...]: ...


#: Who requires whom, by name.
Edges = Mapping["NormalizedName", "set[NormalizedName]"]


class Graph:
    """What requires what, with only the extras asked for.

    ``markers`` (PEP 508 variables) are those of another interpreter; None means this one.
    """

    def __init__(self, distributions: Iterable[Requirer], markers: Mapping[str, str] | None = None) -> None:
        self.distributions = {distribution.name: distribution for distribution in distributions}
        self._markers = dict(markers or {})
        self._requirements: dict[tuple[NormalizedName, bool], tuple[Requirement, ...]] = {}
        self._targets: dict[Node, tuple[Node, ...]] = {}

    def reach(self, start: Iterable[Node]) -> frozenset[NormalizedName]:
        """The installed names among ``start``, and all that they need on a host."""
        return frozenset(node.name for node in self._walk(start, self.needed_on_hosts))

    def roots(self, unwanted: frozenset[NormalizedName]) -> Iterator[NormalizedName]:
        """Those that nothing installed requires; see ``find_roots``."""
        edges: dict[NormalizedName, set[NormalizedName]] = {name: set() for name in self.distributions}
        for node in self._walk(map(Node, self.distributions), self.requirements_of):
            required = {target.name for target in self.requirements_of(node)}
            edges[node.name] |= (required & edges.keys()) - {node.name}
        return find_roots(edges, unwanted)

    def still_required(
        self, names: frozenset[NormalizedName], kept: frozenset[NormalizedName]
    ) -> Iterator[str]:
        """Warnings for excluded names that stay because something kept needs them."""
        for name in sorted(names):
            nodes = (node for node in self._targets if node.name in kept - {name})
            needed_by = {node.name for node in nodes if Node(name) in self.needed_on_hosts(node)}
            if needed_by:
                yield f"{name} is excluded, but it is deployed: {', '.join(sorted(needed_by))} needs it."

    def missing(self, start: Iterable[Node]) -> Iterator[tuple[str, NormalizedName]]:
        """What is required by ``start`` and all that it needs, and is not there: by whom, and its name."""
        nodes = self._walk(start, self.needed_on_hosts)
        told: set[tuple[NormalizedName, NormalizedName]] = set()
        # A distribution comes before its extras, which repeat what it requires.
        for node in sorted(nodes, key=lambda node: (node.name, node.extra)):
            extra = f"[{node.extra}]" if node.extra else ""
            for target in self.needed_on_hosts(node):
                pair = (node.name, target.name)
                if target.name not in self.distributions and pair not in told:
                    told.add(pair)
                    yield f"{node.name}{extra}", target.name

    def _walk(self, start: Iterable[Node], targets: Callable[[Node], Iterable[Node]]) -> set[Node]:
        seen: set[Node] = set()
        waiting = list(start)
        while waiting:
            node = waiting.pop()
            if node not in seen and node.name in self.distributions:
                seen.add(node)
                waiting += targets(node)
        return seen

    def needed_on_hosts(self, node: Node) -> list[Node]:
        """What a node requires on a host."""
        return [target for target in self.requirements_of(node) if is_needed_on_hosts(node.name, target.name)]

    def requirements_of(self, node: Node) -> tuple[Node, ...]:
        """What a node requires anywhere."""
        if node not in self._targets:
            self._targets[node] = tuple(self._evaluate(node))
        return self._targets[node]

    def statements(self, name: NormalizedName) -> tuple[Requirement, ...]:
        """All that a distribution says about what it requires, whether it counts here or not."""
        return self._parsed(name, with_extras=True)

    def _evaluate(self, node: Node) -> Iterator[Node]:
        if node.extra:
            yield Node(node.name)
        for requirement in self._parsed(node.name, with_extras=bool(node.extra)):
            marker = requirement.marker
            if marker is None or marker.evaluate({**self._markers, "extra": node.extra}):
                name = canonicalize_name(requirement.name)
                yield from (Node(name, extra) for extra in ("", *requirement.extras))

    def _parsed(self, name: NormalizedName, *, with_extras: bool) -> tuple[Requirement, ...]:
        key = (name, with_extras)
        if key not in self._requirements:
            requires = self.distributions[name].requires
            wanted = (text for text in requires if with_extras or not _is_only_for_an_extra(text))
            self._requirements[key] = tuple(_parse_requirements(wanted))
        return self._requirements[key]


def find_roots(edges: Edges, unwanted: frozenset[NormalizedName]) -> Iterator[NormalizedName]:
    """The names that no other requires, and one of each cycle that nothing else requires.

    Of a cycle it is one that is not ``unwanted``, if there is any.
    """
    required_by: dict[NormalizedName, set[NormalizedName]] = {name: set() for name in edges}
    for name, targets in edges.items():
        for target in targets:
            required_by[target].add(name)
    covered: set[NormalizedName] = set()
    # In a cycle that nothing else requires, all that reach a name are reached by it.
    for name in sorted(edges, key=lambda name: (bool(required_by[name]), name in unwanted, name)):
        if name not in covered and _reachable(name, required_by) <= _reachable(name, edges):
            yield name
            covered |= _reachable(name, edges)


def _reachable(name: NormalizedName, edges: Edges) -> set[NormalizedName]:
    seen: set[NormalizedName] = set()
    waiting = [name]
    while waiting:
        current = waiting.pop()
        if current not in seen:
            seen.add(current)
            waiting += edges[current]
    return seen


def _is_only_for_an_extra(text: str) -> bool:
    """Whether a requirement needs no parsing where no extra is asked for: most are of this kind."""
    marker = text.partition(";")[2]
    return _EXTRA.search(marker) is not None and " or " not in marker


_EXTRA = re.compile(r"\bextra\s*==")


def _parse_requirements(texts: Iterable[str]) -> Iterator[Requirement]:
    for text in texts:
        try:
            yield Requirement(text)
        except InvalidRequirement:
            continue  # metadata from before PEP 508: it names nothing that could be looked up
