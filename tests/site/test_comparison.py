"""What this process's settings and static files look like to another release."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path

import pytest
from django.test import override_settings

from django_deploy.site.comparison import settings_of_site, static_files


@pytest.fixture(autouse=True)
def release(tmp_path, monkeypatch):
    folder = tmp_path / "releases" / "20261129T030959Z-2df23c8"
    folder.mkdir(parents=True)
    (folder / "environment.json").write_text(json.dumps({"COLOUR": "a very secret green", "DEBUG": "1"}))
    monkeypatch.setenv("DJANGO_DEPLOY_RELEASE_DIR", str(folder))
    monkeypatch.setenv("DJANGO_DEPLOY_RELEASE", folder.name)
    return folder


@pytest.fixture
def code(tmp_path, monkeypatch):
    """Writes what stands in the settings' code."""
    module = types.ModuleType("shop_settings")
    module.__file__ = str(tmp_path / "shop_settings.py")
    monkeypatch.setitem(sys.modules, "shop_settings", module)
    return Path(module.__file__).write_text


def told(**settings):
    with override_settings(SETTINGS_MODULE="shop_settings", **settings):
        return settings_of_site()


def test_values_are_told_as_python_writes_them(code):
    code('X = 60; Y = ["b", "a"]')
    found = told(X=60, Y=["b", "a"], Z={"one": {"two": None}, "three": ()}, EMPTY={})

    assert found["X"] == "60"
    assert found["Y"] == ["'b'", "'a'"]
    assert (found["Z.one.two"], found["Z.three"]) == ("None", [])
    assert found["EMPTY"] == "{}"


def test_what_is_told_is_the_same_each_time(release):
    def found():
        return told(STATIC_ROOT=f"{release}/static", ID=release.name, CACHES={"b", "a"}, THING=object())

    assert found()["STATIC_ROOT"] == "'RELEASE/static'"
    assert found()["CACHES"] == "['a', 'b']"
    assert found()["THING"] == found()["THING"]
    assert list(found()["ID"]) == ["hidden"]


def test_of_other_settings_than_djangos_only_what_is_in_the_code_is_told(code):
    code('PIN, HEADER = os.environ["PIN"], "Basic " + token; COLOURS = ["green", ("blue", 7)]')

    found = told(PIN="4921", HEADER="Basic WGtc", COLOURS=["green", ("blue", 7)], ON=True, NOTHING="")

    assert [list(found[name]) for name in ("PIN", "HEADER")] == [["hidden"]] * 2
    assert (found["COLOURS"], found["ON"], found["NOTHING"]) == (["'green'", "('blue', 7)"], "True", "''")
    assert told(SESSION_COOKIE_AGE=4921)["SESSION_COOKIE_AGE"] == "4921"


@pytest.mark.parametrize("write", [str, str.encode, lambda word: [{"deep": word}], lambda word: f"a {word}"])
def test_a_value_of_the_environment_is_found_however_it_is_written(release, write):
    word = "Xk\\9q\"L'mZ2"
    (release / "environment.json").write_text(json.dumps({"WORD": word}))

    assert list(told(EMAIL_HOST=write(word))["EMAIL_HOST"]) == ["hidden"]


@pytest.mark.parametrize(
    "settings",
    [
        {"API_TOKEN": "x"},
        {"X": "paint it a very secret green"},
        {"X": ["a very secret green"]},
        {"X": "redis://user:password@cache/0"},
        {"X": "long " * 50},
        {"X_PASSWORDS": {"a": "b"}},
        {"X": [{"name": "acme", "password": "x"}]},
        {"X": (("acme", {"token": "x"}),)},
        {"X": [[{"deep": {"API_KEY": "x"}}]]},
        {"X": "secret green"},
        {"X": ["paint", "secret"]},
    ],
)
def test_what_may_be_secret_is_hidden(code, settings):
    [name] = settings
    code(repr(settings))

    found = told(**settings)[name]

    assert list(found) == ["hidden"]
    assert len(found["hidden"]) == 64
    assert told(**{name: "something else, API"})[name] != found


def test_a_password_in_a_dict_is_hidden(code):
    code('HOST = "db1"')
    found = told(SERVERS={"default": {"HOST": "db1", "PASSWORD": "x"}})

    assert found["SERVERS.default.HOST"] == "'db1'"
    assert list(found["SERVERS.default.PASSWORD"]) == ["hidden"]


def test_targets_change_nothing_of_a_site():
    found = told(
        DEPLOY_TARGETS={"here": {"ROOT": "/srv/shop"}, "prod": {"ENV": {"SMTP": "mailuser:mailpw77"}}}
    )

    assert not [path for path in found if path.startswith("DEPLOY_TARGETS")]


def test_without_static_files():
    with override_settings(INSTALLED_APPS=["django_deploy"]):
        assert static_files() is None


def test_static_files(tmp_path):
    folder = tmp_path / "static"
    (folder / "css").mkdir(parents=True)
    (folder / "css" / "site.css").write_text("p {}")
    finders = ["django.contrib.staticfiles.finders.FileSystemFinder"]
    with override_settings(
        INSTALLED_APPS=["django.contrib.staticfiles"],
        STATICFILES_FINDERS=finders,
        STATICFILES_DIRS=[("own", folder)],
    ):
        first = static_files()
        (folder / "css" / "site.css").write_text("p { color: green }")
        second = static_files()

    assert list(first) == list(second) == ["own/css/site.css"]
    assert first != second
