"""What patterns of PROJECT_INCLUDE and PROJECT_EXCLUDE name."""

from __future__ import annotations

import pytest

from django_deploy.bundle.plain.patterns import Patterns
from django_deploy.exceptions import ConfigError
from django_deploy.reading.keys import read_target

TARGET = {"HOSTS": ["web1"], "ROOT": "/srv/site"}


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("*.csv", "a.csv"),
        ("*.csv", "data/old/a.csv"),
        ("docs", "docs"),
        ("docs", "blog/docs"),
        ("docs/", "blog/docs/"),
        ("/docs", "docs"),
        ("docs/*.txt", "docs/a.txt"),
        ("frontend/**/node_modules", "frontend/a/b/node_modules"),
        ("frontend/**/node_modules", "frontend/node_modules"),
        ("**/old/*.csv", "old/a.csv"),
        ("data/**", "data/a/b.csv"),
        ("[ab]?.txt", "b1.txt"),
        (".*", ".hidden"),
        ("*", ".hidden"),
    ],
)
def test_match(pattern, path):
    assert Patterns([pattern]).match(path.rstrip("/"), is_folder=path.endswith("/"))


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("*.csv", "a.csv.gz"),
        ("docs/", "docs"),
        ("/docs", "blog/docs"),
        ("docs/*.txt", "blog/docs/a.txt"),
        ("docs/*.txt", "docs/old/a.txt"),
        ("DOCS", "docs"),
        ("data/**", "data2/a.csv"),
    ],
)
def test_no_match(pattern, path):
    assert not Patterns([pattern]).match(path.rstrip("/"), is_folder=path.endswith("/"))


def test_place():
    patterns = Patterns(["node_modules", "frontend/node_modules"])

    assert patterns.match_place("frontend/node_modules", is_folder=True)
    assert not patterns.match_place("node_modules", is_folder=True)


@pytest.mark.parametrize(
    ("pattern", "folder", "may"),
    [
        ("frontend/dist/*.js", "frontend", True),
        ("frontend/dist/*.js", "frontend/dist", True),
        ("frontend/dist/*.js", "frontend/src", False),
        ("frontend/dist", "frontend/dist", False),
        ("**/kept.txt", "anything/at/all", True),
        ("*.txt", "frontend", False),
    ],
)
def test_folders_to_look_into(pattern, folder, may):
    assert Patterns([pattern]).may_match_below(folder) is may


def test_no_patterns():
    patterns = Patterns()

    assert not patterns.match("a", is_folder=False)
    assert not patterns.may_match_below("a")


def test_patterns_of_the_settings():
    patterns = ["*.csv", "/data/**/a[bc]?.txt", "docs/", "...", ".hidden"]

    target = read_target(
        "staging", {**TARGET, "PROJECT_INCLUDE": patterns, "PROJECT_EXCLUDE": ["a"]}, settings_module="mysite"
    )

    assert (target.project_include, target.project_exclude) == (tuple(patterns), ("a",))


COUNT = "Patterns count from the folder of manage.py: write 'data/*.csv'."


@pytest.mark.parametrize(
    ("pattern", "id", "message"),
    [
        (5, "deploy.E004", "must be a pattern of files, not a number."),
        ("", "deploy.E009", "is not a pattern of files: ''."),
        ("/", "deploy.E009", "is not a pattern of files: '/'."),
        ("a\nb", "deploy.E009", "is not a pattern of files: 'a\\nb'."),
        ("!a", "deploy.E009", "must not begin with '!': '!a'. PROJECT_INCLUDE always wins."),
        ("../x", "deploy.E009", f"must be a path without '.', '..' and '//', not '../x'. {COUNT}"),
        ("./x", "deploy.E009", f"must be a path without '.', '..' and '//', not './x'. {COUNT}"),
        ("a//b", "deploy.E009", f"must be a path without '.', '..' and '//', not 'a//b'. {COUNT}"),
    ],
)
def test_what_is_no_pattern(pattern, id, message):
    with pytest.raises(ConfigError) as caught:
        read_target("staging", {**TARGET, "PROJECT_EXCLUDE": [pattern]}, settings_module="mysite")

    (issue,) = caught.value.issues
    assert issue.id == id
    assert str(issue) == f"DEPLOY_TARGETS['staging']['PROJECT_EXCLUDE'][0]: {message}"
