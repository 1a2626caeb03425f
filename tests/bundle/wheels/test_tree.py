"""Which files of a source tree a build sees, and when they count as changed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from django_deploy.bundle.wheels.tree import Tree


@pytest.fixture
def folder(tmp_path):
    """A source tree with all that must not get into a build."""
    root = tmp_path / "project"
    for name in (
        *(
            "pyproject.toml",
            "src/acme/__init__.py",
            "src/acme/build/tool.py",
            "src/acme/data.sqlite3",
            "static/a.css",
        ),
        *(
            "build/lib/acme/gone.py",
            "dist/acme-1.0.whl",
            "acme.egg-info/PKG-INFO",
            "src/acme.egg-info/PKG-INFO",
        ),
        *(
            "src/acme/__pycache__/a.pyc",
            "a.pyc",
            ".git/config",
            ".hg/store",
            "frontend/node_modules/x/index.js",
        ),
        *(
            "env/pyvenv.cfg",
            "env/lib/x.py",
            ".venv/x.py",
            ".tox/x.py",
            "db.sqlite3",
            "db.sqlite3-journal",
            "run.log",
        ),
    ):
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    return root


def names(tree: Tree) -> set[str]:
    return {str(file.relative_to(tree.folder)) for file in tree.files()}


def test_files_that_count(folder):
    assert names(Tree(folder)) == {
        "pyproject.toml",
        "src/acme/__init__.py",
        "src/acme/build/tool.py",
        "src/acme/data.sqlite3",
        "static/a.css",
    }


def test_ignored_folders(folder):
    tree = Tree(folder, ignore=frozenset({folder.resolve() / "static"}))

    assert "static/a.css" not in names(tree)


def test_ignored_folder_behind_a_link(folder, tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "photo.jpg").touch()
    (folder / "media").symlink_to(tmp_path / "disk")

    assert "media/photo.jpg" in names(Tree(folder))
    assert "media/photo.jpg" not in names(Tree(folder, ignore=frozenset({tmp_path / "disk"})))


def test_copy_is_what_counts(folder, tmp_path):
    folder.joinpath("src/acme/__init__.py").chmod(0o755)

    copy = Tree(folder).copy(tmp_path / "copy", "acme-1.0")

    assert copy == tmp_path / "copy" / "acme-1.0"
    assert names(Tree(copy)) == names(Tree(folder))
    assert os.access(copy / "src/acme/__init__.py", os.X_OK)


def test_links_are_followed_but_not_for_ever(folder, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    outside.joinpath("b.py").write_text("b")
    folder.joinpath("linked").symlink_to(outside)
    folder.joinpath("static", "self").symlink_to(folder)
    folder.joinpath("static", "broken").symlink_to("/does/not/exist")

    tree = Tree(folder)

    assert "linked/b.py" in names(tree)
    assert not any(name.startswith("static/self") for name in names(tree))
    assert tree.copy(tmp_path / "copy", "x").joinpath("linked", "b.py").read_text() == "b"


def test_digest_knows_content_name_and_executable_bit(folder):
    module = folder / "src/acme/__init__.py"
    digests = [Tree(folder).digest()]
    module.write_text("new")
    digests.append(Tree(folder).digest())
    module.chmod(0o755)
    digests.append(Tree(folder).digest())
    module.rename(module.with_name("other.py"))
    digests.append(Tree(folder).digest())

    assert len(set(digests)) == 4


def test_digest_ignores_times_and_results_of_builds(folder):
    before = Tree(folder).digest()

    os.utime(folder / "pyproject.toml", (0, 0))
    folder.joinpath("build", "new.py").write_text("new")
    folder.joinpath("db.sqlite3").write_text("new")

    assert Tree(folder).digest() == before


@pytest.fixture
def monorepo(tmp_path):
    """A project whose configuration names files outside of it."""
    project = tmp_path / "repo" / "sites" / "shop"
    project.mkdir(parents=True)
    project.joinpath("pyproject.toml").write_text(
        'readme = "../../README.md"\nforce-include = { "../assets" = "x" }\nnot-there = "../gone.txt"\n'
    )
    tmp_path.joinpath("repo", "README.md").write_text("read me")
    assets = tmp_path / "repo" / "sites" / "assets"
    assets.mkdir()
    assets.joinpath("a.css").write_text("a")
    return project


def test_places_outside_are_copied_where_they_are_named(monorepo, tmp_path):
    tree = Tree(monorepo)

    copy = tree.copy(tmp_path / "copy", "shop-1.0")

    assert tree.outside() == ("../../README.md", "../assets")
    assert copy.joinpath("../../README.md").resolve().read_text() == "read me"
    assert copy.joinpath("../assets/a.css").resolve().read_text() == "a"
    assert Path(tmp_path, "copy") in copy.resolve().parents


def test_digest_knows_places_outside(monorepo):
    before = Tree(monorepo).digest()

    monorepo.joinpath("../assets/a.css").write_text("b")

    assert Tree(monorepo).digest() != before
