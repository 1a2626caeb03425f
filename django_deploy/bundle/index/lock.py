"""Pins: the exact version of what hosts install from an index, with the sha256 of all its files."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from django_deploy.bundle.cache import digest, read_record, write_record
from django_deploy.bundle.manifest import Pin
from django_deploy.exceptions import BundleError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from packaging.tags import Tag

    from django_deploy.bundle.environment import Distribution
    from django_deploy.bundle.index.pages import File, Index
    from django_deploy.bundle.index.sources import Sources
    from django_deploy.bundle.requirements.requirements_file import Entry

THREADS = 8

NOTHING: Mapping[Distribution, Entry] = MappingProxyType({})


@dataclass(frozen=True)
class Lock:
    """Pins that hosts get from their index, and archives of this machine that only it can give."""

    pins: tuple[Pin, ...]
    archives: Mapping[str, Path]


@dataclass(frozen=True)
class _Answer:
    """What the sources say of one version.

    ``hashes`` are those of its files on indexes; ``archive`` is the file for this machine when it is
    found in local folders only. ``is_source`` where each machine builds its own from an sdist.
    ``problem`` says why there is nothing, ``ask_tools`` whether uv or pip-tools may know more.
    """

    hashes: tuple[str, ...] = ()
    archive: Path | None = None
    problem: str = ""
    ask_tools: bool = False
    is_source: bool = False


def lock(
    distributions: Iterable[Distribution],
    sources: Sources,
    *,
    cache: Path,
    stated: Mapping[Distribution, Entry] = NOTHING,
) -> Lock:
    """Pins every distribution to its version.

    ``stated`` are lines of a file: their markers go along, and their hashes, if they have any, are used as
    they are. What was found once is not asked again: an index never changes a published file. Raises one
    ``BundleError`` that names every distribution that cannot be had.
    """
    wanted = tuple(distributions)
    records = {item: _record_file(item, sources, cache) for item in wanted}
    answers = {item: _stated_answer(stated.get(item)) or _recall(records[item]) for item in wanted}
    unknown = [item for item in wanted if answers[item] is None]
    found = _ask(unknown, sources) if unknown else {}
    for item, answer in found.items():
        if not answer.problem:
            _remember(records[item], answer)
    known = {item: answer for item, answer in {**answers, **found}.items() if answer is not None}
    _refuse_missing(known)
    return Lock(
        pins=tuple(_pin(item, known[item], stated.get(item)) for item in wanted if known[item].hashes),
        archives={item.name: path for item in wanted if (path := known[item].archive) is not None},
    )


def _stated_answer(entry: Entry | None) -> _Answer | None:
    return _nameless(entry.hashes) if entry is not None and entry.hashes else None


def _nameless(hashes: tuple[str, ...]) -> _Answer:
    """Of files without a name: a single one is an sdist more often than a wheel."""
    return _Answer(hashes, is_source=len(hashes) == 1)


def _pin(distribution: Distribution, answer: _Answer, entry: Entry | None) -> Pin:
    marker = entry.marker if entry else ""
    return Pin(distribution.name, distribution.version, answer.hashes, marker, answer.is_source)


def _record_file(distribution: Distribution, sources: Sources, cache: Path) -> Path:
    key = digest(*sources.identity, distribution.name, distribution.version)
    return cache / "hashes" / key[:2] / f"{key}.json"


def _recall(file: Path) -> _Answer | None:
    record = read_record(file)
    if record is None:
        return None
    archive = Path(record["archive"]) if record["archive"] else None
    if archive is not None and not archive.is_file():
        return None
    return _Answer(tuple(record["hashes"]), archive, is_source=record.get("is_source", False))


def _remember(file: Path, answer: _Answer) -> None:
    archive = str(answer.archive) if answer.archive else None
    record = {"hashes": answer.hashes, "archive": archive, "is_source": answer.is_source}
    write_record(file, record)


def _ask(distributions: Sequence[Distribution], sources: Sources) -> dict[Distribution, _Answer]:
    """Asks the sources; and uv or pip-tools where they speak in a way that only those understand."""
    from django_deploy.bundle.index.pages import Index

    index = Index(sources)
    try:
        with ThreadPoolExecutor(THREADS) as pool:
            answers = dict(
                zip(distributions, pool.map(lambda item: _look_up(item, index), distributions), strict=True)
            )
    finally:
        index.close()
    return {**answers, **_ask_tools([item for item, answer in answers.items() if answer.ask_tools], sources)}


def _look_up(distribution: Distribution, index: Index) -> _Answer:
    from django_deploy.bundle.index.client import IndexFailure

    try:
        files = index.files_of_version(distribution.name, distribution.version)
    except IndexFailure as error:
        return _Answer(problem=str(error), ask_tools=not error.is_final)
    remote = [file for file in files if file.local_path is None]
    hashes = tuple(sorted({file.sha256 for file in remote if file.sha256}))
    if hashes:
        return _Answer(hashes, is_source=not any(file.filename.endswith(".whl") for file in remote))
    if remote:
        return _Answer(problem="the index tells no sha256 of its files", ask_tools=True)
    archive = _best_archive(files)
    if archive is not None:
        return _Answer(archive=archive)
    return _Answer(problem="no index has this version")


def _best_archive(files: Iterable[File]) -> Path | None:
    """The wheel that fits this interpreter best, else the sdist."""
    from packaging.tags import create_compatible_tags_selector, sys_tags

    paths = [file.local_path for file in files]
    existing = [path for path in paths if path is not None and path.is_file()]
    wheels = [(path, tags) for path in existing if (tags := _tags_of(path)) is not None]
    best = [*create_compatible_tags_selector(sys_tags())(wheels)]
    best += (path for path in existing if path.suffix != ".whl")
    return best[0] if best else None


def _tags_of(path: Path) -> frozenset[Tag] | None:
    """The tags in a wheel's name; None of what is not called like one."""
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename

    try:
        return parse_wheel_filename(path.name)[3]
    except InvalidWheelFilename:
        return None


def _ask_tools(distributions: Sequence[Distribution], sources: Sources) -> dict[Distribution, _Answer]:
    """Answers of those that other tools find hashes for."""
    if not distributions:
        return {}
    from django_deploy.bundle.index.hash_tools import ask_tools

    requirements = {f"{item.name}=={item.version}": item for item in distributions}
    found = ask_tools(list(requirements), sources)
    return {requirements[text]: _nameless(hashes) for text, hashes in found.items()}


def _refuse_missing(answers: Mapping[Distribution, _Answer]) -> None:
    missing = {item: answer.problem for item, answer in answers.items() if answer.problem}
    if missing:
        lines = [f"  {item}: {problem}" for item, problem in missing.items()]
        raise BundleError(
            "No host could install these distributions as they are installed here:\n" + "\n".join(lines),
            remedy="Name the index that has them in INDEX_URL, or in pip's index-url and extra-index-url; "
            "or install them from their source folder or wheel file: then they are sent as wheels.",
        )
