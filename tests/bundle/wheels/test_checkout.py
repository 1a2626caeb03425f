"""Sources at a revision of real git and Mercurial repositories, whose working trees say something else."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from django_deploy.bundle.environment import Distribution
from django_deploy.bundle.manifest import Revision
from django_deploy.bundle.plain.contents import Rules
from django_deploy.bundle.wheels.builder import build_wheels
from django_deploy.bundle.wheels.checkout import source_trees
from django_deploy.exceptions import BundleError

needs_mercurial = pytest.mark.skipif(not shutil.which("hg"), reason="Mercurial is not installed")

FLIT = """\
[build-system]
requires = ["flit-core>=3.9"]
build-backend = "flit_core.buildapi"

[project]
name = "acme-{name}"
version = "1.0"
description = "A sample"
"""


def run(folder: Path, *command: str) -> str:
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def commit(folder: Path, message: str = "next") -> str:
    run(folder, "git", "add", "--all")
    run(folder, "git", "commit", "-q", "-m", message)
    return run(folder, "git", "rev-parse", "HEAD")


def write_package(folder: Path, name: str, text: str = "VALUE = 1\n") -> Distribution:
    package = folder / f"acme_{name}"
    package.mkdir(parents=True, exist_ok=True)
    folder.joinpath("pyproject.toml").write_text(FLIT.format(name=name))
    package.joinpath("__init__.py").write_text(text)
    return Distribution(f"acme-{name}", "1.0", "editable", (), folder, source=folder)


@pytest.fixture
def repository(tmp_path):
    """A git repository whose first revision is tagged v1, and whose working tree is newer and dirty."""
    folder = tmp_path / "repository"
    project = write_package(folder / "site", "site", "VALUE = 'one'\n")
    run(folder, "git", "init", "-q")
    first = commit(folder, "first")
    run(folder, "git", "tag", "v1")
    write_package(folder / "site", "site", "VALUE = 'two'\n")
    commit(folder)
    write_package(folder / "site", "site", "VALUE = 'working tree'\n")
    folder.joinpath("site", "staged.py").touch()
    run(folder, "git", "add", "site/staged.py")
    return folder, project, first


def value(source: Path, name: str = "site") -> str:
    return source.joinpath(f"acme_{name}", "__init__.py").read_text().partition("= ")[2].strip().strip("'")


def state(folder: Path) -> tuple[str, dict[str, bytes]]:
    """All that git keeps and says, and all files."""
    files = {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    return run(folder, "git", "--no-optional-locks", "status", "--porcelain=v2", "--branch"), files


def test_without_a_name_everything_is_as_it_is(repository, tmp_path):
    _, project, _ = repository

    with source_trees([project], project, None, cache=tmp_path) as trees:
        assert (trees.distributions, trees.revision, trees.warnings) == ((project,), None, ())
        assert trees.place(project.source) == project.source


@pytest.mark.parametrize("name", ["v1", "main~1", "commit", "short"])
def test_a_revision_of_git(repository, tmp_path, name):
    folder, project, first = repository
    before = state(folder)

    with source_trees(
        [project], project, {"commit": first, "short": first[:9]}.get(name, name), cache=tmp_path
    ) as trees:
        (found,) = trees.distributions
        assert value(found.source) == "one"
        assert not found.source.joinpath("staged.py").exists()

    assert trees.revision == Revision("git", first)
    assert not found.source.exists()
    assert state(folder) == before


def test_a_branch_is_told(repository, tmp_path):
    _, project, _ = repository

    with source_trees([project], project, "main", cache=tmp_path) as trees:
        assert value(trees.distributions[0].source) == "two"

    assert trees.revision.branch == "main"


def test_folders_of_data_are_those_of_the_checkout(repository, tmp_path):
    folder, project, _ = repository
    rules = Rules(ignored=frozenset({folder / "site" / "media", tmp_path / "elsewhere"}))

    with source_trees([project], project, "v1", cache=tmp_path) as trees:
        source = trees.distributions[0].source
        assert trees.rules(rules).ignored == {source / "media", tmp_path / "elsewhere"}


def test_same_sources_are_the_same_wheel(repository, build_cache):
    """And it tells the revision and the folder in the working tree, not the temporary one."""
    folder, project, first = repository

    with source_trees([project], project, "v1", cache=build_cache) as trees:
        built = build_wheels(trees.distributions, cache=build_cache)
    (there,) = map(trees.with_origin, built)
    run(folder, "git", "stash", "-q")
    run(folder, "git", "checkout", "-q", "v1")
    events = []
    (here,) = build_wheels([project], cache=build_cache, report=events.append)

    assert there.wheel.sha256 == here.wheel.sha256
    assert [event.kind for event in events] == ["build.finished"]
    assert events[0]["cached"]
    assert there.wheel.source == str(project.source)
    assert there.wheel.revision == Revision("git", first, "", is_dirty=False)


@pytest.mark.parametrize("name", ["nope", "--all", "-x", "v1..main", "HEAD^{tree}", ""])
def test_no_such_revision_of_git(repository, tmp_path, name):
    folder, project, _ = repository

    with pytest.raises(BundleError) as caught, source_trees([project], project, name, cache=tmp_path):
        pass

    words = {
        "v1..main": "v1..main is not one revision",
        "HEAD^{tree}": "error: HEAD^{tree}^{commit}: expected commit type",
        "": "fatal: bad revision '^{commit}'",
    }.get(name, f"fatal: bad revision '{name}^{{commit}}'")
    assert caught.value.message.startswith(f"git knows no revision {name!r} in {folder}: {words}")
    assert caught.value.remedy == "Is it there? `git fetch` gets what is new elsewhere."


def test_a_project_without_a_repository(tmp_path):
    project = write_package(tmp_path / "site", "site")

    with pytest.raises(BundleError) as caught, source_trees([project], project, "v1", cache=tmp_path):
        pass

    assert caught.value.message == (
        f"There are no revisions to deploy: neither git nor Mercurial knows {project.source}."
    )


def test_a_project_that_has_no_folder(tmp_path):
    project = Distribution("acme-site", "1.0", "index", (), tmp_path)

    with pytest.raises(BundleError) as caught, source_trees([project], project, "v1", cache=tmp_path):
        pass

    assert caught.value.message == (
        "There are no revisions to deploy: neither git nor Mercurial knows acme-site, "
        "which is not installed from a folder."
    )


def test_a_missing_command_is_told(repository, tmp_path, monkeypatch):
    folder, project, _ = repository
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))

    with pytest.raises(BundleError) as caught, source_trees([project], project, "v1", cache=tmp_path):
        pass

    assert caught.value.message == (f"git knows no revision 'v1' in {folder}: git: No such file or directory")


def test_what_lies_beside_the_project(repository, tmp_path):
    folder, project, _ = repository
    inside = write_package(folder / "libs" / "inside", "inside", "VALUE = 'old'\n")
    commit(folder)
    run(folder, "git", "tag", "v2")
    write_package(folder / "libs" / "inside", "inside", "VALUE = 'new'\n")
    later = write_package(folder / "libs" / "later", "later")
    commit(folder)
    untracked = write_package(folder / "libs" / "untracked", "untracked")
    elsewhere = write_package(tmp_path / "elsewhere", "elsewhere")
    pinned = Distribution("django", "5.2", "index", (), tmp_path)
    everything = [project, inside, later, untracked, elsewhere, pinned]

    with source_trees(everything, project, "v2", cache=tmp_path) as trees:
        found = {item.name: item for item in trees.distributions}
        assert value(found["acme-inside"].source, "inside") == "old"

    revision = run(folder, "git", "rev-parse", "v2")[:12]
    assert list(found) == ["acme-site", "acme-inside", "acme-untracked", "acme-elsewhere", "django"]
    assert (found["acme-untracked"], found["acme-elsewhere"], found["django"]) == (
        untracked,
        elsewhere,
        pinned,
    )
    assert trees.warnings == (
        f"acme-later is left out: git {revision} has no libs/later.",
        f"acme-untracked is not part of git {revision}: it is built from {untracked.source} as it is.",
        f"acme-elsewhere is not part of git {revision}: it is built from {elsewhere.source} as it is.",
    )


def test_a_project_that_the_revision_does_not_have(repository, tmp_path):
    folder, _, first = repository
    run(folder, "git", "mv", "-f", "site", "moved")
    commit(folder)
    moved = Distribution("acme-site", "1.0", "editable", (), folder, source=folder / "moved")

    with pytest.raises(BundleError) as caught, source_trees([moved], moved, "v1", cache=tmp_path):
        pass

    assert caught.value.message == f"git {first[:12]} has no moved, where acme-site is."


# Submodules


@pytest.fixture
def with_submodule(repository, tmp_path, monkeypatch):
    """The repository with a library as a submodule, which has one itself; both have moved on since v2."""
    folder, project, _ = repository
    for name, value in (("COUNT", "1"), ("KEY_0", "protocol.file.allow"), ("VALUE_0", "always")):
        monkeypatch.setenv(f"GIT_CONFIG_{name}", value)  # where git refuses the file protocol
    for name in ("inner", "outer"):
        write_package(tmp_path / "origins" / name, name, "VALUE = 'old'\n")
        run(tmp_path / "origins" / name, "git", "init", "-q")
        commit(tmp_path / "origins" / name)
    run(tmp_path / "origins" / "outer", "git", "submodule", "add", "-q", "../inner", "deep/inner")
    commit(tmp_path / "origins" / "outer")
    run(folder, "git", "submodule", "add", "-q", "--name", "own name", "../origins/outer", "libs/outer")
    run(folder, "git", "submodule", "update", "-q", "--init", "--recursive")
    commit(folder)
    run(folder, "git", "tag", "v2")
    for path, name in (("libs/outer/deep/inner", "inner"), ("libs/outer", "outer"), (".", "")):
        if name:
            write_package(folder / path, name, "VALUE = 'new'\n")
        commit(folder / path)
    (tmp_path / "origins").rename(tmp_path / "nowhere")  # nothing is fetched
    return folder, project


def test_submodules_come_from_their_copies_here(with_submodule, tmp_path):
    folder, project = with_submodule
    outer = Distribution("acme-outer", "1.0", "editable", (), folder, source=folder / "libs" / "outer")
    inner = Distribution(
        "acme-inner", "1.0", "editable", (), folder, source=folder / "libs" / "outer" / "deep" / "inner"
    )
    before = state(folder)

    with source_trees([project, outer, inner], project, "v2", cache=tmp_path) as trees:
        _, there, deep = trees.distributions
        assert (value(there.source, "outer"), value(deep.source, "inner")) == ("old", "old")

    assert trees.warnings == ()
    assert state(folder) == before


def test_submodules_with_a_git_folder_of_their_own(with_submodule, tmp_path):
    """As git had them before 1.7.8, and as ``git clone`` inside of the tree leaves them."""
    folder, project = with_submodule
    outer = folder / "libs" / "outer"
    outer.joinpath(".git").unlink()
    shutil.move(folder / ".git" / "modules" / "own name", outer / ".git")
    run(outer, "git", "--git-dir=.git", "config", "core.worktree", str(outer))

    with source_trees([project], project, "v2", cache=tmp_path) as trees:
        assert value(trees.place(outer), "outer") == "old"


def test_a_submodule_that_is_not_here(with_submodule, tmp_path):
    folder, project = with_submodule
    run(folder, "git", "submodule", "deinit", "-q", "--force", "libs/outer")
    shutil.rmtree(folder / ".git" / "modules" / "own name")

    with source_trees([project], project, "v2", cache=tmp_path) as trees:
        assert list(trees.place(folder / "libs" / "outer").iterdir()) == []

    assert trees.warnings == (f"The submodule libs/outer is left out: it is not initialised in {folder}.",)


def test_a_submodule_that_lacks_its_revision(with_submodule, tmp_path):
    folder, project = with_submodule
    missing = "1" * 40
    run(folder, "git", "update-index", "--cacheinfo", f"160000,{missing},libs/outer")
    run(folder, "git", "commit", "-q", "-m", "a revision that nobody has pushed")

    with pytest.raises(BundleError) as caught, source_trees([project], project, "main", cache=tmp_path):
        pass

    assert caught.value.message == (
        f"The submodule libs/outer in {folder} does not have its revision {missing[:12]} here."
    )
    assert caught.value.remedy == "Fetch it: git fetch --recurse-submodules."


# Where git is not as plain as that


def test_sparse_checkouts_and_split_indexes_change_nothing(repository, tmp_path):
    folder, project, _ = repository
    run(folder, "git", "config", "core.splitIndex", "true")
    run(folder, "git", "stash", "-q")
    run(folder, "git", "sparse-checkout", "set", "docs")
    before = state(folder)

    with source_trees([project], project, "v1", cache=tmp_path) as trees:
        assert value(trees.distributions[0].source) == "one"

    assert state(folder) == before


def test_linked_worktrees(repository, tmp_path):
    folder, _, first = repository
    run(folder, "git", "worktree", "add", "-q", "--detach", str(tmp_path / "linked"), "main")
    project = Distribution("acme-site", "1.0", "editable", (), folder, source=tmp_path / "linked" / "site")

    with source_trees([project], project, "v1", cache=tmp_path) as trees:
        assert value(trees.distributions[0].source) == "one"

    assert trees.revision.id == first


def test_shallow_clones(repository, tmp_path):
    folder, _, _ = repository
    run(tmp_path, "git", "clone", "-q", "--depth=1", folder.as_uri(), "shallow")
    project = Distribution("acme-site", "1.0", "editable", (), folder, source=tmp_path / "shallow" / "site")

    with source_trees([project], project, "HEAD", cache=tmp_path) as trees:
        assert value(trees.distributions[0].source) == "two"


def test_inside_of_a_hook(repository, tmp_path, monkeypatch):
    """git's hooks run with variables that name the repository and its index."""
    _, project, _ = repository
    other = tmp_path / "other"
    other.mkdir()
    run(other, "git", "init", "-q")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git" / "index"))

    with source_trees([project], project, "v1", cache=tmp_path) as trees:
        assert value(trees.distributions[0].source) == "one"

    assert not (other / ".git" / "index").exists()


def test_hooks_do_not_run(repository, tmp_path):
    folder, project, _ = repository
    hook = folder / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    hook.chmod(0o755)

    with source_trees([project], project, "v1", cache=tmp_path):
        pass

    assert not (tmp_path / "ran").exists()


# Versions that come from the VCS


def make_versioned(folder: Path) -> Distribution:
    project = write_package(folder, "site")
    folder.joinpath("pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools>=77", "setuptools-scm>=8"]\n'
        'build-backend = "setuptools.build_meta"\n'
        '[project]\nname = "acme-site"\ndynamic = ["version"]\n'
        '[tool.setuptools]\npackages = ["acme_site"]\n'
        '[tool.setuptools_scm]\nversion_file = "acme_site/_version.py"\n'
    )
    folder.joinpath(".gitignore").write_text("_version.py\n*.egg-info\n")
    return project


def test_versions_are_those_of_the_revision(tmp_path, build_cache):
    folder = tmp_path / "repository"
    project = make_versioned(folder)
    run(folder, "git", "init", "-q")
    commit(folder)
    run(folder, "git", "tag", "v1.5")
    folder.joinpath("README").touch()
    later = commit(folder)
    before = state(folder)

    built = {}
    for name in ("v1.5", "main"):
        with source_trees([project], project, name, cache=build_cache) as trees:
            (built[name],) = build_wheels(trees.distributions, cache=build_cache)

    assert built["v1.5"].wheel.version == "1.5"
    assert built["main"].wheel.version == f"1.6.dev1+g{later[:9]}"
    assert state(folder) == before


def test_versions_are_asked_once(tmp_path, build_cache, monkeypatch):
    folder = tmp_path / "repository"
    project = make_versioned(folder)
    run(folder, "git", "init", "-q")
    commit(folder)
    run(folder, "git", "tag", "v2.5")
    with source_trees([project], project, "v2.5", cache=build_cache) as trees:
        assert trees.distributions[0].version == "2.5"
    newest = max(build_cache.joinpath("versions").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    newest.write_text('"2.5+kept"')

    with source_trees([project], project, "v2.5", cache=build_cache) as trees:
        assert trees.distributions[0].version == "2.5+kept"


# Mercurial


@pytest.fixture
def mercurial(tmp_path):
    folder = tmp_path / "repository"
    project = write_package(folder / "site", "site", "VALUE = 'one'\n")
    run(folder, "hg", "init")
    run(folder, "hg", "commit", "--addremove", "-q", "-m", "first")
    first = run(folder, "hg", "log", "-r", ".", "-T", "{node}")
    run(folder, "hg", "tag", "--local", "v1")
    write_package(folder / "site", "site", "VALUE = 'two'\n")
    run(folder, "hg", "commit", "-q", "-m", "second")
    write_package(folder / "site", "site", "VALUE = 'working tree'\n")
    return folder, project, first


@needs_mercurial
def test_a_revision_of_mercurial(mercurial, tmp_path):
    folder, project, first = mercurial
    untracked = write_package(folder / "untracked", "untracked")

    with source_trees([project, untracked], project, "v1", cache=tmp_path) as trees:
        source = trees.distributions[0].source
        assert value(source) == "one"
        assert [path.name for path in source.parent.iterdir()] == ["site"]

    assert trees.revision == Revision("hg", first, "default")
    assert trees.distributions[1] == untracked
    assert value(project.source) == "working tree"
    assert run(folder, "hg", "status", "--quiet") == "M site/acme_site/__init__.py"


@needs_mercurial
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nope", "abort: unknown revision 'nope'"),
        ("all()", "all() is not one revision"),
        ("--config=x", "parse error: can't use a key-value pair in this context"),
    ],
)
def test_no_such_revision_of_mercurial(mercurial, tmp_path, name, words):
    folder, project, _ = mercurial

    with pytest.raises(BundleError) as caught, source_trees([project], project, name, cache=tmp_path):
        pass

    assert caught.value.message.startswith(f"hg knows no revision {name!r} in {folder}: ")
    assert words in caught.value.message
    assert caught.value.remedy == "Is it there? `hg pull` gets what is new elsewhere."


@needs_mercurial
def test_subrepositories_come_along(mercurial, tmp_path):
    folder, project, _ = mercurial
    write_package(folder / "sub", "sub", "VALUE = 'old'\n")
    run(folder / "sub", "hg", "init")
    run(folder / "sub", "hg", "commit", "--addremove", "-q", "-m", "first")
    folder.joinpath(".hgsub").write_text("sub = sub\n")
    run(folder, "hg", "add", ".hgsub")
    run(folder, "hg", "commit", "-q", "-m", "with a subrepository")
    run(folder, "hg", "tag", "--local", "v2")
    sub = write_package(folder / "sub", "sub", "VALUE = 'new'\n")

    with source_trees([project, sub], project, "v2", cache=tmp_path) as trees:
        assert value(trees.distributions[1].source, "sub") == "old"

    assert trees.warnings == ()


@needs_mercurial
def test_versions_from_mercurial(tmp_path, build_cache):
    folder = tmp_path / "repository"
    project = make_versioned(folder)
    run(folder, "hg", "init")
    run(folder, "hg", "commit", "--addremove", "-q", "-m", "first")
    run(folder, "hg", "tag", "1.5")
    folder.joinpath("README").touch()
    run(folder, "hg", "commit", "--addremove", "-q", "-m", "second")

    with source_trees([project], project, "1.5", cache=build_cache) as trees:
        (built,) = build_wheels(trees.distributions, cache=build_cache)

    assert built.wheel.version == "1.5"
