from __future__ import annotations

import pytest

from django_deploy.management.settings_source import constants, statements, values, variables


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Gives a function that writes the modules of a package; of a name that no other test has."""
    monkeypatch.syspath_prepend(tmp_path)
    folder = tmp_path / f"settings_of_{tmp_path.name}"
    folder.mkdir()
    (folder / "__init__.py").touch()

    def write(**files):
        for name, text in files.items():
            (folder / f"{name}.py").write_text(text)
        return folder.name

    return write


def read(module, folder):
    found = [*statements(module, folder)]
    return {*constants(values(found))}, {*variables(found)}


def test_what_is_imported_is_read_where_it_is_imported(package, tmp_path):
    name = package(
        base='import os\nfrom .common import *\nSECRET_KEY = "x"\nDEBUG = True\nurl = os.environ["URL"]\n',
        common="ALLOWED_HOSTS = []\nSECRET_KEY = make()\n",
        live="from .base import *\nDEBUG = False\n",
    )

    assert read(f"{name}.live", tmp_path) == ({"SECRET_KEY", "ALLOWED_HOSTS"}, {"URL"})


def test_the_package_itself_may_be_the_settings(package, tmp_path):
    name = package(__init__="from .base import *\n", base='SECRET_KEY = "x"\n')

    assert read(name, tmp_path) == ({"SECRET_KEY"}, set())


def test_what_is_not_of_the_project_is_not_read(package, tmp_path):
    name = package(
        base='SECRET_KEY = "x"\n',
        live="from .base import *\nfrom .no import *\nfrom .... import *\nfrom os import *\nDEBUG = True\n",
    )

    assert read(f"{name}.live", tmp_path) == ({"SECRET_KEY", "DEBUG"}, set())
    assert read(f"{name}.live", tmp_path / "elsewhere") == ({"DEBUG"}, set())


def test_files_that_import_each_other(package, tmp_path):
    name = package(
        one="from .two import *\nDEBUG = True\n",
        two='from .one import *\nfrom .two import *\nSECRET_KEY = "x"\n',
    )

    assert read(f"{name}.one", tmp_path) == ({"SECRET_KEY", "DEBUG"}, set())
