"""Modules that run here and that no distribution owns are told of."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from django_deploy.bundle.environment import Distribution, discover
from django_deploy.bundle.running import find_unowned_modules
from django_deploy.exceptions import BundleError

WARNING = (
    "Modules run here from {} that no distribution owns, so no host gets them: {}. "
    "Install them, or take them off the path."
)


@pytest.fixture
def imported(tmp_path: Path):
    """Makes modules as an import of these files, below ``tmp_path``, would leave them."""

    def make(**files: str) -> dict[str, ModuleType]:
        modules = {}
        for name, file in files.items():
            module = modules[name.replace("__", ".")] = ModuleType(name)
            module.__file__ = str(tmp_path / file)
        return modules

    return make


def install(folder: Path, name: str, **metadata: str) -> None:
    place = folder / f"{name}-1.0.dist-info"
    place.mkdir(parents=True)
    place.joinpath("METADATA").write_text(f"Name: {name}\nVersion: 1.0\n")
    for file, text in metadata.items():
        place.joinpath(file.replace("_txt", ".txt")).write_text(text)


def test_modules_from_a_folder_on_the_path(imported, tmp_path):
    modules = imported(shop="lib/shop/__init__.py", shop__models="lib/shop/models.py", tools="lib/tools.py")

    assert list(find_unowned_modules(modules, [], [])) == [WARNING.format(tmp_path / "lib", "shop, tools")]


def test_modules_that_hide_what_is_installed_are_refused(imported, tmp_path):
    site = tmp_path / "site-packages"
    install(site, "sqlparse", RECORD="sqlparse/__init__.py,,\nsqlparse-1.0.dist-info/RECORD,,\n")
    modules = imported(sqlparse="patched/sqlparse/__init__.py", tools="patched/tools.py")

    with pytest.raises(BundleError) as caught:
        list(find_unowned_modules(modules, discover([site]).distributions, [site]))

    assert str(caught.value) == (
        f"What runs here from {tmp_path}/patched hides what is installed, and hosts get that:"
        " sqlparse (of sqlparse).\n"
        "Take the folder off PYTHONPATH, or install what is in it with pip install -e."
    )


def test_parts_of_a_namespace(imported, tmp_path):
    modules = {"acme": ModuleType("acme")} | imported(
        acme__x="lib/acme/x.py", acme__y="more/acme/y/__init__.py"
    )

    assert list(find_unowned_modules(modules, [], [])) == [
        WARNING.format(tmp_path / "lib", "acme"),
        WARNING.format(tmp_path / "more", "acme"),
    ]


def test_many_modules_are_counted(imported, tmp_path):
    modules = imported(**{f"m{n}": f"lib/m{n}.py" for n in range(7)})

    (warning,) = find_unowned_modules(modules, [], [])

    assert warning == WARNING.format(tmp_path / "lib", "m0, m1, m2, m3, m4 and 2 more")


def test_sources_own_all_that_lies_in_them(imported, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    project = Distribution("site", "1.0", "editable", (), tmp_path, source=tmp_path / "link")
    modules = imported(one="real/src/one.py", two="link/two.py")

    assert list(find_unowned_modules(modules, [project], [])) == []


def test_module_that_was_dropped_into_site_packages(imported, tmp_path):
    packages = tmp_path / "site-packages"
    install(
        packages,
        "Acme",
        RECORD="acme/__init__.py,,\n_acme.cpython-311-x86_64-linux-gnu.so,,\n../../bin/x,,\n",
    )
    install(packages, "six", RECORD='"six.py",sha256=x,1\n')
    install(packages, "old", top_level_txt="older\n_old\n")
    modules = imported(
        acme="site-packages/acme/__init__.py",
        _acme="site-packages/_acme.cpython-311-x86_64-linux-gnu.so",
        six="site-packages/six.py",
        older="site-packages/older.py",
        dropped="site-packages/dropped.py",
        _virtualenv="site-packages/_virtualenv.py",
    )

    packages.joinpath("later.py").touch()  # something may import it one day
    packages.joinpath("left", "__pycache__").mkdir(parents=True)
    packages.joinpath("six.py").touch()
    packages.joinpath("notes.copy").touch()

    found = list(find_unowned_modules(modules, discover([packages]).distributions, [packages]))

    assert found == [WARNING.format(packages, "dropped, later").replace("run here from", "lie in")]


def test_nothing_is_said_where_a_distribution_lists_nothing(imported, tmp_path):
    packages = tmp_path / "dist-packages"
    install(packages, "apt")
    modules = imported(apt="dist-packages/apt_pkg.py", apt_pkg="dist-packages/apt_pkg.py")

    assert list(find_unowned_modules(modules, discover([packages]).distributions, [packages])) == []


def test_modules_that_only_pretend_to_have_a_file(imported):
    assert list(find_unowned_modules(imported(six__moves="lib/other.py"), [], [])) == []


def test_this_process():
    """Of its own modules it owns all but the tests, which are of nothing that is installed."""
    found = list(find_unowned_modules(sys.modules, discover().distributions))

    assert [line for line in found if "site-packages" in line] == []
