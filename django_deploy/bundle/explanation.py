"""Says why a distribution is deployed, or is not."""

from __future__ import annotations

import re
from collections import deque
from itertools import pairwise
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from django_deploy.bundle.assembly import survey
from django_deploy.bundle.cache import default_cache
from django_deploy.bundle.index.sources import read_sources, redact
from django_deploy.bundle.requirements.meaning import select_for
from django_deploy.bundle.selection import SELF, TOOLS, Graph, Node, is_needed_on_hosts
from django_deploy.exceptions import ConfigError
from django_deploy.spelling import did_you_mean
from django_deploy.wording import listed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from packaging.utils import NormalizedName

    from django_deploy.bundle.environment import Distribution
    from django_deploy.bundle.selection import Selection
    from django_deploy.target import Target

#: So many chains of requirements are told.
CHAINS_SHOWN = 10

#: A chain of requirements; a distribution and its extras may follow each other.
Chain = tuple[Node, ...]

_EXTRA = re.compile(r'\bextra == "([^"]+)"')

#: What of a marker depends on the interpreter.
_VARIABLE = re.compile(r"python_|platform|os_name|implementation_")


def explain_for(target: Target, name: str, *, cache: Path | None = None) -> tuple[str, ...]:
    """Lines about one distribution, as ``explain``, for what is installed here and a target."""
    environment, project = survey(target)
    sources = read_sources(target.index_url)
    distributions = environment.distributions
    selection = select_for(target, distributions, project, sources, cache=cache or default_cache())
    return explain(name, distributions, selection, target.requirements)


def explain(
    name: str, distributions: Sequence[Distribution], selection: Selection, requirements: str
) -> tuple[str, ...]:
    """Lines about one distribution: deployed or not, why, by which requirements, from where.

    ``requirements`` is what the target's REQUIREMENTS says. Raises ``ConfigError`` where nobody knows the
    name.
    """
    wanted = canonicalize_name(name)
    kept = next((item for item in selection.kept if item.name == wanted), None)
    left_out = next((item for item in selection.left_out if item.name == wanted), None)
    if kept is not None:
        return (*_why_in(kept, distributions, selection), *_elsewhere(wanted, selection))
    everything = _Requirements(distributions)
    conditions = tuple(everything.conditions(wanted))
    elsewhere = tuple(_elsewhere(wanted, selection))
    if left_out is not None:
        return (*_why_out(left_out, everything, selection, requirements), *conditions, *elsewhere)
    if not conditions and not elsewhere:
        hint = did_you_mean(name, [item.name for item in distributions])
        raise ConfigError(f"{name} is not installed here, and nothing here requires it.", remedy=hint)
    return (f"{wanted} is not installed here, and not deployed.", *conditions, *elsewhere)


def _why_in(item: Distribution, distributions: Sequence[Distribution], selection: Selection) -> Iterator[str]:
    yield f"{item} is deployed: {_origin(item)}."
    entry = selection.stated.get(item)
    installed = next((other for other in distributions if other.name == item.name), None)
    if entry is not None and (installed is None or installed.version != item.version):
        here = f"{installed.version} is installed here" if installed else "it is not installed here"
        yield f"{entry.place} says {entry}; {here}."
    reasons = [reason for node, reason in selection.roots.items() if node.name == item.name]
    yield from (f"It is deployed because {reason}." for reason in dict.fromkeys(reasons))
    if item.name in selection.excluded:
        yield f"{_capital(selection.excluded[item.name])}, but what is deployed requires it."
    yield from _Requirements(selection.kept).chains(item.name, selection.roots)


def _origin(item: Distribution) -> str:
    """Where hosts have it from."""
    if item.kind == "index":
        return "it comes from an index"
    if item.kind == "vcs":
        return f"a wheel of {item.vcs}+{redact(item.url)}@{item.commit} is sent"
    if item.kind == "plain":
        return f"the files in {item.source} are sent"
    editable = ", which is installed as editable," if item.kind == "editable" else ""
    return f"a wheel of {item.source or redact(item.url)}{editable} is sent"


def _elsewhere(name: str, selection: Selection) -> Iterator[str]:
    """What a file says about hosts with other interpreters."""
    for item in selection.elsewhere:
        if item.name == name:
            entry = selection.stated[item]
            yield f"{entry.place} says {entry} where {entry.marker}: a host with such an interpreter gets it."
    for text in selection.further:
        if canonicalize_name(Requirement(text).name) == name:
            yield f"{selection.file} says {text}: a host with such an interpreter gets it."


def _why_out(
    item: Distribution, everything: _Requirements, selection: Selection, requirements: str
) -> Iterator[str]:
    yield f"{item} is not deployed."
    excluded = dict(selection.excluded)
    excluded |= {canonicalize_name(tool): "it is a tool that installs" for tool in TOOLS}
    nothing = "nothing that is deployed requires it"
    if selection.file:
        yield f"{selection.file} does not name it, and {nothing}."
    elif item.name in excluded:
        yield f"{_capital(excluded[item.name])}, and {nothing}."
    elif requirements == "closure":
        yield f"REQUIREMENTS is 'closure', and {nothing}."
    else:
        yield "Only what stays here requires it:"
        here = [name for name in excluded if name in everything.versions and name not in _names(selection)]
        start = [*map(Node, sorted(here)), Node(SELF)]
        for chain in everything.chains_here(item.name, start):
            reason = excluded.get(chain[0].name, "servers do not need this side of it")
            yield f"  {everything.describe(chain)} ({chain[0].name}: {reason})"


def _names(selection: Selection) -> frozenset[str]:
    return frozenset(item.name for item in selection.kept)


def _capital(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}"


class _Requirements:
    """Who requires whom among some distributions, for people."""

    def __init__(self, distributions: Iterable[Distribution]) -> None:
        self.versions = {item.name: item.version for item in distributions}
        self._graph = Graph(distributions)

    def chains(self, name: NormalizedName, roots: Iterable[Node]) -> Iterator[str]:
        """Lines about what leads to a distribution, one chain for each that requires it."""
        start = map(Node, self._graph.roots(frozenset()))
        with_extras = (node for node in roots if node.extra)
        found = self._find_chains(name, self._graph.needed_on_hosts, start, with_extras)
        if found:
            yield "Required by:"
        for chain in found[:CHAINS_SHOWN]:
            yield f"  {self.describe(chain)}"
            yield from self._markers(chain)
        if len(found) > CHAINS_SHOWN:
            yield f"  and {len(found) - CHAINS_SHOWN} more"

    def chains_here(self, name: NormalizedName, start: Iterable[Node]) -> list[Chain]:
        """What leads from ``start`` to a distribution, on this machine."""
        return self._find_chains(name, self._graph.requirements_of, start)[:CHAINS_SHOWN]

    def _find_chains(
        self, name: NormalizedName, targets: Callable[[Node], Iterable[Node]], *starts: Iterable[Node]
    ) -> list[Chain]:
        """The shortest chain to each distribution that requires ``name``, with that at its end.

        Of several ``starts`` a later one counts for what cannot be reached from those before.
        """
        found: dict[NormalizedName, Chain] = {}
        seen = set[Node]()
        for start in starts:
            waiting = deque[Chain]((node,) for node in start)
            while waiting:
                chain = waiting.popleft()
                last = chain[-1]
                if last in seen or last.name not in self.versions or last.name == name:
                    continue
                seen.add(last)
                required = tuple(targets(last))
                if ends := tuple(node for node in required if node.name == name):
                    found.setdefault(last.name, (*chain, *ends))
                # With an extra a distribution requires more.
                waiting.extend((*chain, node) for node in sorted(required, key=lambda node: not node.extra))
        return list(found.values())

    def describe(self, chain: Chain) -> str:
        """``shop 1.0 -> celery[redis] 5.6 -> redis 5.2``."""
        names = dict.fromkeys(node.name for node in chain)
        extras = {name: sorted({node.extra for node in chain if node.name == name} - {""}) for name in names}
        asked = {name: f"[{','.join(extras[name])}]" if extras[name] else "" for name in names}
        return " -> ".join(f"{name}{asked[name]} {self.versions[name]}" for name in names)

    def _markers(self, chain: Chain) -> Iterator[str]:
        """Lines about what of a chain depends on the interpreter."""
        for node, target in pairwise(chain):
            for requirement in self._statements(node.name, target.name) if node.name != target.name else ():
                if _applies(requirement, node.extra) and _VARIABLE.search(str(requirement.marker or "")):
                    yield f"    {node.name} says: {requirement}"

    def conditions(self, name: NormalizedName) -> Iterator[str]:
        """Lines about who would require a distribution with another extra, or on another interpreter."""
        with_extra: list[str] = []
        for requirer in self.versions:
            stated = tuple(self._statements(requirer, name))
            if any(_applies(requirement, "") for requirement in stated):
                if name not in self.versions:
                    yield f"{requirer} {self.versions[requirer]} requires it."
                continue
            for requirement in stated:
                if extra := _extra_of(requirement):
                    with_extra.append(f"{requirer}[{extra}]")
                else:
                    yield f"{requirer} {self.versions[requirer]} requires it only where {requirement.marker}."
        if with_extra:
            shown = listed(with_extra, CHAINS_SHOWN)
            yield f"With these extras, for which nothing asks, it would be required: {shown}."

    def _statements(self, requirer: NormalizedName, name: NormalizedName) -> Iterator[Requirement]:
        """What one distribution says about another."""
        if is_needed_on_hosts(requirer, name):
            for requirement in self._graph.statements(requirer):
                if canonicalize_name(requirement.name) == name:
                    yield requirement


def _applies(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def _extra_of(requirement: Requirement) -> str:
    """The extra with which a requirement counts on this interpreter."""
    extras = _EXTRA.findall(str(requirement.marker or ""))
    return next((extra for extra in extras if _applies(requirement, extra)), "")
