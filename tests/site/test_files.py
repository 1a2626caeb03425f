import sys
from pathlib import Path

import pytest
from django.db import connections
from django.test import override_settings

from django_deploy.site import files
from django_deploy.site.files import (
    describe_misplaced,
    misplaced_files,
    missing_folders,
)


@pytest.fixture
def release(tmp_path, monkeypatch):
    folder = tmp_path / "releases/20261122T174500Z-3f9c2a1"
    folder.mkdir(parents=True)
    monkeypatch.setenv("DJANGO_DEPLOY_RELEASE_DIR", str(folder))
    monkeypatch.setenv("DJANGO_DEPLOY_SHARED", "/srv/site/shared")
    return folder


@pytest.fixture
def database(monkeypatch):
    """Says what the default database is called."""

    def name(value):
        monkeypatch.setitem(connections["default"].settings_dict, "NAME", value)

    return name


def misplaced(**changes):
    with override_settings(**changes):
        return [str(item) for item in misplaced_files()]


def described(**changes):
    with override_settings(SETTINGS_MODULE="tests.settings", **changes):
        return describe_misplaced(misplaced_files())


def test_database_that_would_be_inside_of_the_release(release, database):
    database(release / "venv/app/db.sqlite3")

    assert described() == [
        f'DATABASES["default"]["NAME"] is {release}/venv/app/db.sqlite3, inside of the release: the next '
        "release would begin with an empty one.",
        "  At the end of tests.settings:",
        '    DATABASES["default"]["NAME"] = os.environ.get("DATABASE_DEFAULT", DATABASES["default"]["NAME"])',
        "  In the target's ENV:",
        '    "DATABASE_DEFAULT": "/srv/site/shared/db.sqlite3",',
    ]


def test_the_lines_mend_it(release, database):
    """As they are printed, at the end of a settings module."""
    module = {"__name__": "settings", "os": __import__("os"), "DATABASES": {"default": {"NAME": "here"}}}
    database(release / "db.sqlite3")
    lines = described()

    exec(lines[2].strip(), module)
    assert module["DATABASES"]["default"]["NAME"] == "here"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(*next(iter(eval(f"{{{lines[4]}}}").items())))
        exec(lines[2].strip(), module)
    assert module["DATABASES"]["default"]["NAME"] == "/srv/site/shared/db.sqlite3"


def test_settings_without_os_are_told_to_import_it(release, database, monkeypatch):
    database(release / "db.sqlite3")
    monkeypatch.delattr(sys.modules["tests.settings"], "os")

    assert described()[1:3] == ["  At the end of tests.settings:", "    import os"]


def test_relative_path_counts_from_where_the_site_starts(release, database, monkeypatch):
    database("site.db")
    monkeypatch.chdir(release)

    [problem] = misplaced()

    assert f"is {release}/site.db, inside" in problem


def test_database_that_came_with_the_release_is_meant_to(release, database, monkeypatch):
    site = release / "venv/lib/python3/site-packages"
    (site / "geo-1.0.dist-info").mkdir(parents=True)
    (site / "geo-1.0.dist-info/METADATA").write_text("Name: geo\nVersion: 1.0\n")
    (site / "geo-1.0.dist-info/RECORD").write_text("geo/places.sqlite3,,\n../../../app/map.sqlite3,,\n")
    monkeypatch.syspath_prepend(site)
    for file in (site / "geo/places.sqlite3", release / "venv/app/map.sqlite3"):
        file.parent.mkdir()
        file.touch()
        database(str(file))
        assert misplaced() == []
        file.unlink()
        assert len(misplaced()) == 1


def test_database_that_merely_starting_the_site_has_made(release, database):
    (release / "db.sqlite3").touch()
    database(str(release / "db.sqlite3"))

    assert len(misplaced()) == 1


@pytest.mark.parametrize(
    "name",
    [
        ":memory:",
        "file:memorydb_default?mode=memory&cache=shared",
        "file:data.db?mode=ro",
        "file:a?immutable=1",
    ],
)
def test_database_that_is_not_written(release, database, name, monkeypatch):
    monkeypatch.chdir(release)
    database(name)

    assert misplaced() == []


def test_database_that_an_address_names(release, database):
    database(f"file:{release}/a%20b.db?timeout=3")

    assert misplaced()[0].startswith(f'DATABASES["default"]["NAME"] is {release}/a b.db, inside')


def test_database_in_the_shared_folder(release, database):
    database(release.parents[1] / "shared/db.sqlite3")

    assert misplaced() == []


def test_release_that_is_reached_by_a_link(release, database, monkeypatch):
    current = release.parents[1] / "current"
    current.symlink_to(release)
    monkeypatch.setenv("DJANGO_DEPLOY_RELEASE_DIR", str(current))
    database(release / "db.sqlite3")

    assert len(misplaced()) == 1


def test_nothing_is_misplaced_in_development(database):
    here = Path(__file__).parent
    database(here / "db.sqlite3")

    assert misplaced(MEDIA_ROOT=here, STATIC_ROOT=here) == []
    assert described() == []


def test_media_inside_of_the_release(release):
    assert described(MEDIA_ROOT=str(release / "venv/app/media")) == [
        f"MEDIA_ROOT is {release}/venv/app/media, inside of the release: the next one would not have "
        "its files.",
        "  At the end of tests.settings:",
        '    MEDIA_ROOT = os.environ.get("MEDIA_ROOT", MEDIA_ROOT)',
        "  In the target's ENV:",
        '    "MEDIA_ROOT": "/srv/site/shared/media",',
    ]


def test_media_elsewhere(release):
    for root in ("", release.parents[1] / "shared/media"):
        assert misplaced(MEDIA_ROOT=root) == []


def test_storages_inside_of_the_release(release):
    local = {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": release / "files"},
    }
    storages = {"default": local, "staticfiles": local, "s3": {"BACKEND": "storages.S3"}}

    assert described(STORAGES=storages)[::2] == [
        f'STORAGES["default"]["OPTIONS"]["location"] is {release}/files, inside of the release: the next one '
        "would not have its files.",
        '    STORAGES["default"]["OPTIONS"]["location"] = os.environ.get('
        '"STORAGE_DEFAULT", STORAGES["default"]["OPTIONS"]["location"])',
        '    "STORAGE_DEFAULT": "/srv/site/shared/files",',
    ]


def test_static_files_among_the_code(release, monkeypatch):
    monkeypatch.setattr(files.sys, "prefix", str(release / "venv"))

    assert described(STATIC_ROOT=str(release / "venv/app/staticfiles")) == [
        f"STATIC_ROOT is {release}/venv/app/staticfiles, inside of the release: among its code. "
        "There is a better place in it:",
        "  At the end of tests.settings:",
        '    if "DJANGO_DEPLOY_RELEASE_DIR" in os.environ:',
        '        STATIC_ROOT = os.path.join(os.environ["DJANGO_DEPLOY_RELEASE_DIR"], "static")',
    ]


def test_static_files_of_the_release(release, monkeypatch):
    monkeypatch.setattr(files.sys, "prefix", str(release / "venv"))

    assert misplaced(STATIC_ROOT=release / "static") == []


def test_logs_inside_of_the_release(release):
    handlers = {
        "file": {"class": "logging.FileHandler", "filename": release / "debug.log"},
        "by-mail": {"class": "django.utils.log.AdminEmailHandler"},
        "far": {"class": "logging.FileHandler", "filename": "/var/log/site.log"},
    }

    found = described(LOGGING={"version": 1, "handlers": handlers})

    assert found[::2] == [
        f'LOGGING["handlers"]["file"]["filename"] is {release}/debug.log, inside of the release: it would '
        "end with the release.",
        '    LOGGING["handlers"]["file"]["filename"] = os.environ.get('
        '"LOG_FILE", LOGGING["handlers"]["file"]["filename"])',
        '    "LOG_FILE": "/srv/site/shared/debug.log",',
    ]
    assert misplaced(LOGGING={"handlers": handlers}, LOGGING_CONFIG=None) == []


def test_caches_inside_of_the_release(release):
    caches = {
        "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": str(release)},
        "pages": {
            "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
            "LOCATION": release / "c",
        },
        "lost": {"BACKEND": "no.such.Cache", "LOCATION": str(release)},
    }

    assert described(CACHES=caches)[::2] == [
        f'CACHES["pages"]["LOCATION"] is {release}/c, inside of the release: the next one would begin with '
        "an empty one.",
        '    CACHES["pages"]["LOCATION"] = os.environ.get("CACHE_PAGES", CACHES["pages"]["LOCATION"])',
        '    "CACHE_PAGES": "/srv/site/shared/c",',
    ]


def test_sessions_inside_of_the_release(release):
    engine = "django.contrib.sessions.backends.file"

    assert described(SESSION_ENGINE=engine, SESSION_FILE_PATH=str(release / "s"))[::2] == [
        f"SESSION_FILE_PATH is {release}/s, inside of the release: with the next one everybody would be "
        "logged out.",
        '    SESSION_FILE_PATH = os.environ.get("SESSION_FILE_PATH", SESSION_FILE_PATH)',
        '    "SESSION_FILE_PATH": "/srv/site/shared",',
    ]
    assert misplaced(SESSION_ENGINE=engine) == []
    assert misplaced(SESSION_FILE_PATH=str(release / "s")) == []


def test_mails_inside_of_the_release(release):
    backend = "django.core.mail.backends.filebased.EmailBackend"

    assert described(EMAIL_BACKEND=backend, EMAIL_FILE_PATH=str(release / "outbox"))[::2] == [
        f"EMAIL_FILE_PATH is {release}/outbox, inside of the release: the mails would end with the release.",
        '    EMAIL_FILE_PATH = os.environ.get("EMAIL_FILE_PATH", EMAIL_FILE_PATH)',
        '    "EMAIL_FILE_PATH": "/srv/site/shared/outbox",',
    ]
    assert misplaced(EMAIL_BACKEND=backend) == []
    assert misplaced(EMAIL_FILE_PATH=str(release / "outbox")) == []


def test_files_of_one_name_stay_apart(release):
    places = {"a": "x/site.log", "b": "y/site.log", "c": "x/site.log"}
    handlers = {
        name: {"class": "logging.FileHandler", "filename": release / file} for name, file in places.items()
    }

    found = described(LOGGING={"version": 1, "handlers": handlers})

    assert found[-3:] == [
        '    "LOG_A": "/srv/site/shared/site.log",',
        '    "LOG_B": "/srv/site/shared/log_b-site.log",',
        '    "LOG_C": "/srv/site/shared/site.log",',
    ]


def test_all_that_is_misplaced_is_told_with_one_text_to_copy(release, database):
    database(release / "db.sqlite3")

    found = described(MEDIA_ROOT=release / "media")

    assert [line.partition(" is ")[0] for line in found[:2]] == ['DATABASES["default"]["NAME"]', "MEDIA_ROOT"]
    assert found[2:] == [
        "  At the end of tests.settings:",
        '    DATABASES["default"]["NAME"] = os.environ.get("DATABASE_DEFAULT", DATABASES["default"]["NAME"])',
        '    MEDIA_ROOT = os.environ.get("MEDIA_ROOT", MEDIA_ROOT)',
        "  In the target's ENV:",
        '    "DATABASE_DEFAULT": "/srv/site/shared/db.sqlite3",',
        '    "MEDIA_ROOT": "/srv/site/shared/media",',
    ]


def folders_of(release):
    here = release / "venv/lib/site-packages"
    (here / "shop/templates").mkdir(parents=True)
    engine = {"BACKEND": "django.template.backends.django.DjangoTemplates"}
    templates = [{**engine, "DIRS": [here / "shop/templates", str(here / "templates")]}, engine]
    return here, {
        "TEMPLATES": templates,
        "LOCALE_PATHS": [here / "locale"],
        "FIXTURE_DIRS": ["/srv/fixtures"],
    }


def test_folders_beside_manage_py_are_not_in_the_release(release):
    here, settings = folders_of(release)

    with override_settings(**settings):
        problems = missing_folders()

    reason = "which is not in the release: of the project, only its packages are."
    assert problems == [
        f"TEMPLATES names {here}/templates, {reason}",
        f"LOCALE_PATHS names {here}/locale, {reason}",
    ]


def test_folders_that_a_plain_project_has_left_out(release, monkeypatch):
    _, settings = folders_of(release)
    (release / "venv/app").mkdir()
    (release / "venv/app/manage.py").touch()
    monkeypatch.setattr(files.sys, "prefix", str(release / "venv"))

    with override_settings(**settings):
        problems = missing_folders()

    assert len(problems) == 2
    assert problems[0].endswith(
        "is not in the release: where you deploy from it is missing or empty, left out "
        "(PROJECT_EXCLUDE), or too far from manage.py."
    )


def test_no_folder_is_missing_in_development(tmp_path):
    with override_settings(LOCALE_PATHS=[tmp_path / "locale"]):
        assert missing_folders() == []


def test_static_root_that_is_not_set():
    with override_settings(STATIC_ROOT=None, SETTINGS_MODULE="tests.settings"):
        (found,) = misplaced_files(["collectstatic", "migrate"])
        assert describe_misplaced([found]) == [
            "STATIC_ROOT is not set: collectstatic, one of the STEPS, has no place for its files.",
            "  At the end of tests.settings:",
            '    if "DJANGO_DEPLOY_RELEASE_DIR" in os.environ:',
            '        STATIC_ROOT = os.path.join(os.environ["DJANGO_DEPLOY_RELEASE_DIR"], "static")',
        ]
        assert misplaced_files(["migrate"]) == []


@pytest.mark.parametrize(
    "settings",
    [
        {"STATIC_ROOT": "/srv/static"},
        {"INSTALLED_APPS": ["django_deploy"]},
        {"STORAGES": {"staticfiles": {"BACKEND": "django.core.files.storage.InMemoryStorage"}}},
    ],
)
def test_collectstatic_may_not_need_a_static_root(settings):
    with override_settings(**{"STATIC_ROOT": None, **settings}):
        assert misplaced_files(["collectstatic"]) == []
