"""Which distribution is the project."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from django_deploy.bundle.environment import Distribution
from django_deploy.bundle.project import find_module, find_project
from django_deploy.exceptions import BundleError, ConfigError


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


def test_module_in_a_folder_without_init(importable):
    folder = importable / "shop_under_test" / "environments"
    folder.mkdir()
    (folder / "production.py").touch()

    assert find_module("shop_under_test.environments.production") == folder.resolve() / "production.py"
    assert find_module("shop_under_test.environments.staging") is None
    assert "shop_under_test" not in sys.modules


def test_missing_module(importable):
    assert find_module("shop_under_test.nothing") is None
    with pytest.raises(ConfigError) as caught:
        find_project("shop_under_test.nothing", ())

    assert caught.value.message == "The settings module shop_under_test.nothing cannot be found."


@pytest.mark.parametrize("settings", ["settings.py", "settings/__init__.py", "settings/dev.py"])
def test_project_that_is_no_distribution(tmp_path, monkeypatch, settings):
    for package in ("site_under_test", "blog", "accounts", "tests"):
        tmp_path.joinpath(package).mkdir()
        tmp_path.joinpath(package, "__init__.py").touch()
    file = tmp_path / "site_under_test" / settings
    file.parent.mkdir(exist_ok=True)
    file.touch()
    module = f"site_under_test.{settings.removesuffix('.py').removesuffix('/__init__').replace('/', '.')}"
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(BundleError) as caught:
        find_project(module, ())

    assert caught.value.message == (
        f"The settings module {module} ({file}) belongs to no installed distribution,"
        " and there is no manage.py next to it."
    )
    assert 'include = ["accounts*", "blog*", "site_under_test*"]\n' in caught.value.remedy


def plain(folder: Path, module: str = "site_under_test.settings", installed: tuple[str, ...] = ()):
    """What is found for a settings module in a folder with a ``manage.py``."""
    file = folder.joinpath(*module.split(".")).with_suffix(".py")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        return find_project(module, tuple(map(distribution, installed)))


def test_plain_project(tmp_path):
    (tmp_path / "manage.py").touch()

    project = plain(tmp_path)

    assert (project.kind, project.name, project.source) == ("plain", "site-under-test", tmp_path.resolve())
    assert project.paths == (".",)


def test_manage_py_above_the_folder_that_is_imported_from(tmp_path):
    (tmp_path / "manage.py").touch()

    project = plain(tmp_path / "src")

    assert (project.source, project.paths) == (tmp_path.resolve(), ("src",))


def test_innermost_manage_py(tmp_path):
    (tmp_path / "manage.py").touch()
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "manage.py").touch()

    assert plain(tmp_path / "sub").source == (tmp_path / "sub").resolve()


def test_settings_in_a_module_of_its_own(tmp_path):
    (tmp_path / "manage.py").touch()

    assert plain(tmp_path, "settings_under_test").name == "settings-under-test"


def test_folders_of_the_project_that_are_on_the_path(tmp_path, monkeypatch):
    for folder in ("apps", "libs/acme/src", "gone"):
        (tmp_path / folder).mkdir(parents=True)
        monkeypatch.syspath_prepend(tmp_path / folder)
    (tmp_path / "gone").rmdir()
    (tmp_path / "manage.py").touch()
    acme = distribution("acme", source=tmp_path / "libs" / "acme")
    (tmp_path / "site_under_test").mkdir()
    (tmp_path / "site_under_test" / "settings.py").touch()
    monkeypatch.syspath_prepend(tmp_path)

    assert find_project("site_under_test.settings", (acme,)).paths == (".", "apps")


@pytest.mark.parametrize(
    ("pyproject", "installed", "name"),
    [
        (None, (), "site-under-test"),
        ('name = "Acme_Shop"', (), "acme-shop"),
        ('name = "acme-shop"', ("acme-shop",), "acme-shop-site"),
        ('version = "1"', ("site-under-test",), "site-under-test-site"),
        ('name = "a"', ("a", "a-site", "site-under-test", "site-under-test-site"), "plain-site"),
    ],
)
def test_name_of_a_plain_project(tmp_path, pyproject, installed, name):
    (tmp_path / "manage.py").touch()
    if pyproject:
        (tmp_path / "pyproject.toml").write_text(f"[project]\n{pyproject}\n")

    assert plain(tmp_path, installed=installed).name == name


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
