"""What this process's settings and static files look like to another release."""

from __future__ import annotations

import json

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


def told(**settings):
    with override_settings(**settings):
        return settings_of_site()


def test_values_are_told_as_python_writes_them():
    found = told(X=60, Y=["b", "a"], Z={"one": {"two": None}, "three": ()}, EMPTY={})

    assert found["X"] == "60"
    assert found["Y"] == ["'b'", "'a'"]
    assert (found["Z.one.two"], found["Z.three"]) == ("None", [])
    assert found["EMPTY"] == "{}"


def test_what_is_told_is_the_same_each_time(release):
    found = told(PATH=f"{release}/static", ID=release.name, SOME={"b", "a"}, THING=object())

    assert found["PATH"] == "'RELEASE/static'"
    assert found["ID"] == "'RELEASE'"
    assert found["SOME"] == "['a', 'b']"
    assert found["THING"] == "<object object>"


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
def test_what_may_be_secret_is_hidden(settings):
    [name] = settings

    found = told(**settings)[name]

    assert list(found) == ["hidden"]
    assert len(found["hidden"]) == 64
    assert told(**{name: "something else, API"})[name] != found


def test_a_password_in_a_dict_is_hidden():
    found = told(SERVERS={"default": {"HOST": "db1", "PASSWORD": "x"}})

    assert found["SERVERS.default.HOST"] == "'db1'"
    assert list(found["SERVERS.default.PASSWORD"]) == ["hidden"]


def test_the_environments_of_all_targets_are_hidden():
    found = told(
        DEPLOY_TARGETS={"here": {"ROOT": "/srv/shop"}, "prod": {"ENV": {"SMTP": "mailuser:mailpw77"}}}
    )

    assert found["DEPLOY_TARGETS.here.ROOT"] == "'/srv/shop'"
    assert list(found["DEPLOY_TARGETS.prod.ENV.SMTP"]) == ["hidden"]


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
