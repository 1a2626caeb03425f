"""How programs of a release are started: where, and with what on the path."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest

from django_deploy.host import launch

MANAGE = "import sys\nimport launch\nlaunch.enter()\nimport launch\nprint(launch.__file__, sys.prefix)\n"

WHERE = "import os, sys; print(os.getcwd(), os.environ['DJANGO_SETTINGS_MODULE'], sys.prefix)"


@pytest.fixture
def release(tmp_path):
    """A release with a site that has a module called launch, and a process that says where it runs."""
    folder = tmp_path / "site" / "releases" / "20261122T174500Z-3f9c2a1"
    folder.mkdir(parents=True)
    shutil.copy(launch.__file__, folder / "launch.py")
    (folder / "manage.py").write_text(MANAGE)
    process = {"name": "web", "command": ["python", "-c", WHERE]}
    record = {"settings_module": "shop.settings", "processes": [process]}
    (folder / "release.json").write_text(json.dumps(record))
    (folder / "environment.json").write_text("{}")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    (site_packages,) = folder.glob("venv/lib/python*/site-packages")
    (site_packages / "launch.py").touch()
    return folder


def run(*argv):
    done = subprocess.run(argv, capture_output=True, text=True, cwd="/", check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_manage_py_leaves_the_path_to_the_site(release):
    current = release.parents[1] / "current"
    current.symlink_to(release)
    site_packages = next(release.glob("venv/lib/python*/site-packages"))
    expected = [str(site_packages / "launch.py"), str(release / "venv")]

    for python in (sys.executable, release / "venv" / "bin" / "python"):
        assert run(python, release / "manage.py") == expected
        assert run(python, current / "manage.py") == expected


def test_process_runs_in_the_folder_of_the_release(release):
    python = release / "venv" / "bin" / "python"

    assert run(python, release / "launch.py", "web") == [
        str(release),
        "shop.settings",
        str(release / "venv"),
    ]


def test_process_of_a_plain_project_runs_in_its_folder(release):
    app = release / "venv" / "app"
    app.mkdir()
    (app / "manage.py").touch()

    assert run(sys.executable, release / "launch.py", "web")[0] == str(app)


def test_other_data_in_the_virtualenv_is_no_project(release):
    (release / "venv" / "app").mkdir()

    assert launch.working_folder(str(release)) == str(release)


@pytest.mark.parametrize(
    ("known", "name"),
    [
        ({}, "site@0+20261122T174500Z-3f9c2a1"),
        ({"project": "shop", "version": "1.4"}, "shop@1.4+20261122T174500Z-3f9c2a1"),
        ({"project": "shop", "version": "1.4+abc"}, "shop@1.4+abc.20261122T174500Z-3f9c2a1"),
    ],
)
def test_release_as_sentry_names_it(release, known, name):
    record = {"settings_module": "shop.settings", **known}
    (release / "release.json").write_text(json.dumps(record))
    (release / "manage.py").write_text(
        "import launch\nlaunch.enter()\nimport os\nprint(os.environ['SENTRY_RELEASE'])\n"
    )

    assert run(sys.executable, release / "manage.py") == [name]

    (release / "environment.json").write_text('{"SENTRY_RELEASE": "mine"}')

    assert run(sys.executable, release / "manage.py") == ["mine"]
