"""Sources as they were at a revision, in a temporary folder; nothing of the repository changes."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from abc import ABC, abstractmethod
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from django_deploy.bundle.cache import digest, read_record, write_record
from django_deploy.bundle.manifest import Revision
from django_deploy.bundle.wheels.builder import is_version_from_scm
from django_deploy.bundle.wheels.revision import find_root, vcs_environment
from django_deploy.bundle.wheels.tree import Tree
from django_deploy.exceptions import BundleError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from django_deploy.bundle.environment import Distribution
    from django_deploy.bundle.plain.contents import Rules
    from django_deploy.bundle.wheels.builder import BuiltWheel

#: Settings of a user's that would touch the repository, or leave files out.
_GIT = (
    *("git", "-c", "core.splitIndex=false", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"),
    *("-c", "core.sparseCheckout=false", "-c", "advice.detachedHead=false"),
)

_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")


class VcsFailure(Exception):
    """git or hg has failed; its last words are the message."""


class Repository(ABC):
    """One repository on this machine; ``root`` is the folder of its working tree."""

    #: The command, as people call it.
    vcs: str

    def __init__(self, root: Path) -> None:
        self.root = root

    @abstractmethod
    def find(self, name: str) -> Revision:
        """The revision that a branch, tag or id names."""

    @abstractmethod
    def tracks(self, folder: Path) -> bool:
        """Whether the working tree's revision has anything in a folder."""

    @abstractmethod
    def describe(self, commit: str) -> str:
        """How a revision stands to the tags before it: what versions are made of."""

    @abstractmethod
    def write_files(self, commit: str, folder: Path) -> tuple[str, ...]:
        """Writes all files of a revision, and those of its submodules; returns warnings."""

    @abstractmethod
    def write_with_history(self, commit: str, folder: Path) -> None:
        """Writes them so that build plug-ins can ask for their version, without submodules."""


class GitRepository(Repository):
    """git: files are written by its plumbing, with an index of their own."""

    vcs = "git"

    def find(self, name: str) -> Revision:
        answer = self._git("rev-parse", "--end-of-options", f"{name}^{{commit}}", "--")
        found = [line for line in answer.splitlines() if not line.startswith("--")]
        if len(found) != 1 or not _COMMIT.fullmatch(found[0]):
            raise VcsFailure(f"{name} is not one revision")
        try:
            self._git("show-ref", "--verify", "--quiet", f"refs/heads/{name}")
            branch = name
        except VcsFailure:
            branch = ""
        return Revision("git", found[0], branch)

    def tracks(self, folder: Path) -> bool:
        return bool(self._git("ls-files", "-z", "--", str(folder)))

    def describe(self, commit: str) -> str:
        return self._git("describe", "--tags", "--long", "--always", commit)

    def write_files(self, commit: str, folder: Path) -> tuple[str, ...]:
        metadata = Path(self._git("rev-parse", "--path-format=absolute", "--git-common-dir"))
        return tuple(_write_git_tree(metadata, self.root, commit, folder))

    def write_with_history(self, commit: str, folder: Path) -> None:
        self._git("clone", "--quiet", "--shared", "--no-checkout", "--template=", str(self.root), str(folder))
        _run([*_GIT, "-C", str(folder), "checkout", "--quiet", "--detach", commit])

    def _git(self, *arguments: str) -> str:
        return _run([*_GIT, "-C", str(self.root), *arguments])


def _write_git_tree(metadata: Path, root: Path, commit: str, folder: Path) -> Iterator[str]:
    """Writes a commit's files with those of its submodules; yields warnings.

    ``metadata`` is what git keeps of the repository, ``root`` its working tree. Submodules come from the
    copies that git has of them here; what was never initialised is left empty, as it is in ``root``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    git = [*_GIT, f"--git-dir={metadata}", f"--work-tree={folder}"]
    with tempfile.TemporaryDirectory(prefix="django-deploy-") as aside:
        _run([*git, "read-tree", "--reset", "-u", commit], cwd=folder, GIT_INDEX_FILE=f"{aside}/index")
    names = _submodule_names(folder)
    for path, wanted in _submodules(git, commit):
        copy = _copy_of_submodule(metadata, root, names.get(path, path), path)
        if copy is None:
            yield f"The submodule {path} is left out: it is not initialised in {root}."
            continue
        try:
            _run([*_GIT, f"--git-dir={copy}", "cat-file", "-e", f"{wanted}^{{commit}}"])
        except VcsFailure:
            raise BundleError(
                f"The submodule {path} in {root} does not have its revision {wanted[:12]} here.",
                remedy="Fetch it: git fetch --recurse-submodules.",
            ) from None
        yield from _write_git_tree(copy, root / path, wanted, folder / path)


def _submodules(git: Sequence[str], commit: str) -> Iterator[tuple[str, str]]:
    """Path and commit of each submodule of a commit."""
    for entry in _run([*git, "ls-tree", "-r", "-z", "--full-tree", commit]).split("\0"):
        mode, _, rest = entry.partition(" ")
        if mode == "160000":
            fields, _, path = rest.partition("\t")
            yield path, fields.split()[1]


def _submodule_names(folder: Path) -> dict[str, str]:
    """Name by path, as ``.gitmodules`` says: under its name git keeps a submodule's objects."""
    file = folder / ".gitmodules"
    if not file.is_file():
        return {}
    answer = _run([*_GIT, "config", "--null", "--file", str(file), "--get-regexp", r"^submodule\..*\.path$"])
    pairs = (entry.split("\n", 1) for entry in answer.split("\0") if "\n" in entry)
    return {path: key.removeprefix("submodule.").removesuffix(".path") for key, path in pairs}


def _copy_of_submodule(metadata: Path, root: Path, name: str, path: str) -> Path | None:
    """What git keeps of a submodule here; None when it was never initialised."""
    absorbed = metadata / "modules" / name
    if (absorbed / "HEAD").is_file():
        return absorbed
    if not (root / path / ".git").exists():
        return None
    asked = [*_GIT, "-C", str(root / path), "rev-parse", "--path-format=absolute", "--git-common-dir"]
    return Path(_run(asked))


class MercurialRepository(Repository):
    """Mercurial: ``hg archive`` writes what is asked for, and its subrepositories."""

    vcs = "hg"

    def find(self, name: str) -> Revision:
        template = "{node} {branch}\n"
        found = self._hg("log", f"--rev={name}", "--limit=2", f"--template={template}").splitlines()
        if len(found) != 1:
            raise VcsFailure(f"{name} is not one revision")
        commit, _, branch = found[0].partition(" ")
        return Revision("hg", commit, branch)

    def tracks(self, folder: Path) -> bool:
        try:
            return bool(self._hg("files", "--subrepos", "--", str(folder)))
        except VcsFailure:  # hg's answer where there are none
            return False

    def describe(self, commit: str) -> str:
        return self._hg("log", f"--rev={commit}", "--template={latesttag} {latesttagdistance}")

    def write_files(self, commit: str, folder: Path) -> tuple[str, ...]:
        self._hg(
            *("archive", "--subrepos", "--config=ui.archivemeta=no", f"--rev={commit}", "--", str(folder))
        )
        return ()

    def write_with_history(self, commit: str, folder: Path) -> None:
        # .hg_archival.txt tells what the plug-ins ask for.
        self._hg("archive", f"--rev={commit}", "--", str(folder))

    def _hg(self, *arguments: str) -> str:
        return _run(["hg", "--cwd", str(self.root), *arguments])


_REPOSITORIES: dict[str, type[Repository]] = {"git": GitRepository, "hg": MercurialRepository}


def _run(command: Sequence[str], *, cwd: Path | None = None, **variables: str) -> str:
    """What a command prints, without the last line break; ``VcsFailure`` with its words when it fails."""
    try:
        result = subprocess.run(
            command,
            cwd=cwd,
            env={**vcs_environment(), **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
    except OSError as error:
        raise VcsFailure(f"{command[0]}: {error.strerror}") from None
    if result.returncode:
        raise VcsFailure(os.fsdecode(result.stderr).strip() or f"exit status {result.returncode}")
    return os.fsdecode(result.stdout).removesuffix("\n")


@dataclass(frozen=True)
class Trees:
    """The distributions with the folders that they are built from, and the revision of these, if it is one.

    ``places`` leads from a folder of the working tree to the one that stands for it.
    """

    distributions: tuple[Distribution, ...]
    revision: Revision | None = None
    warnings: tuple[str, ...] = ()
    places: tuple[Path, Path] | None = None

    @property
    def working_folders(self) -> tuple[Path, ...]:
        """The folders that are built as they are now, changed or not."""
        sources = (item.source for item in self.distributions if item.source is not None)
        aside = self.places[1] if self.places is not None else None
        return tuple(
            source
            for source in sources
            if source.is_dir() and not (aside is not None and source.is_relative_to(aside))
        )

    def place(self, folder: Path) -> Path:
        """Where a folder of the working tree is taken from."""
        if self.places is None or not folder.is_relative_to(self.places[0]):
            return folder
        return self.places[1] / folder.relative_to(self.places[0])

    def rules(self, rules: Rules) -> Rules:
        """Rules about the working tree, for what stands for it."""
        ignored, named = (frozenset(map(self.place, places)) for places in (rules.ignored, rules.named))
        return replace(rules, ignored=ignored, named=named)

    def with_origin(self, built: BuiltWheel) -> BuiltWheel:
        """A wheel that tells the revision and the folder in the working tree that it is of."""
        if self.places is None or not built.wheel.source.startswith(f"{self.places[1]}"):
            return built
        source = self.places[0] / Path(built.wheel.source).relative_to(self.places[1])
        return replace(built, wheel=replace(built.wheel, source=str(source), revision=self.revision))


@contextmanager
def source_trees(
    distributions: Sequence[Distribution], project: Distribution, name: str | None, *, cache: Path
) -> Iterator[Trees]:
    """The sources as they are, or with a ``name`` at that revision, while the block lasts.

    That is the project, and what lies in the same repository.
    All others are as they are, and ``warnings`` say which. What the revision does not have yet is left
    out. Raises ``BundleError`` when the project has no repository or that no such revision.
    """
    if name is None:
        yield Trees(tuple(distributions))
        return
    repository = _repository_of(project)
    try:
        revision = repository.find(name)
    except VcsFailure as failure:
        raise BundleError(
            f"{repository.vcs} knows no revision {name!r} in {repository.root}: {failure}",
            remedy=f"Is it there? `{repository.vcs} {_FETCH[repository.vcs]}` gets what is new elsewhere.",
        ) from None
    with tempfile.TemporaryDirectory(prefix="django-deploy-") as aside:
        folder = Path(aside).resolve() / "sources"
        try:
            notes = repository.write_files(revision.id, folder)
            checkout = _Checkout(repository, revision, folder, cache)
            found = [checkout.find(item, is_project=item.name == project.name) for item in distributions]
        except VcsFailure as failure:
            raise BundleError(f"{revision} cannot be written: {failure}") from None
        yield Trees(
            distributions=tuple(item for item, _ in found if item is not None),
            revision=revision,
            warnings=(*notes, *(note for _, note in found if note)),
            places=(repository.root, folder),
        )


_FETCH = {"git": "fetch", "hg": "pull"}


def _repository_of(project: Distribution) -> Repository:
    place = find_root(project.source.resolve()) if project.source is not None else None
    if place is None:
        where = project.source or f"{project.name}, which is not installed from a folder"
        raise BundleError(
            f"There are no revisions to deploy: neither git nor Mercurial knows {where}.",
            remedy="Without --revision, the project is deployed as it is.",
        )
    vcs, root = place
    return _REPOSITORIES[vcs](root)


@dataclass(frozen=True)
class _Checkout:
    """A revision that has been written to a folder."""

    repository: Repository
    revision: Revision
    folder: Path
    cache: Path

    def find(self, item: Distribution, *, is_project: bool) -> tuple[Distribution | None, str]:
        """A distribution as the revision has it, None when it has none; and what the user should know."""
        if item.source is None or item.kind in ("local", "index"):
            return item, ""
        source, root = item.source.resolve(), self.repository.root
        place = self.folder / source.relative_to(root) if source.is_relative_to(root) else None
        if place is not None and place.is_dir() and any(place.iterdir()):
            return self._revised(item, place), ""
        if place is None or not (is_project or self.repository.tracks(source)):
            return item, f"{item.name} is not part of {self.revision}: it is built from {source} as it is."
        if is_project:
            raise BundleError(
                f"{self.revision} has no {source.relative_to(root)}, where {item.name} is.",
                remedy="Deploy a revision that has it, or without --revision what is there now.",
            )
        return None, f"{item.name} is left out: {self.revision} has no {source.relative_to(root)}."

    def _revised(self, item: Distribution, place: Path) -> Distribution:
        if is_version_from_scm(Tree(place)):
            return replace(item, source=place, version=self._version(item, place))
        return replace(item, source=place)

    def _version(self, item: Distribution, place: Path) -> str:
        """The version that the back end takes from the VCS; it follows from the tags, and is kept."""
        from django_deploy.bundle.wheels.backend import ask_version

        described = self.repository.describe(self.revision.id)
        inside = str(place.relative_to(self.folder))
        record = self.cache / "versions" / f"{digest(self.revision.id, described, inside)}.json"
        known: str | None = read_record(record)
        if known is None:
            with tempfile.TemporaryDirectory(prefix="django-deploy-") as aside:
                copy = Path(aside) / self.repository.root.name
                self.repository.write_with_history(self.revision.id, copy)
                known = ask_version(item, copy / inside, cache=self.cache)
            write_record(record, known)
        return known
