"""What wheels must not hold, and what they have lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from django_deploy.bundle.plain.patterns import Patterns
from django_deploy.bundle.wheels import audit
from django_deploy.bundle.wheels.audit import (
    check_secrets,
    find_large_files,
    find_lost_files,
    provides_module,
    read_metadata,
)
from django_deploy.bundle.wheels.tree import Tree
from django_deploy.exceptions import BundleError
from tests.bundle.archives import make_wheel

KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\n"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x/.env", "SECRET=1"),
        ("x/.env.production", "SECRET=1"),
        ("x/prod.env", "SECRET=1"),
        ("x/db.sqlite3", ""),
        ("x/places.db", "SQLite format 3\0 and pages"),
        ("x/id_ed25519", KEY),
        ("x/server.key", KEY),
        ("x/server.PEM", KEY),
        ("x/conf/prod", KEY),
        ("x/.envs/.production/.django", "SECRET=1"),
        ("x/.envrc", "export SECRET=1"),
        ("x/.pypirc", "password = 1"),
        ("x/.ssh/config", ""),
        ("x/server.P12", "0"),
        ("x/db.sqlite-wal", ""),
        ("x/secrets.json", "{}"),
        ("x/.env copy", ""),
        ("x/env.prod", ""),
        ("x/.git-credentials", ""),
        ("x/site.kdbx", ""),
        ("x/signing.asc", "-----BEGIN PGP PRIVATE KEY BLOCK-----\n"),
        ("x/age.txt", "AGE-SECRET-KEY-1QQ"),
        ("x/Secret.YAML", ""),
        ("x/credentials.json", "{}"),
        ("x/client_secret_1234.apps.json", "{}"),
        ("x/old.sql.gz", "0"),
        ("x/site.dump", "PGDMP\x01\x0e"),
        ("x/backup.sql", "--\n-- PostgreSQL database dump\n--\n"),
        ("x/cluster.sql", "--\n-- PostgreSQL database cluster dump\n--\n"),
        ("x/my.sql", "-- MySQL dump 10.13  Distrib 8.0.36, for Linux (x86_64)\n"),
        ("x/maria.sql", "/*M!999999\\- enable the sandbox mode */ \n-- MariaDB dump 10.19\n"),
        ("x/account.json", f'{{\n "type": "service_account",\n "private_key": "{KEY[:-1]}\\n…"}}'),
    ],
)
def test_secrets_are_refused(tmp_path, name, text):
    wheel = make_wheel(tmp_path, "x", files={"x/__init__.py": "", name: text})

    with pytest.raises(BundleError) as caught:
        check_secrets(wheel)

    assert caught.value.message == f"x-1.0-py3-none-any.whl would carry {name} to the servers."


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x/.env.example", "SECRET="),
        ("x/cacert.pem", "-----BEGIN CERTIFICATE-----"),
        ("x/environ.py", ""),
        ("x/notes.txt", f"Not: {KEY}"),
        ("x/sqlite.txt", "Of SQLite format 3"),
        ("x/keys.json", f'{{"help": "Paste it: {KEY[:-1]}", "private_key": "here"}}'),
        ("x/aws/.config", ""),
        ("x/views.sql", "-- Read by a migration.\nCREATE VIEW totals AS SELECT 1;"),
        ("x/how.md", "Text -- PostgreSQL database dump"),
        ("x/secrets.py", ""),
    ],
)
def test_what_only_looks_like_a_secret(tmp_path, name, text):
    check_secrets(make_wheel(tmp_path, "x", files={name: text}))


@pytest.mark.parametrize("pattern", ["*.db", "x/places.db", "x", "x/", "pl*b"])
def test_secrets_that_are_meant_to_travel(tmp_path, pattern):
    database = "SQLite format 3\0"
    wheel = make_wheel(tmp_path, "x", files={"x/places.db": database, "y/places.db.old": database})

    with pytest.raises(BundleError) as caught:
        check_secrets(wheel, Patterns([pattern]))

    assert caught.value.message == "x-1.0-py3-none-any.whl would carry y/places.db.old to the servers."


@pytest.mark.parametrize(
    ("limit", "value", "warning"),
    [
        ("LARGE_FILE", 2_000_000, "x-1.0-py3-none-any.whl holds large files: x/film.mp4 (3 MB)."),
        (
            "LARGE_WHEEL",
            3_000_000,
            "x-1.0-py3-none-any.whl holds 5 MB; the largest of its 5 files are x/film.mp4 (3 MB), x/a.jpg",
        ),
        ("LARGE_FILE", 3_000_000, None),
    ],
)
def test_large_files(tmp_path, monkeypatch, limit, value, warning):
    files = {"x/film.mp4": " " * 3_000_000, "x/a.jpg": " " * 1_900_000}
    wheel = make_wheel(tmp_path, "x", files=files)
    monkeypatch.setattr(audit, limit, value)

    found = find_large_files(wheel)

    assert len(found) == (0 if warning is None else 1)
    assert warning is None or found[0].startswith(warning)


def test_metadata(tmp_path):
    metadata = read_metadata(make_wheel(tmp_path, "Acme.X", "1.2", requires=("six",)))

    assert (metadata["Name"], metadata["Version"], metadata["Requires-Dist"]) == ("Acme.X", "1.2", "six")


def test_file_that_is_no_wheel(tmp_path):
    tmp_path.joinpath("x.whl").write_text("no")

    with pytest.raises(BundleError) as caught:
        read_metadata(tmp_path / "x.whl")

    assert caught.value.message == f"{tmp_path / 'x.whl'} is not a wheel: File is not a zip file."


@pytest.mark.parametrize(
    ("path", "provides"),
    [
        ("x/settings.py", True),
        ("x/settings/__init__.py", True),
        ("x/settings.cpython-311-x86_64-linux-gnu.so", True),
        ("x-1.0.data/purelib/x/settings.py", True),
        ("x-1.0.data/data/app/x/settings.py", True),
        ("x-1.0.data/data/app/src/x/settings.py", True),
        ("x-1.0.data/data/other/x/settings.py", False),
        ("y/x/settings.py", False),
        ("x/settings_old.py", False),
    ],
)
def test_module_in_a_wheel(tmp_path, path, provides):
    assert provides_module(make_wheel(tmp_path, "x", files={path: ""}), "x.settings") is provides


@pytest.mark.parametrize("layout", ["", "src"])
def test_files_that_a_build_has_lost(tmp_path, layout):
    package = Path(tmp_path, "tree", layout, "x")
    for name in (
        *(
            "__init__.py",
            "migrations/0001_initial.py",
            "locale/de/django.mo",
            "locale/de/django.po",
            "static/a.css",
        ),
        *("templates/a.html", "sub/__init__.py", "tests/test_x.py", "tests.py", "conftest.py", "notes.txt"),
    ):
        package.joinpath(name).parent.mkdir(parents=True, exist_ok=True)
        package.joinpath(name).touch()
    wheel = make_wheel(tmp_path, "x", files={"x/__init__.py": "", "x/static/a.css": ""})

    lost = find_lost_files(wheel, Tree(tmp_path / "tree"))

    names = ["locale/de/django.mo", "migrations/0001_initial.py", "sub/__init__.py", "templates/a.html"]
    assert list(lost) == [str(Path(layout, "x", name)) for name in names]
