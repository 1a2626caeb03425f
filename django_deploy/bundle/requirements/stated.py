"""What is deployed where a file says it: its pins, and from here what no index has."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from django_deploy.bundle.environment import Distribution
from django_deploy.bundle.index.sources import redact
from django_deploy.bundle.requirements.drift import compare, find_installed, is_same_version, table
from django_deploy.bundle.selection import (
    SELF,
    TOOLS,
    Graph,
    Node,
    Selection,
    asked_for,
    missing_here,
    select,
)
from django_deploy.exceptions import BundleError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from packaging.utils import NormalizedName

    from django_deploy.bundle.index.sources import Sources
    from django_deploy.bundle.requirements.lock_file import LockFile
    from django_deploy.bundle.requirements.requirements_file import Entry

#: So many rows of differences are shown before a deployment.
DIFFERENCES_SHOWN = 20


def select_stated(
    distributions: Sequence[Distribution],
    lock: LockFile,
    sources: Sources,
    *,
    project: Distribution,
    extras: Iterable[str] = (),
    exclude: Sequence[str] | None = None,
    include: Iterable[str] = (),
) -> Selection:
    """What a file pins; and from here the project, django-deploy and what was installed from no index.

    A line that names a folder, an archive or a repository, or a distribution that was installed from one,
    means what is installed here. ``exclude`` counts for these only. Raises ``BundleError`` for what the
    file wants from elsewhere, and when it lacks what its own distributions require.
    """
    extras, include = tuple(extras), tuple(include)
    whole = select(distributions, project=project, extras=extras, exclude=exclude, include=include)
    stated = _find_stated(lock, distributions)
    graph = Graph(distributions)
    asked = asked_for(graph, project, extras, include)
    roots = {**_local_roots(whole), **_stated_roots(stated), **asked}

    included = graph.reach(node for node in asked if node.name not in (project.name, SELF))
    names = included | {node.name for node in roots}
    kept = {item.name: item for item in distributions if item.name in names}
    kept |= {item.name: item for item, entry in stated.items() if entry.applies_here}
    missing = _add_tools(kept, roots, distributions)
    _refuse_incomplete(lock, [pair for pair in missing if pair[1] in graph.distributions])
    return Selection(
        kept=tuple(kept[name] for name in sorted(kept)),
        left_out=tuple(item for item in distributions if item.name not in kept),
        warnings=(
            *_unused_options(lock, sources),
            *_unused_references(lock),
            *missing_here(Graph(kept.values()), [*roots, *map(Node, kept)]),
            *_differences(lock, distributions, [item for item in whole.kept if item.name not in kept]),
        ),
        roots=roots,
        excluded=whole.excluded,
        elsewhere=tuple(item for item, entry in stated.items() if not entry.applies_here),
        stated={item: entry for item, entry in stated.items() if item.kind == "index"},
        further=lock.further,
        file=lock.name,
    )


def _local_roots(whole: Selection) -> dict[Node, str]:
    """What would be deployed without a file, too, and is on no index."""
    local = (Node(item.name) for item in whole.kept if item.kind != "index")
    return dict.fromkeys(local, "it was installed from no index")


def _stated_roots(stated: Mapping[Distribution, Entry]) -> dict[Node, str]:
    return {
        Node(item.name, extra): f"{entry.place} names it"
        for item, entry in stated.items()
        if entry.applies_here
        for extra in ("", *entry.extras)
    }


def _find_stated(lock: LockFile, distributions: Sequence[Distribution]) -> dict[Distribution, Entry]:
    """The distribution that each entry means; a version may be stated for several kinds of interpreters."""
    found: dict[Distribution, Entry] = {}
    for entry in lock.entries:
        installed = find_installed(entry, distributions)
        if installed is not None and installed.kind != "index":
            if entry.applies_here:
                found[installed] = entry
        elif installed is not None and entry.name == SELF:
            _refuse_other_version(entry, installed)
        elif entry.reference:
            if entry.applies_here:
                raise not_from_there(entry, installed)
        else:
            item = _pinned(entry, installed)
            found[item] = _either(found[item], entry) if item in found else entry
    return found


def _refuse_other_version(entry: Entry, ours: Distribution) -> None:
    """``BundleError`` where hosts would get another django-deploy than the one that speaks to them."""
    if entry.applies_here and entry.version and not is_same_version(entry.version, ours.version):
        raise BundleError(
            f"{entry.place} says {entry}, but {ours.version} is what deploys here: hosts need the same.",
            remedy=f"Say {SELF}=={ours.version} there, or run `pip install {entry}`.",
        )


def _pinned(entry: Entry, installed: Distribution | None) -> Distribution:
    """A distribution of an index in the stated version; what it requires is known if that is installed."""
    if installed is not None and is_same_version(entry.version, installed.version):
        return installed
    nowhere = Path(os.devnull)
    return Distribution(canonicalize_name(entry.name), entry.version, "index", (), nowhere)


def _either(first: Entry, second: Entry) -> Entry:
    """The same pin under two markers."""
    is_always = not (first.marker and second.marker)
    return replace(first, marker="" if is_always else f"({first.marker}) or ({second.marker})")


def not_from_there(entry: Entry, installed: Distribution | None) -> BundleError:
    """The error about an entry that leads elsewhere than to what is installed here."""
    wanted = f"{'-e ' if entry.is_editable else ''}{entry}"
    if installed is None:
        message = f"{entry.place} names {wanted}, which is not installed here: there is nothing to send."
    else:
        message = f"{entry.place} names {wanted}, but {installed} was installed here from an index."
    return BundleError(message, remedy=f"Run `pip install {_quoted(wanted)}`.")


def _quoted(text: str) -> str:
    return f'"{text}"' if " @ " in text else text


def _add_tools(
    kept: dict[NormalizedName, Distribution], roots: Iterable[Node], distributions: Iterable[Distribution]
) -> tuple[tuple[str, NormalizedName], ...]:
    """Adds the tools that something requires, and returns what is missing still.

    pip freeze and pip-compile leave them out of their files.
    """
    start, tools = tuple(roots), {item.name: item for item in distributions if item.name in TOOLS}
    while True:
        missing = tuple(Graph(kept.values()).missing([*start, *map(Node, kept)]))
        found = {name: tools[name] for _, name in missing if name in tools}
        if not found:
            return missing
        kept |= found


def _refuse_incomplete(lock: LockFile, missing: Sequence[tuple[str, str]]) -> None:
    if missing:
        needs = ", ".join(f"{name} (for {requirer})" for requirer, name in missing)
        remedy = "Compile it with pip-compile, which adds what is required, or write it with `pip freeze`."
        raise BundleError(
            f"{lock.name} does not list everything that its distributions require: {needs}."
            " Hosts install nothing else.",
            remedy=remedy,
        )


def _unused_options(lock: LockFile, sources: Sources) -> Iterator[str]:
    known = {redact(url).rstrip("/") for url in (*sources.index_urls, *sources.find_links)}
    for option in lock.index_options:
        if option.value and redact(option.value).rstrip("/") not in known:
            yield (
                f"{option.place}: {option.name} {redact(option.value)} is not passed on to the hosts; "
                "name the index in INDEX_URL, or configure it there."
            )


def _unused_references(lock: LockFile) -> Iterator[str]:
    for entry in lock.entries:
        if entry.reference and not entry.applies_here:
            yield f"{entry.place}: {entry} is wanted where {entry.marker} only, and cannot be built here."


def _differences(
    lock: LockFile, distributions: Sequence[Distribution], unnamed: Sequence[Distribution]
) -> Iterator[str]:
    """A table, line by line, of what hosts get and what is installed here."""
    found = compare(lock.entries, distributions, unnamed)
    if found:
        yield f"{lock.name} is not what is installed here; the hosts get what it says:"
        yield from table(found[:DIFFERENCES_SHOWN], lock.name)
        if len(found) > DIFFERENCES_SHOWN:
            yield f"  and {len(found) - DIFFERENCES_SHOWN} more"
