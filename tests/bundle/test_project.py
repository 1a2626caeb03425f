"""Which distribution is the project, and where it stands in git or Mercurial."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from django_deploy.bundle.environment import Distribution
from django_deploy.bundle.manifest import Revision
from django_deploy.bundle.project import (
    find_module,
    find_project,
    find_revision,
    find_working_copy,
    require_clean,
)
from django_deploy.exceptions import BundleError


def run(folder: Path, *command: str) -> str:
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def distribution(
    name: str, *, source: Path | None = None, info: Path = Path("/nowhere/x.dist-info")
) -> Distribution:
    return Distribution(name, "1.0", "editable" if source else "index", (), info, source=source)


@pytest.fixture
def importable(tmp_path, monkeypatch):
    """A folder on ``sys.path`` with a package that must not be imported by a look-up."""
    package = tmp_path / "code" / "shop_under_test"
    package.mkdir(parents=True)
    package.joinpath("__init__.py").write_text("raise RuntimeError('imported')")
    package.joinpath("settings.py").touch()
    monkeypatch.syspath_prepend(package.parent)
    return package.parent


def test_module_is_found_without_importing_it(importable):
    file = find_module("shop_under_test.settings")

    assert file == (importable / "shop_under_test" / "settings.py").resolve()
    assert "shop_under_test" not in sys.modules


def test_missing_module(importable):
    assert find_module("shop_under_test.nothing") is None
    with pytest.raises(BundleError) as caught:
        find_project("shop_under_test.nothing", ())

    assert caught.value.message == "The settings module shop_under_test.nothing cannot be found."


def test_innermost_source_folder_wins(importable):
    outer = distribution("outer", source=importable.parent)
    inner = distribution("inner", source=importable)
    other = distribution("other", source=importable.parent / "cod")

    assert find_project("shop_under_test.settings", (outer, inner, other)) is inner


def test_recorded_owner_wins_over_a_source_folder_around_it(importable):
    info = importable / "shop-1.0.dist-info"
    info.mkdir()
    info.joinpath("RECORD").write_text(
        "shop_under_test/__init__.py,,\nshop_under_test/settings.py,sha256=x,0\n"
    )
    around = distribution("around", source=importable.parent)
    owner = distribution("shop", info=info)

    assert find_project("shop_under_test.settings", (around, owner)) is owner


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


def test_require_clean_names_ten_files(repository):
    for number in range(12):
        repository.joinpath(f"{number:02}.py").touch()

    with pytest.raises(BundleError) as caught:
        require_clean(repository)

    names = ", ".join(f"{number:02}.py" for number in range(10))
    assert caught.value.message == (
        f"REQUIRE_CLEAN is set, but {repository} has uncommitted changes: {names}, and 2 more."
    )
    assert caught.value.remedy == "Commit or stash them."


def test_require_clean_needs_a_vcs(tmp_path):
    with pytest.raises(BundleError) as caught:
        require_clean(tmp_path)

    assert caught.value.message == (
        f"REQUIRE_CLEAN is set, but neither git nor Mercurial knows a revision of {tmp_path}."
    )
