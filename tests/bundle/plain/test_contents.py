"""Which files of a plain project are deployed."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from django_deploy.bundle.file.archive import write_bundle
from django_deploy.bundle.manifest import Manifest, Wheel
from django_deploy.bundle.plain import contents
from django_deploy.bundle.plain.contents import Rules, find_idle_patterns, read_contents
from django_deploy.bundle.plain.patterns import Patterns
from django_deploy.exceptions import BundleError
from tests.bundle.archives import make_wheel

KEY = "-----BEGIN PRIVATE KEY-----\n"
DATABASE = b"SQLite format 3\0rest"

#: As in a repository of somebody who does not know of this tool.
DEPLOYED = (
    *(".env.example", ".gitignore", "README.md", "requirements.txt", "manage.py"),
    *("mysite/__init__.py", "mysite/settings.py", "blog/__init__.py", "blog/migrations/0001_initial.py"),
    *("blog/locale/de/LC_MESSAGES/django.mo", "blog/build/tool.py", "data/cities.csv", "tests/test_blog.py"),
    *("templates/base.html", "static/css/site.css", "frontend/dist/app.js", "frontend/package.json"),
    *("certs/ca.pem", "notes.key.md"),
)

LEFT_OUT = (
    *(".env", ".env.local", "conf/prod.env", "db.sqlite3", "db.sqlite3-wal", "data/old.sqlite3", "debug.log"),
    *("build/lib/mysite/old.py", "dist/mysite-1.0.whl", "mysite.egg-info/PKG-INFO", "htmlcov/index.html"),
    *("frontend/node_modules/x/index.js", ".venv/lib/x.py", "env/pyvenv.cfg", "env/lib/y.py"),
    *("certs/server.key", "id_rsa", "celerybeat-schedule.db", "run/site.pid", "conda/conda-meta/history"),
    *(".envs/.production/.django", ".ssh/config", "frontend/.npmrc"),
)

UNMENTIONED = (
    *(".git/config", ".hg/store", "mysite/__pycache__/settings.cpython-311.pyc", "blog/old.pyc"),
    *(".pytest_cache/x", ".mypy_cache/x", ".ruff_cache/x", ".idea/x", ".DS_Store", "blog/views.py~"),
    *(".tox/x", ".coverage", ".sass-cache/x"),
)


def write(folder: Path, *names: str) -> Path:
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    return folder


@pytest.fixture
def project(tmp_path) -> Path:
    return write(tmp_path / "work" / "project", *DEPLOYED, *LEFT_OUT, *UNMENTIONED)


def names(folder: Path, **rules) -> set[str]:
    found = read_contents(folder, Rules(**rules))
    return {file.name for file in found.files}


def patterns(*texts: str) -> Patterns:
    return Patterns(texts)


def test_files_of_a_plain_project(project):
    found = read_contents(project, Rules())

    assert [file.name for file in found.files] == sorted(DEPLOYED)
    assert found.left_out == tuple(
        sorted(
            (
                *(".env", ".env.local", ".venv/", "build/", "celerybeat-schedule.db", "certs/server.key"),
                *("conda/", "conf/prod.env", "data/old.sqlite3", "db.sqlite3", "db.sqlite3-wal", "debug.log"),
                *("dist/", "env/", "frontend/node_modules/", "htmlcov/", "id_rsa", "mysite.egg-info/"),
                *("run/site.pid", ".envs/", ".ssh/", "frontend/.npmrc"),
            )
        )
    )


def test_a_file_is_described(project):
    project.joinpath("manage.py").chmod(0o755)

    found = {file.name: file for file in read_contents(project, Rules()).files}

    assert (found["manage.py"].is_executable, found["README.md"].is_executable) == (True, False)
    assert found["manage.py"].size == len("manage.py")
    assert found["manage.py"].path == str(project.resolve() / "manage.py")
    assert found["manage.py"].sha256 == hashlib.sha256(b"manage.py").hexdigest()


def test_databases_and_keys_are_known_by_their_contents(project):
    project.joinpath("data", "places.db").write_bytes(DATABASE)
    project.joinpath("data", "dump.sql").write_text("--\n-- PostgreSQL database dump\n--\n")
    project.joinpath("conf", "prod").write_text(KEY)
    project.joinpath("certs", "server.pem").write_text(f"-----BEGIN CERTIFICATE-----\n{KEY}")

    found = read_contents(project, Rules())

    databases, keys = {"data/places.db", "data/dump.sql"}, {"conf/prod", "certs/server.pem"}
    assert (databases | keys).isdisjoint(file.name for file in found.files)
    told = {f"{name} (a database)" for name in databases} | {f"{name} (a private key)" for name in keys}
    assert told <= set(found.left_out)


def test_what_deploy_bundle_has_written_is_left_out(project):
    wheel = make_wheel(project / "wheelhouse", "acme")
    manifest = Manifest("shop", "1", "3.11", (_describe(wheel),), (), 0.0, "")
    write_bundle(manifest, project / "shop.bundle")
    project.joinpath("shop.bundle.sig").write_text("-----BEGIN SSH SIGNATURE-----\nU1NI\n")
    project.joinpath("shop.json").write_text('{"$schema": "x", "bomFormat": "CycloneDX"}')
    project.joinpath("other.zip").write_bytes(wheel.read_bytes())

    found = read_contents(project, Rules())

    names = {file.name for file in found.files}
    assert "other.zip" in names
    assert {"shop.bundle", "shop.bundle.sig", "shop.json"}.isdisjoint(names)
    told = {"shop.bundle (a bundle file)", "shop.bundle.sig (a signature)", "shop.json (a bill of materials)"}
    assert told <= set(found.left_out)


def _describe(wheel):
    return Wheel("acme", "1.0", wheel, hashlib.sha256(wheel.read_bytes()).hexdigest(), wheel.stat().st_size)


def test_exclude(project):
    found = read_contents(project, Rules(exclude=patterns("tests/", "*.md", "data/*.csv")))

    gone = {"tests/test_blog.py", "README.md", "notes.key.md", "data/cities.csv"}
    assert {file.name for file in found.files} == set(DEPLOYED) - gone
    told = {
        f"{name} (PROJECT_EXCLUDE)" for name in ("tests/", "README.md", "notes.key.md", "data/cities.csv")
    }
    assert told <= set(found.left_out)


@pytest.mark.parametrize(
    ("include", "files"),
    [
        ("*.sqlite3", {"db.sqlite3", "data/old.sqlite3"}),
        ("data/*.sqlite3", {"data/old.sqlite3"}),
        ("dist", {"dist/mysite-1.0.whl"}),
        ("frontend/node_modules/x", {"frontend/node_modules/x/index.js"}),
        ("frontend/**/index.js", {"frontend/node_modules/x/index.js"}),
        ("/.git/config", {".git/config"}),
        ("certs/server.key", {"certs/server.key"}),
        (".env", {".env"}),
        ("index.js", set()),  # a bare name is not looked for in what is left out
    ],
)
def test_include_brings_what_is_left_out(project, include, files):
    assert names(project, include=patterns(include)) == {*DEPLOYED, *files}


def test_include_wins(project):
    project.joinpath("data", "places.db").write_bytes(DATABASE)

    found = names(
        project,
        include=patterns("data/cities.csv", "places.db"),
        exclude=patterns("data/*", "*"),
        ignored=frozenset({project / "data"}),
    )

    assert found == {"data/cities.csv"}
    assert "data/places.db" in names(project, include=patterns("data"), exclude=patterns("data"))


def test_bytecode_never_comes_along(project):
    found = names(project, include=patterns("mysite", "*.pyc", "__pycache__/"))

    assert not [name for name in found if name.endswith(".pyc")]


def test_data_of_the_site_stays_here(project):
    write(project, "media/photo.jpg", "staticfiles/app.js", "upload.db")
    ignored = frozenset(project / name for name in ("media", "staticfiles", "upload.db"))

    found = read_contents(project, Rules(ignored=ignored))

    assert {file.name for file in found.files} == set(DEPLOYED)
    assert {"media/", "staticfiles/", "upload.db"} <= set(found.left_out)


def test_data_behind_a_link(project, tmp_path):
    write(tmp_path / "disk", "photo.jpg")
    project.joinpath("media").symlink_to(tmp_path / "disk")

    for folder in (project / "media", tmp_path / "disk"):
        assert names(project, ignored=frozenset({folder})) == set(DEPLOYED)


def test_a_media_root_around_the_project_takes_nothing_away(project):
    for folder in (project, project.parent):
        assert names(project, ignored=frozenset({folder})) == set(DEPLOYED)


def test_folders_that_settings_name_come_along(project):
    named = frozenset({project / "dist", project / "frontend/node_modules/x"})

    found = names(project, named=named)

    assert found == {*DEPLOYED, "dist/mysite-1.0.whl", "frontend/node_modules/x/index.js"}


def test_named_folders_beside_the_project(project):
    beside = project.parent
    write(beside, "assets/app.js", "assets/node_modules/x.js", "assets/deep/a.js", "unnamed/x.js", "lib/x.js")
    write(beside.parent, "far/x.js")
    named = ("assets", "assets/deep", "lib", "missing")

    found = names(
        project, named=frozenset({*(beside / name for name in named), beside, beside.parent / "far"})
    )

    assert found == {*DEPLOYED, "../assets/app.js", "../assets/deep/a.js"}


def test_settings_that_name_the_project_itself_or_what_is_around_it(project):
    write(project.parent, "assets/app.js")
    named = {project, project.parent, project.parent.parent}

    assert names(project, named=frozenset(named)) == set(DEPLOYED)
    named.add(project.parent / "assets")
    assert names(project, named=frozenset(named)) == {*DEPLOYED, "../assets/app.js"}


@pytest.mark.parametrize("place", [".venv", "../venv"])
def test_settings_that_name_a_folder_of_an_installed_package(project, monkeypatch, place):
    static = project / place / "lib/site-packages/acme/static"
    write(static, "a.css")
    monkeypatch.setattr(contents.sysconfig, "get_path", lambda scheme: str(static.parents[1]))

    assert names(project, named=frozenset({static.resolve()})) == set(DEPLOYED)


def test_an_app_may_be_called_build(project):
    write(project, "build/__init__.py")

    assert {"build/__init__.py", "build/lib/mysite/old.py"} <= names(project)


def test_a_project_in_its_virtualenv(project):
    write(project, "pyvenv.cfg", "bin/python", "lib/python3.11/site-packages/x.py", "include/x.h", "lib64/x")

    assert names(project) == set(DEPLOYED)


def test_links_are_followed(project, tmp_path):
    write(tmp_path / "elsewhere", "shared/a.html", "one.txt")
    project.joinpath("templates", "shared").symlink_to(tmp_path / "elsewhere" / "shared")
    project.joinpath("one.txt").symlink_to(tmp_path / "elsewhere" / "one.txt")
    project.joinpath("readme").symlink_to("README.md")

    found = {file.name: file for file in read_contents(project, Rules()).files}

    assert found.keys() == {*DEPLOYED, "templates/shared/a.html", "one.txt", "readme"}
    assert found["readme"].sha256 == found["README.md"].sha256


def test_links_that_lead_nowhere_or_round_are_told(project):
    project.joinpath("broken").symlink_to("/does/not/exist")
    project.joinpath("static", "self").symlink_to(project / "static")
    os.mkfifo(project / "pipe")

    found = read_contents(project, Rules())

    assert {file.name for file in found.files} == set(DEPLOYED)
    told = {"broken (a broken link)", "static/self (a link to a folder around it)", "pipe (not a file)"}
    assert told <= set(found.left_out)


def test_link_to_a_folder_around_the_project(project):
    project.joinpath("static", "all").symlink_to(project.parent)

    with pytest.raises(BundleError) as caught:
        read_contents(project, Rules())

    assert caught.value.message == (
        f"static/all is a link to {project.parent.resolve()}, and the project is inside it."
    )
    assert caught.value.remedy == "Name the link in PROJECT_EXCLUDE."
    assert "static/all" not in names(project, exclude=patterns("static/all"))


@pytest.mark.parametrize(("limit", "value"), [("MAX_LINKED", 10), ("MAX_LINKED_FILES", 1)])
def test_link_that_brings_too_much(project, tmp_path, monkeypatch, limit, value):
    write(tmp_path / "disk", "photo.jpg", "movie.mp4")
    project.joinpath("pictures").symlink_to(tmp_path / "disk")
    monkeypatch.setattr(contents, limit, value)

    with pytest.raises(BundleError) as caught:
        read_contents(project, Rules())

    assert caught.value.message.startswith("pictures would bring more than ")
    assert caught.value.message.endswith(f" files from outside of the project, from {tmp_path / 'disk'}.")
    assert "pictures/photo.jpg" in names(project, include=patterns("pictures"))
    assert "pictures/photo.jpg" not in names(project, exclude=patterns("pictures"))


@pytest.mark.parametrize(
    "name",
    ["two words.txt", "grüße.txt", "🦄.html", 'quo"te.txt', "com,ma.txt", "-x", "a%20b", "x;y'z", "a:b"],
)
def test_odd_names(project, name):
    write(project, name)

    assert name in names(project)


@pytest.mark.parametrize(
    ("name", "shown"),
    [(b"l\xe4nder.csv", "'l\\udce4nder.csv'"), (b"a\nb", "'a\\nb'"), (b"c\\d.html", "'c\\\\d.html'")],
)
def test_names_that_no_wheel_can_hold(project, name, shown):
    path = os.path.join(os.fsencode(project), b"data", name)
    with open(path, "wb"):
        pass

    with pytest.raises(BundleError) as caught:
        read_contents(project, Rules())

    assert caught.value.message == (
        f"These names are not UTF-8, or have control characters or backslashes in them: 'data/{shown[1:]}."
    )
    found = read_contents(project, Rules(exclude=patterns("data")))
    assert "data/ (PROJECT_EXCLUDE)" in found.left_out


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_unreadable_file(project):
    project.joinpath("README.md").chmod(0)

    with pytest.raises(BundleError) as caught:
        read_contents(project, Rules())

    assert caught.value.message == f"{project.resolve() / 'README.md'} cannot be read: Permission denied."
    assert caught.value.remedy == "Make it readable, or name it in PROJECT_EXCLUDE."


def test_size(project):
    assert read_contents(project, Rules()).size == sum(map(len, DEPLOYED))


def test_patterns_that_name_nothing(project):
    rules = Rules(
        include=patterns("db.sqlite3", "frontend/node_modules", "nomatch*"),
        exclude=patterns("*.md", "tests/", "nothing/here", "data/*.tsv"),
    )

    found = read_contents(project, rules)

    assert list(find_idle_patterns(found, rules)) == [
        "PROJECT_EXCLUDE: 'nothing/here' names nothing.",
        "PROJECT_EXCLUDE: 'data/*.tsv' names nothing.",
        "PROJECT_INCLUDE: 'nomatch*' names nothing.",
    ]
