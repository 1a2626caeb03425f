"""Where folders stand in real git and Mercurial repositories."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from django_deploy.bundle.manifest import Revision
from django_deploy.bundle.wheels.revision import (
    Commits,
    find_commits,
    find_revision,
    find_working_copy,
    ignored_files,
    require_clean,
)
from django_deploy.exceptions import BundleError


def run(folder: Path, *command: str) -> str:
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "repository"
    folder.joinpath("project").mkdir(parents=True)
    folder.joinpath("project", "a.py").write_text("1")
    folder.joinpath("project", ".gitignore").write_text("*.log\n")
    run(folder, "git", "init", "-q")
    run(folder, "git", "add", ".")
    run(folder, "git", "commit", "-q", "-m", "first")
    return folder


@pytest.mark.parametrize("vcs", ["git", "hg"])
def test_files_that_the_vcs_ignores(tmp_path, vcs):
    run(tmp_path, vcs, "init", "-q")
    tmp_path.joinpath(f".{vcs}ignore").write_text("syntax: glob\n*.mo\n" if vcs == "hg" else "*.mo\n")
    project = tmp_path / "pro ject"
    (project / "locale").mkdir(parents=True)
    for name in ("locale/größe.mo", "a.py"):
        project.joinpath(name).write_text("x")

    assert ignored_files(project, ["a.py", "locale/größe.mo"]) == ("locale/größe.mo",)
    assert ignored_files(project, []) == ()


def test_clean_git(repository):
    commit = run(repository, "git", "rev-parse", "HEAD")

    assert find_revision(repository / "project") == Revision("git", commit, "main", is_dirty=False)


def test_changes_of_git(repository):
    project = repository / "project"
    project.joinpath("old name.py").write_text("some lines\n" * 9)
    project.joinpath("gone.py").touch()
    run(repository, "git", "add", ".")
    run(repository, "git", "commit", "-q", "-m", "second")

    project.joinpath("a.py").write_text("2")
    project.joinpath("gone.py").unlink()
    run(project, "git", "mv", "old name.py", "new näme.py")
    project.joinpath("untracked.py").touch()
    project.joinpath("ignored.log").touch()
    repository.joinpath("elsewhere.py").touch()

    files = find_working_copy(project).dirty_files
    assert sorted(Path(name).name for name in files) == ["a.py", "gone.py", "new näme.py", "untracked.py"]


def test_detached_git_has_no_branch(repository):
    commit = run(repository, "git", "rev-parse", "HEAD")
    run(repository, "git", "checkout", "-q", "--detach")

    assert find_revision(repository) == Revision("git", commit, "", is_dirty=False)


def test_git_without_a_commit_is_no_revision(tmp_path):
    run(tmp_path, "git", "init", "-q")

    assert find_revision(tmp_path) is None


def test_no_vcs_is_no_revision(tmp_path):
    assert find_revision(tmp_path) is None


def test_missing_command_is_no_revision(repository, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))

    assert find_revision(repository) is None


@pytest.mark.skipif(not shutil.which("hg"), reason="Mercurial is not installed")
def test_mercurial(tmp_path):
    project = tmp_path / "project"
    project.mkdir()
    project.joinpath("a.py").write_text("1")
    run(tmp_path, "hg", "init")
    run(tmp_path, "hg", "add", "-q")
    run(tmp_path, "hg", "commit", "-m", "first")
    node = run(tmp_path, "hg", "log", "-r", ".", "-T", "{node}")

    clean = find_working_copy(project)
    tmp_path.joinpath("elsewhere.py").touch()
    project.joinpath("untracked.py").touch()
    dirty = find_working_copy(project)

    assert clean.revision == Revision("hg", node, "default", is_dirty=False)
    assert dirty.revision == Revision("hg", node, "default", is_dirty=True)
    assert dirty.dirty_files == ("untracked.py",)


@pytest.mark.parametrize("ignore", ["none", "untracked", "dirty", "all"])
@pytest.mark.parametrize("change", ["edit", "commit"])
def test_submodules_of_git_that_are_not_as_committed(repository, tmp_path, ignore, change):
    """Whatever the user's git leaves out of a status for its own ends."""
    run(tmp_path, "git", "clone", "-q", "repository", "library")
    add = (
        "git",
        "-c",
        "protocol.file.allow=always",
        "submodule",
        "add",
        "-q",
        "../library",
        "project/library",
    )
    run(repository, *add)
    run(repository, "git", "config", "-f", ".gitmodules", "submodule.project/library.ignore", ignore)
    run(repository, "git", "add", ".")
    run(repository, "git", "commit", "-q", "-m", "second")
    library = repository / "project" / "library"
    require_clean([repository / "project"])

    library.joinpath("project", "a.py").write_text("2")
    if change == "commit":
        run(library, "git", "commit", "-q", "-a", "-m", "third")

    assert find_working_copy(repository / "project").dirty_files == ("project/library",)


@pytest.mark.parametrize("change", ["edit", "commit"])
def test_subrepositories_of_mercurial_that_are_not_as_committed(tmp_path, change):
    library = tmp_path / "library"
    run(tmp_path, "hg", "init", str(library))
    library.joinpath("a.py").write_text("1")
    tmp_path.joinpath(".hgsub").write_text("library = library\n")
    run(library, "hg", "commit", "-q", "-A", "-m", "first", "-u", "me")
    run(tmp_path, "hg", "init")
    run(tmp_path, "hg", "commit", "-q", "-A", "-m", "first", "-u", "me")
    require_clean([tmp_path])

    library.joinpath("a.py").write_text("2")
    if change == "commit":
        run(library, "hg", "commit", "-q", "-m", "second", "-u", "me")

    assert find_working_copy(tmp_path).dirty_files == ("library/a.py",)


def test_require_clean_names_ten_files(repository):
    for number in range(12):
        repository.joinpath(f"{number:02}.py").touch()

    with pytest.raises(BundleError) as caught:
        require_clean([repository])

    names = ", ".join(f"{number:02}.py" for number in range(10))
    assert caught.value.message == (
        f"REQUIRE_CLEAN is set, but {repository} has uncommitted changes: {names}, and 2 more."
    )
    assert caught.value.remedy == "Commit or stash them."


def test_require_clean_needs_a_vcs(tmp_path):
    with pytest.raises(BundleError) as caught:
        require_clean([tmp_path])

    assert caught.value.message == (
        f"REQUIRE_CLEAN is set, but neither git nor Mercurial knows a revision of {tmp_path}."
    )


def test_require_clean_names_all_folders(repository, tmp_path):
    repository.joinpath("new.py").touch()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    with pytest.raises(BundleError) as caught:
        require_clean([repository, elsewhere])

    assert caught.value.message == (
        f"REQUIRE_CLEAN is set, but {repository} has uncommitted changes: new.py;"
        f" neither git nor Mercurial knows a revision of {elsewhere}."
    )
    assert caught.value.remedy == (
        "Commit or stash them. Commit all of it first, or set REQUIRE_CLEAN to False."
    )


@pytest.mark.parametrize("vcs", ["git", "hg"])
def test_commits_between_two_revisions(tmp_path, vcs):
    run(tmp_path, vcs, "init", "-q")

    def commit(text):
        tmp_path.joinpath("a.txt").write_text(text)
        run(tmp_path, vcs, "add", "a.txt")
        run(tmp_path, vcs, "commit", "-q", "-m", f"{text}\n\nAt length.")
        return find_revision(tmp_path)

    first, second, third = commit("One"), commit("Two"), commit("Three")

    def described(*revisions):
        return tuple(
            f"{run(tmp_path, 'git', 'rev-parse', '--short', r.id) if vcs == 'git' else r.id[:12]} {text}"
            for r, text in revisions
        )

    assert find_commits(tmp_path, first.id, third) == Commits(
        described((third, "Three"), (second, "Two")), lost=0
    )
    assert find_commits(tmp_path, third.id, first) == Commits((), lost=2)
    assert find_commits(tmp_path, third.id, third) == Commits((), lost=0)


@pytest.mark.parametrize("before", ["f" * 40, "--output=x", "main", "", "first:last"])
def test_commits_since_a_revision_that_is_not_known_here(repository, before):
    assert find_commits(repository, before, find_revision(repository)) is None
