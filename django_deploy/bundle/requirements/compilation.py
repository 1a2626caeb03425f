"""Compiles a requirements.in to exact versions, with pip-tools, in the cache."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from django_deploy.bundle.cache import digest, prune, write_aside
from django_deploy.bundle.fitting import marker_variables
from django_deploy.bundle.requirements.drift import find_installed
from django_deploy.bundle.requirements.lock_file import LockFile
from django_deploy.bundle.requirements.requirements_file import read_requirements_file
from django_deploy.bundle.requirements.stated import not_from_there
from django_deploy.bundle.selection import SELF, is_needed_on_hosts
from django_deploy.bundle.wheels.builder import KEPT_FOR
from django_deploy.exceptions import BundleError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from django_deploy.bundle.environment import Distribution
    from django_deploy.bundle.index.sources import Sources
    from django_deploy.bundle.requirements.requirements_file import Entry, RequirementsFile

#: Part of every key: raise it when the same question would get another answer.
RECIPE = 1

#: The name of a compiled file in its folder of the cache; its time tells when it was last used.
COMPILED = "requirements.txt"

_EXTRA = re.compile(r"""\bextra\s*==\s*['"]([^'"]+)['"]""")


@dataclass(frozen=True)
class _Question:
    """What pip-compile is asked, as the contents of its files.

    ``preferred`` are versions to keep where they will do. ``stubs`` are metadata by the name of a wheel:
    what no index has, or what servers need less of than an index would say.
    """

    requirements: str
    constraints: str
    preferred: str
    stubs: Mapping[str, str]


def compile_requirements(
    file: Path,
    distributions: Sequence[Distribution],
    sources: Sources,
    *,
    wanted: Iterable[str] = (),
    cache: Path,
) -> LockFile:
    """The exact versions of what a file requires, and of what that requires.

    Versions are those that are installed here, wherever the file allows them. ``wanted`` are further
    requirements. What was installed from no index is as it is here: its metadata say what it requires.
    The file is compiled again when it, its includes or constraints, or what is installed here have
    changed, and never because an index has something newer. Raises ``BundleError`` with pip-tools' last
    lines.
    """
    found = read_requirements_file(file)
    question = _ask(found, distributions, wanted)
    key = digest(RECIPE, vars(question), marker_variables(), sources.identity)
    compiled = cache / "compiled" / key / COMPILED
    if compiled.is_file():
        os.utime(compiled)
    else:
        with write_aside(compiled) as aside:
            aside.write_text(_compile(file, question, sources), encoding="utf-8")
        prune(cache / "compiled", COMPILED, unused_for=KEPT_FOR)
    local = {item.name for item in distributions if item.kind != "index"}
    pins = (entry for entry in read_requirements_file(compiled).entries if entry.name not in {*local, SELF})
    own = (entry for entry in found.entries if entry.reference or entry.name in local)
    return LockFile(
        compiled,
        file.name,
        entries=(*(replace(entry, place=f"{file.name}, compiled") for entry in pins), *own),
        options=tuple(found.options),
        further=tuple(f"{entry}; {entry.marker}" for entry in found.entries if _is_for_others(entry)),
    )


def _is_for_others(entry: Entry) -> bool:
    """Whether a requirement of an index counts on other interpreters only."""
    return not entry.applies_here and not entry.reference


def _ask(found: RequirementsFile, distributions: Sequence[Distribution], wanted: Iterable[str]) -> _Question:
    stubs = {item.name: item for item in distributions if item.kind != "index" or item.name == SELF}
    options = (f"{option.name} {option.value}" for option in found.options)
    entries = (_line(entry, distributions) for entry in found.entries if entry.applies_here)
    constraints = (_line(entry, distributions) for entry in found.constraints if not entry.reference)
    preferred = (f"{item.name}=={item.version}" for item in distributions if item.name not in stubs)
    return _Question(
        requirements="\n".join((*options, *entries, *sorted(wanted))),
        constraints="\n".join(constraints),
        preferred="\n".join(preferred),
        stubs={_stub_name(item): _metadata(item, frozenset(stubs)) for item in stubs.values()},
    )


def _line(entry: Entry, distributions: Sequence[Distribution]) -> str:
    """An entry as pip-compile shall see it: what leads to a folder or repository, by its name."""
    if not entry.reference:
        return f"{entry}; {entry.marker}" if entry.marker else str(entry)
    installed = find_installed(entry, distributions)
    if installed is None or installed.kind == "index":
        raise not_from_there(entry, installed)
    return f"{installed.name}[{','.join(entry.extras)}]" if entry.extras else installed.name


def _stub_name(item: Distribution) -> str:
    return f"{item.name.replace('-', '_')}-{item.version.replace('-', '_')}-py3-none-any.whl"


def _metadata(item: Distribution, stubs: frozenset[str]) -> str:
    """The metadata of a stub: name, version, and what servers need of its requirements."""
    requires = list(_requirements_of(item, stubs))
    extras = sorted({extra for text in requires for extra in _EXTRA.findall(text)})
    lines = [
        *("Metadata-Version: 2.1", f"Name: {item.name}", f"Version: {item.version}"),
        *(f"Provides-Extra: {extra}" for extra in extras),
        *(f"Requires-Dist: {text}" for text in requires),
    ]
    return "\n".join(lines) + "\n"


def _requirements_of(item: Distribution, stubs: frozenset[str]) -> Iterator[str]:
    for text in item.requires:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue  # metadata from before PEP 508
        name = canonicalize_name(requirement.name)
        if is_needed_on_hosts(item.name, name):
            if name in stubs:
                requirement.url = None  # it is here, wherever else it could be had
            yield str(requirement)


def _compile(file: Path, question: _Question, sources: Sources) -> str:
    """The compiled file, by pip-compile in a folder of its own."""
    from django_deploy.bundle.wheels.backend import LAST_LINES, CommandFailed, run

    with tempfile.TemporaryDirectory(prefix="django-deploy-") as name:
        folder = Path(name)
        wheels = [_write_stub(folder / stub, metadata) for stub, metadata in question.stubs.items()]
        references = [f"{wheel.name.partition('-')[0]} @ {wheel.as_uri()}" for wheel in wheels]
        (folder / "requirements.in").write_text(f"{question.requirements}\n", encoding="utf-8")
        constraints = "\n".join([question.constraints, *references])
        (folder / "constraints.txt").write_text(f"{constraints}\n", encoding="utf-8")
        (folder / COMPILED).write_text(f"{question.preferred}\n", encoding="utf-8")
        command = [sys.executable, "-m", "piptools", "compile", "--quiet", "--no-header", "--no-annotate"]
        command += ["--no-strip-extras", "--allow-unsafe", "--no-emit-options", "--no-emit-index-url"]
        command += ["--no-emit-trusted-host", "--no-emit-find-links", "--constraint", "constraints.txt"]
        index = {"PIP_INDEX_URL": sources.index_url} if sources.index_url else {}
        try:
            run([*command, "--output-file", COMPILED, "requirements.in"], cwd=name, environment=index)
        except CommandFailed as error:
            lines = "\n".join(f"  {line}" for line in str(error).strip().splitlines()[-LAST_LINES:])
            raise BundleError(
                f"{file.name} cannot be compiled. The end of what pip-compile says:\n{lines}",
                remedy=f"`pip-compile {file}` shows all of it.",
            ) from None
        return (folder / COMPILED).read_text(encoding="utf-8")


def _write_stub(path: Path, metadata: str) -> Path:
    """A wheel with metadata and nothing else."""
    info = "-".join(path.name.split("-")[:2]) + ".dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{info}/METADATA", metadata)
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path
