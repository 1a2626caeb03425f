"""Which distribution is the project."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from django_deploy.bundle.environment import Distribution
from django_deploy.bundle.project import find_module, find_project
from django_deploy.exceptions import BundleError


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
    with pytest.raises(BundleError) as caught:
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
        f"The settings module {module} ({file}) belongs to no installed distribution."
    )
    assert 'include = ["accounts*", "blog*", "site_under_test*"]\n' in caught.value.remedy


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
