from pathlib import Path

import pytest
from django.db import connections
from django.test import override_settings

from django_deploy.site.files import misplaced_databases, misplaced_media, missing_folders


@pytest.fixture
def release(tmp_path, monkeypatch):
    folder = tmp_path / "releases/20261122T174500Z-3f9c2a1"
    folder.mkdir(parents=True)
    monkeypatch.setenv("DJANGO_DEPLOY_RELEASE_DIR", str(folder))
    return folder


@pytest.fixture
def database(monkeypatch):
    """Says what the default database is called."""

    def name(value):
        monkeypatch.setitem(connections["default"].settings_dict, "NAME", value)

    return name


def test_database_that_would_be_inside_of_the_release(release, database):
    database(release / "venv/lib/db.sqlite3")

    assert misplaced_databases() == [
        f"The database 'default' would be {release}/venv/lib/db.sqlite3, inside of the release: the next "
        "release would begin with an empty one. Keep it in the folder that the environment variable "
        "DJANGO_DEPLOY_SHARED names."
    ]


def test_relative_path_counts_from_where_the_site_starts(release, database, monkeypatch):
    database("site.db")
    monkeypatch.chdir(release)

    [problem] = misplaced_databases()

    assert f"would be {release}/site.db, inside" in problem


def test_database_that_came_with_the_release_is_meant_to(release, database):
    (release / "places.sqlite3").touch()
    database(str(release / "places.sqlite3"))

    assert misplaced_databases() == []


@pytest.mark.parametrize("name", [":memory:", "file:memorydb_default?mode=memory&cache=shared"])
def test_database_without_a_file(release, database, name, monkeypatch):
    monkeypatch.chdir(release)
    database(name)

    assert misplaced_databases() == []


def test_database_in_the_shared_folder(release, database):
    database(release.parents[1] / "shared/db.sqlite3")

    assert misplaced_databases() == []


def test_release_that_is_reached_by_a_link(release, database, monkeypatch):
    current = release.parents[1] / "current"
    current.symlink_to(release)
    monkeypatch.setenv("DJANGO_DEPLOY_RELEASE_DIR", str(current))
    database(release / "db.sqlite3")

    assert len(misplaced_databases()) == 1


def test_nothing_is_misplaced_in_development(database):
    database(Path(__file__).parent / "db.sqlite3")

    with override_settings(MEDIA_ROOT=Path(__file__).parent):
        assert misplaced_databases() == misplaced_media() == []


def test_media_inside_of_the_release(release):
    with override_settings(MEDIA_ROOT=release / "media"):
        problems = misplaced_media()

    assert problems == [
        f"MEDIA_ROOT is {release}/media, inside of the release: the next one would not have its files. "
        "Keep it in the folder that the environment variable DJANGO_DEPLOY_SHARED names."
    ]


def test_media_elsewhere(release):
    for root in ("", release.parents[1] / "shared/media"):
        with override_settings(MEDIA_ROOT=root):
            assert misplaced_media() == []


def test_folders_beside_manage_py_are_not_in_the_release(release):
    here = release / "venv/lib/site-packages"
    (here / "shop/templates").mkdir(parents=True)
    engine = {"BACKEND": "django.template.backends.django.DjangoTemplates"}
    templates = [{**engine, "DIRS": [here / "shop/templates", str(here / "templates")]}, engine]

    with override_settings(
        TEMPLATES=templates, LOCALE_PATHS=[here / "locale"], FIXTURE_DIRS=["/srv/fixtures"]
    ):
        problems = missing_folders()

    reason = "which is not in the release: of the project, only its packages are."
    assert problems == [
        f"TEMPLATES names {here}/templates, {reason}",
        f"LOCALE_PATHS names {here}/locale, {reason}",
    ]


def test_no_folder_is_missing_in_development(tmp_path):
    with override_settings(LOCALE_PATHS=[tmp_path / "locale"]):
        assert missing_folders() == []
